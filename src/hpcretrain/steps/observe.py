"""Observe: profile the newest batch and the labels that matured, and record what they say about the champion."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hpcretrain.counts import BatchCounts
from hpcretrain.policy import observe as policy
from hpcretrain.policy.quality import inspect, inspect_labels
from hpcretrain.ports import Rows, histogram
from hpcretrain.records import Family, Finding, Histogram, Release, Signal, Slice
from hpcretrain.stats import metrics
from hpcretrain.steps.desk import Desk


def observe(desk: Desk) -> None:
    """Record the signals of the batch that ends now."""
    step = desk.terms.config.backtest.observe_every
    champion = desk.history.champion
    batch = desk.table.rows(desk.now - step, desk.now)
    counts = desk.counts((batch.start, batch.end))
    slot = desk.slice(batch, labels=False)

    findings = inspect(counts, _accepted(desk), desk.terms.policy.data_gate)
    desk.book.enter(*_signals(desk, champion, slot, [_quality(finding, counts.rows) for finding in findings]))
    _observe_labels(desk, champion)

    score = desk.terms.policy.score
    signs = policy.input_drift(counts, _learned(desk, champion), score)
    signs.append(policy.prediction_shift(_scores(desk, champion, batch), champion.scores, score))
    desk.book.enter(*_signals(desk, champion, slot, signs))
    _observe_decline(desk, champion)


def _observe_labels(desk: Desk, champion: Release) -> None:
    """Check the labels that matured since the last batch, for each batch that they belong to."""
    gate = desk.terms.policy.data_gate
    end, step = desk.matured_until, desk.terms.config.backtest.observe_every
    start = end - step
    # Damage comes by the batch: a whole batch of one class must not hide behind a day of the one before.
    boundary = desk.now - step * math.ceil(desk.table.label_delay / step)
    pieces = [(start, boundary), (boundary, end)] if start < boundary < end else [(start, end)]
    usual = desk.table.labels(desk.table.matured(desk.start, desk.terms.reference_until))
    for piece in pieces:
        rows = desk.table.matured(*piece)
        if not len(rows) and piece != pieces[-1]:
            continue
        signs = [_quality(finding, len(rows)) for finding in inspect_labels(desk.table.labels(rows), usual, gate)]
        desk.book.enter(*_signals(desk, champion, desk.slice(rows, labels=True), signs))


def _observe_decline(desk: Desk, champion: Release) -> None:
    """Signals that need labels: of rows that this champion served, and that passed the data gate."""
    score, model = desk.terms.policy.score, desk.terms.config.model
    end = desk.matured_until
    start = max(end - desk.terms.config.backtest.observe_every, champion.at)
    rows = desk.table.labeled(min(start, end), end, desk.history.quarantine)
    labels, predictions = desk.table.labels(rows), desk.predictor.predict(champion.model_digest, rows)
    readings = {reading.metric: reading for reading in champion.readings}
    signs = []
    if model.primary_metric in readings:
        current = metrics.measure(model.primary_metric, labels, predictions)
        signs.append(policy.performance(current, model.primary_metric, readings[model.primary_metric], score))
    else:
        why = f"{model.primary_metric} was not defined on the rows that the champion was judged on"
        signs.append(policy.insufficient(Family.PERFORMANCE, model.primary_metric, "none", len(rows), 1, why))
    if "bias" in readings:
        bias = metrics.bias(model.task, labels, predictions)
        signs.append(policy.calibration(bias, desk.reference_spread(), readings["bias"], score))
    fresh = desk.table.labeled(champion.window.end, max(end, champion.window.end), desk.history.quarantine)
    signs.append(policy.freshness(len(fresh), champion.window.rows, score))
    desk.book.enter(*_signals(desk, champion, desk.slice(rows, labels=True), signs))


def _accepted(desk: Desk) -> list[BatchCounts]:
    return [desk.counts(slot) for slot in (*desk.reference_slots(), *desk.history.accepted())]


def _learned(desk: Desk, champion: Release) -> list[BatchCounts]:
    """Counts of the batches that the champion learned from."""
    slots = [*desk.reference_slots(), *desk.history.accepted()]
    return [desk.counts(slot) for slot in slots if slot[0] < champion.window.end]


def _scores(desk: Desk, champion: Release, batch: Rows) -> Histogram:
    predictions = desk.predictor.predict(champion.model_digest, batch)
    return histogram(champion.scores.edges, predictions[np.isfinite(predictions)])


def _quality(finding: Finding, rows: int) -> policy.Sign:
    effect = float(finding.observed) if isinstance(finding.observed, int | float) else None
    return policy.Sign(Family.DATA_QUALITY, finding.check, effect, effect, rows, None, "as observed", finding)


def _signals(desk: Desk, champion: Release, slot: Slice, signs: Sequence[policy.Sign]) -> list[Signal]:
    return [
        Signal(
            model=desk.terms.config.model.name,
            at=desk.now,
            answers=(champion.id,),
            family=sign.family,
            name=sign.name,
            slot=slot,
            effect=sign.effect,
            lower_bound=sign.lower_bound,
            n=sign.n,
            reference=sign.reference,
            unit=sign.unit,
            finding=sign.finding,
        )
        for sign in signs
    ]

"""Observe: profile the newest batch and the labels that matured, and record what they say about the champion."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from hpcretrain.counts import BatchCounts
from hpcretrain.policy import observe as policy
from hpcretrain.policy.quality import inspect, inspect_labels
from hpcretrain.ports import Rows, Span, histogram
from hpcretrain.records import Family, Finding, Outcome, Reading, Release, Signal, Slice
from hpcretrain.stats import metrics
from hpcretrain.stats.estimate import calibrate, estimate
from hpcretrain.stats.groups import MISCALIBRATION, Groups, miscalibration
from hpcretrain.steps.desk import Desk

SCORE_BINS = 10

Select = Callable[[datetime, datetime, Sequence[Span]], Rows]


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
    signs = policy.input_drift(_recent(desk), _learned(desk), score)
    signs.append(_prediction_shift(desk, champion))
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
    rows = _pooled(desk, desk.table.labeled, min(champion.at, end), end, lambda rows: _rarer(desk, rows))
    labels, predictions = desk.table.labels(rows), desk.predictor.predict(champion.model_digest, rows)
    readings = {reading.metric: reading for reading in champion.readings}
    signs = []
    if model.primary_metric in readings:
        judged = readings[model.primary_metric]
        # The newest rows tell of a sudden decline; many of them of a small one that lasts.
        for name, some in ((model.primary_metric, rows), (f"{model.primary_metric}_sustained", _sustained(desk, end))):
            current = metrics.measure(
                model.primary_metric, desk.table.labels(some), desk.predictor.predict(champion.model_digest, some)
            )
            signs.append(policy.performance(name, current, _rarer(desk, some), judged, score))
    else:
        why = f"{model.primary_metric} could not be measured when the champion was judged: too few labels of a class"
        signs.append(policy.insufficient(Family.PERFORMANCE, model.primary_metric, "none", len(rows), 1, why))
    signs += _feedback(desk, champion, end)
    if model.task == "binary" and model.primary_metric in readings:
        signs += _estimated(desk, champion, end)
    if "bias" in readings:
        bias = metrics.bias(model.task, labels, predictions)
        signs.append(policy.calibration(bias, desk.reference_spread(), readings["bias"], score))
    if MISCALIBRATION in readings:
        signs.append(_miscalibration(desk, champion, readings[MISCALIBRATION], end))
    signs.append(_relevance(desk, end))
    learned = desk.history.learned[1]
    fresh = desk.table.labeled(learned, max(end, learned), desk.history.quarantine)
    signs.append(policy.freshness(len(fresh), champion.window.population, score))
    desk.book.enter(*_signals(desk, champion, desk.slice(rows, labels=True), signs))


def _miscalibration(desk: Desk, champion: Release, judged: Reading, end: datetime) -> policy.Sign:
    """Whether predictions are off in parts of their range: on many rows, since each part is a tenth of them."""
    rows = _sustained(desk, end)
    predictions = desk.predictor.predict(champion.model_digest, rows)
    off = miscalibration(desk.terms.config.model.task, desk.table.labels(rows), predictions)
    return policy.miscalibration(off, desk.reference_spread(), judged, desk.terms.policy.score)


def _relevance(desk: Desk, end: datetime) -> policy.Sign:
    """What features tell of the labels of the newest rows, against the rows that the champion learned from."""
    score, bad = desk.terms.policy.score, desk.history.quarantine
    start, until = desk.history.learned
    learned = desk.table.labeled(start, min(until, end), bad)
    # Every so many of them, since what changed with the season must not look new.
    older = Rows(learned.start, learned.end, learned.index[:: math.ceil(len(learned) / score.max_rows) or 1])
    newer, middle = _sustained(desk, end), float(np.mean(desk.table.labels(older))) if len(older) else 0.0
    told = [
        {name: Groups.of(place, desk.table.labels(rows) - middle) for name, place in desk.profiles.places(rows).items()}
        for rows in (newer, older)
    ]
    return policy.relevance(told[0], told[1], desk.reference_spread(), score)


def _feedback(desk: Desk, champion: Release, end: datetime) -> list[policy.Sign]:
    """Whether the champion's predictions decide which of its rows get labels; nothing where all labels are there."""
    due = desk.table.matured(min(champion.at, end), end)
    due = desk.table.matured(desk.table.newest(due, desk.terms.policy.score.max_rows), end)
    missing = (~np.isfinite(desk.table.labels(due))).astype(np.float64)
    if not missing.any():
        return []
    predictions = desk.predictor.predict(champion.model_digest, due)
    return [policy.feedback(missing, predictions, desk.terms.policy.score)] if np.isfinite(predictions).all() else []


def _estimated(desk: Desk, champion: Release, end: datetime) -> list[policy.Sign]:
    """What is expected of the rows whose labels have not come, by those that have; nothing where all have."""
    score, metric, bad = desk.terms.policy.score, desk.terms.config.model.primary_metric, desk.history.quarantine
    waiting = desk.table.rows(max(end, champion.at), desk.now, bad)
    if not len(waiting):
        return []
    newest = desk.table.rows(desk.table.newest(waiting, score.max_rows), desk.now, bad)
    known = _sustained(desk, end)
    if min(len(newest), len(known)) < score.min_rows or _rarer(desk, known) < score.min_class_rows:
        few = metrics.Measurement(math.nan, math.nan, min(len(newest), len(known)))
        return [policy.estimated(metric, few, few, score)] if few.n < score.min_rows else []
    p, q = (desk.predictor.predict(champion.model_digest, rows) for rows in (known, newest))
    if not (np.isfinite(p).all() and np.isfinite(q).all()):
        return []
    calibration = calibrate(desk.table.labels(known), p)
    return [policy.estimated(metric, estimate(metric, q, calibration), estimate(metric, p, calibration), score)]


def _sustained(desk: Desk, end: datetime) -> Rows:
    """The newest rows that the champion served, as many as a sustained decline is measured on."""
    bad = desk.history.quarantine
    served = desk.table.labeled(min(desk.history.champion.at, end), end, bad)
    return desk.table.labeled(desk.table.newest(served, desk.terms.policy.score.max_rows), end, bad)


def _accepted(desk: Desk) -> list[BatchCounts]:
    return [desk.counts(slot) for slot in (*reversed(desk.reference_slots()), *desk.history.accepted())]


def _learned(desk: Desk) -> list[BatchCounts]:
    """Counts of the batches that the champion learned from."""
    slots = [*desk.reference_slots(), *desk.history.accepted()]
    start, end = desk.history.learned
    return [desk.counts(slot) for slot in slots if slot[0] < end and slot[1] > start]


def _recent(desk: Desk) -> list[BatchCounts]:
    """The newest batches: one, or as many as it takes for enough rows."""
    batches: list[BatchCounts] = []
    for slot in (*reversed(desk.history.accepted()), *desk.reference_slots()):
        batches.append(desk.counts(slot))
        if sum(batch.rows for batch in batches) >= desk.terms.policy.score.min_rows:
            break
    return batches


def _prediction_shift(desk: Desk, champion: Release) -> policy.Sign:
    """The champion's newest predictions against its first: both on rows that it had not learned."""
    step, score, bad = desk.terms.config.backtest.observe_every, desk.terms.policy.score, desk.history.quarantine
    settled = champion.at
    first = desk.table.rows(champion.at, settled)
    while len(first) < score.min_rows and settled < desk.now:
        settled = min(settled + step, desk.now)
        first = desk.table.rows(champion.at, settled, bad)
    newest = _pooled(desk, desk.table.rows, min(settled, desk.now), desk.now, len)
    if len(first) < score.min_rows or len(newest) < score.min_rows:
        why = f"{len(first)} first and {len(newest)} newest predictions are too few to compare"
        few = min(len(first), len(newest))
        return policy.insufficient(Family.PREDICTION_SHIFT, "prediction", "psi", few, score.min_rows, why)
    reference, current = (desk.predictor.predict(champion.model_digest, rows) for rows in (first, newest))
    reference, current = reference[np.isfinite(reference)], current[np.isfinite(current)]
    if not len(reference):
        why = "no prediction after the release was finite"
        return policy.insufficient(Family.PREDICTION_SHIFT, "prediction", "psi", 0, score.min_rows, why)
    edges = np.unique(np.quantile(reference, np.arange(1, SCORE_BINS) / SCORE_BINS)).tolist()
    return policy.prediction_shift(histogram(edges, current), histogram(edges, reference), score)


def _pooled(desk: Desk, select: Select, since: datetime, end: datetime, fewest: Callable[[Rows], int]) -> Rows:
    """Rows of the newest batch, or of as many as it takes for enough rows, back to `since`."""
    score, step = desk.terms.policy.score, desk.terms.config.backtest.observe_every
    start = end
    while True:
        start = max(start - step, since)
        rows = select(start, end, desk.history.quarantine)
        if start <= since or (len(rows) >= score.min_rows and fewest(rows) >= score.min_class_rows):
            return rows


def _rarer(desk: Desk, rows: Rows) -> int:
    return metrics.rarer(desk.table.labels(rows), desk.terms.config.model.task)


def _quality(finding: Finding, rows: int) -> policy.Sign:
    # What a check saw has a unit of its own, which the finding tells; what counts is whether it failed.
    failed = {Outcome.PASS: 0.0, Outcome.FAIL: 1.0, Outcome.ERROR: 1.0}.get(finding.outcome)
    return policy.Sign(
        Family.DATA_QUALITY, finding.check, failed, failed, rows, None, "failed checks",
        finding.outcome, finding.reason, finding.observed, finding.limit,
    )  # fmt: skip


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

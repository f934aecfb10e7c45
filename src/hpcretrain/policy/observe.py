"""From measurements to signals: how much worse a model is doing, as effects with lower bounds.

Each function gives a `Sign`; the step that observes adds model, time and slot and makes it a `Signal`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from hpcretrain.counts import BatchCounts, Counts, totals
from hpcretrain.evidence import ESTIMATED
from hpcretrain.policy.types import FamilyRule, Score
from hpcretrain.records import Family, Finding, Histogram, Outcome, Reading, Signal
from hpcretrain.stats import metrics
from hpcretrain.stats.drift import Drift, psi, psis
from hpcretrain.stats.groups import Groups, between, chance_beyond

SURE_Z = 3.0
"""Standard errors taken off, at least, of what no label confirms: it must not alarm where nothing changes."""


class Sign(NamedTuple):
    """A signal before it has a place in time: see `records.Signal`. Its finding is made when it is asked for."""

    family: Family
    name: str
    effect: float | None
    lower_bound: float | None
    n: int
    reference: float | None
    unit: str
    outcome: Outcome
    why: str
    observed: float | int | str | None
    limit: float | int | str | None

    @property
    def finding(self) -> Finding:
        """How it came out."""
        return Finding(self.name, self.outcome, self.why, self.observed, self.limit)


def insufficient(family: Family, name: str, unit: str, n: int, limit: int, why: str) -> Sign:
    """A sign that says that nothing can be said."""
    return Sign(family, name, None, None, n, None, unit, Outcome.INSUFFICIENT, why, n, limit)


def _sign(
    family: Family,
    name: str,
    unit: str,
    weight: FamilyRule,
    *,
    effect: float,
    bound: float,
    n: int,
    reference: float | None,
    why: str,
) -> Sign:
    """A measured sign; one that is not finite is INSUFFICIENT, and one that counts in full is a FAIL."""
    if not (math.isfinite(effect) and math.isfinite(bound)):
        return insufficient(family, name, unit, n, 1, f"{why}: not defined on these {n} rows")
    worse, bound = max(effect, 0.0), max(bound, 0.0)
    outcome = Outcome.PASS if bound < weight.scale else Outcome.FAIL
    return Sign(family, name, worse, bound, n, reference, unit, outcome, why, bound, weight.scale)


def input_drift(recent: Sequence[BatchCounts], reference: Sequence[BatchCounts], score: Score) -> list[Sign]:
    """PSI of each feature between recent batches and the batches that the champion learned from; both not empty."""
    [signs] = input_drifts([(recent, reference)], score)
    return signs


def input_drifts(
    models: Sequence[tuple[Sequence[BatchCounts], Sequence[BatchCounts]]], score: Score
) -> list[list[Sign]]:
    """`input_drift` of many models at once, of each its recent batches and those that its champion learned from."""
    rows = [sum(batch.rows for batch in recent) for recent, _ in models]
    names = [list(recent[0].columns) for recent, _ in models]
    samples: dict[int, tuple[list[Counts], list[Counts]]] = {}
    alike: dict[int, list[int]] = defaultdict(list)
    for model, (recent, reference) in enumerate(models):
        if rows[model] >= score.min_rows:
            samples[model] = totals(reference, names[model]), totals(recent, names[model])
            # What is counted in as many bins is measured together, and so comes out as it does alone.
            alike[max(map(len, samples[model][0]), default=0)].append(model)
    drifts: dict[int, list[Drift]] = {}
    for together in alike.values():
        references, counts = ([each for model in together for each in samples[model][side]] for side in (0, 1))
        found = iter(psis(references, counts, z=score.rule(Family.INPUT_DRIFT).z))
        drifts.update({model: list(islice(found, len(names[model]))) for model in together})
    return [
        _drifted(features, drifts[model], n, score) if model in drifts else _too_few(features, n, score)
        for model, (features, n) in enumerate(zip(names, rows, strict=True))
    ]


def _drifted(names: Sequence[str], drifts: Sequence[Drift], rows: int, score: Score) -> list[Sign]:
    weight = score.rule(Family.INPUT_DRIFT)
    return [
        _sign(
            Family.INPUT_DRIFT, name, "psi", weight,
            effect=drift.effect, bound=drift.lower_bound, n=rows, reference=None,
            why=f"PSI of {name} against the champion's training rows",
        )
        for name, drift in zip(names, drifts, strict=True)
    ]  # fmt: skip


def _too_few(names: Sequence[str], rows: int, score: Score) -> list[Sign]:
    why = f"{rows} rows are too few to tell drift"
    return [insufficient(Family.INPUT_DRIFT, name, "psi", rows, score.min_rows, why) for name in names]


def prediction_shift(scores: Histogram, reference: Histogram, score: Score) -> Sign:
    """PSI of the champion's newest predictions against the first that it made after its release."""
    n = sum(scores.counts)
    if n < score.min_rows:
        why = f"{n} predictions are too few to tell a shift"
        return insufficient(Family.PREDICTION_SHIFT, "prediction", "psi", n, score.min_rows, why)
    drift = psi(reference.counts, scores.counts, z=score.rule(Family.PREDICTION_SHIFT).z)
    return _sign(
        Family.PREDICTION_SHIFT, "prediction", "psi", score.rule(Family.PREDICTION_SHIFT),
        effect=drift.effect, bound=drift.lower_bound, n=n, reference=None,
        why="PSI of predictions against the first ones after the release",
    )  # fmt: skip


def performance(name: str, current: metrics.Measurement, rarer: int, reading: Reading, score: Score) -> Sign:
    """Relative decline of a metric since the champion was judged, less z standard errors of both.

    `name` tells apart several measurements of the metric; `rarer` counts the labels of the rarer class (all labels of a
    regression).
    """
    metric = reading.metric
    unit = "share of skill lost" if metric in ("auc", "accuracy") else "share of loss gained"
    if current.n < score.min_rows:
        why = f"{current.n} labeled rows are too few"
        return insufficient(Family.PERFORMANCE, name, unit, current.n, score.min_rows, why)
    if rarer < score.min_class_rows:
        why = f"{rarer} labels of the rarer class among {current.n} are too few"
        return insufficient(Family.PERFORMANCE, name, unit, rarer, score.min_class_rows, why)
    effect, slope = metrics.decline(metric, reading.value, current.value)
    error = math.hypot(current.se, reading.se) * slope
    return _sign(
        Family.PERFORMANCE, name, unit, score.rule(Family.PERFORMANCE),
        effect=effect, bound=effect - score.rule(Family.PERFORMANCE).z * error, n=current.n, reference=reading.value,
        why=f"{metric} {current.value:.4g} against {reading.value:.4g} when it was judged",
    )  # fmt: skip


def estimated(metric: str, current: metrics.Measurement, usual: metrics.Measurement, score: Score) -> Sign:
    """Relative decline of a metric that is expected of rows without labels, against the same on rows whose labels came.

    Both are estimates by one calibration, so what it gets wrong is wrong in both.
    """
    name, rule = f"{ESTIMATED}{metric}", score.rule(Family.PERFORMANCE)
    unit = "share of skill lost" if metric in ("auc", "accuracy") else "share of loss gained"
    few = min(current.n, usual.n)
    if few < score.min_rows:
        why = f"{current.n} rows without labels and {usual.n} with are too few to estimate from"
        return insufficient(Family.PERFORMANCE, name, unit, few, score.min_rows, why)
    effect, slope = metrics.decline(metric, usual.value, current.value)
    error = math.hypot(current.se, usual.se) * slope
    return _sign(
        Family.PERFORMANCE, name, unit, rule,
        effect=effect, bound=effect - max(rule.z, SURE_Z) * error, n=current.n, reference=usual.value,
        why=f"{metric} {current.value:.4g} is expected where no labels are yet, {usual.value:.4g} where they came",
    )  # fmt: skip


def feedback(missing: metrics.FloatArray, predictions: metrics.FloatArray, score: Score) -> Sign:
    """How far the prediction tells whether a label ever comes: predictions that choose what is learned next.

    The effect is the Gini coefficient, |2 AUC - 1|: 0 where labels come whatever was predicted, 1 where they come only
    on one side of a threshold, as of loans that were granted.

    Args:
        missing: 1 for a row whose label was due and is not there, 0 for one with a label; shape (rows,).
        predictions: Of these rows, shape (rows,).
        score: The policy's rules.
    """
    name, unit, n = "labels_by_prediction", "Gini of missing labels by prediction", len(missing)
    fewest = metrics.rarer(missing, "binary")
    if fewest < score.min_class_rows:
        why = f"{fewest} rows on one side, with a label or without, are too few to tell what decides on labels"
        return insufficient(Family.BLIND, name, unit, fewest, score.min_class_rows, why)
    found, rule = metrics.measure("auc", missing, predictions), score.rule(Family.BLIND)
    effect = abs(2 * found.value - 1)
    return _sign(
        Family.BLIND, name, unit, rule,
        effect=effect, bound=effect - 2 * max(rule.z, SURE_Z) * found.se, n=n, reference=0.0,
        why=f"whether a label comes depends on the prediction ({missing.mean():.1%} of {n} rows have none): the next "
        "training would learn only what this model let happen; label a random sample of the rest",
    )  # fmt: skip


def calibration(bias: metrics.Measurement, spread: float, judged: Reading, score: Score) -> Sign:
    """Growth of the mean error of predictions since the champion was judged, in standard deviations of the target."""
    unit = "sd of target"
    if bias.n < score.min_rows:
        why = f"{bias.n} labeled rows are too few"
        return insufficient(Family.CALIBRATION, "bias", unit, bias.n, score.min_rows, why)
    if not spread > 0:
        return insufficient(Family.CALIBRATION, "bias", unit, bias.n, 1, "the target did not vary")
    effect = (abs(bias.value) - abs(judged.value)) / spread
    error = math.hypot(bias.se, judged.se) / spread
    return _sign(
        Family.CALIBRATION, "bias", unit, score.rule(Family.CALIBRATION),
        effect=effect, bound=effect - score.rule(Family.CALIBRATION).z * error, n=bias.n, reference=judged.value,
        why=f"mean of prediction minus label {bias.value:.4g}, against {judged.value:.4g} when it was judged",
    )  # fmt: skip


def miscalibration(now: metrics.Measurement, spread: float, judged: Reading, score: Score) -> Sign:
    """Growth of `stats.groups.miscalibration` since the champion was judged, in standard deviations of the target.

    The root of what was added to the mean square: the unit of `calibration`, whose mean error it leaves out.
    """
    name, unit, rule = judged.metric, "sd of target", score.rule(Family.CALIBRATION)
    if now.n < score.min_rows:
        why = f"{now.n} labeled rows are too few"
        return insufficient(Family.CALIBRATION, name, unit, now.n, score.min_rows, why)
    if not spread > 0:
        return insufficient(Family.CALIBRATION, name, unit, now.n, 1, "the target did not vary")
    added = now.value - judged.value
    effect, bound = (
        math.sqrt(max(each, 0.0)) / spread if math.isfinite(each) else math.nan
        for each in (added, added - rule.z * math.hypot(now.se, judged.se))
    )
    return _sign(
        Family.CALIBRATION, name, unit, rule,
        effect=effect, bound=bound, n=now.n, reference=judged.value,
        why=f"mean square of what predictions are off in parts of their range {now.value:.4g}, beyond the mean error, "
        f"against {judged.value:.4g} when it was judged",
    )  # fmt: skip


def relevance(newer: Mapping[str, Groups], older: Mapping[str, Groups], spread: float, score: Score) -> Sign:
    """How much more or less, or what else, the feature that changed most tells of the label than it told before.

    The effect is the variance of the change of the label's mean between the feature's bins, beyond what changed in all
    of them, as a share of the variance of the label. Of a binary label that is, to second order, the PSI of the label
    given the feature. The lower bound holds for all features at once (Bonferroni): one of fifty is always the largest.

    Args:
        newer: Labels of the newest rows in the bins of each feature.
        older: The same of rows that the champion learned from.
        spread: Standard deviation of the target.
        score: The policy's rules.
    """
    name, unit, rule = "relevance", "share of variance of target", score.rule(Family.PREDICTION_SHIFT)
    n = min((int(groups.rows.sum()) for side in (newer, older) for groups in side.values()), default=0)
    if n < score.min_rows:
        why = f"{n} labeled rows are too few to tell what features say of the label"
        return insufficient(Family.PREDICTION_SHIFT, name, unit, n, score.min_rows, why)
    if not spread > 0:
        return insufficient(Family.PREDICTION_SHIFT, name, unit, n, 1, "the target did not vary")
    found = {feature: between(groups, older[feature]) for feature, groups in newer.items()}
    chance = chance_beyond(rule.z) / len(found)
    bounds = {feature: apart.lower(chance) for feature, apart in found.items()}
    told = [feature for feature, bound in bounds.items() if math.isfinite(bound)]
    if not told:
        why = "no feature has two bins with enough labeled rows in both samples"
        return insufficient(Family.PREDICTION_SHIFT, name, unit, n, 1, why)
    most = max(told, key=lambda feature: bounds[feature])
    return _sign(
        Family.PREDICTION_SHIFT, name, unit, rule,
        effect=found[most].value / spread**2, bound=bounds[most] / spread**2, n=n, reference=None,
        why=f"what {most} tells of the label has changed most of {len(told)} features since the champion learned",
    )  # fmt: skip


def freshness(new_rows: int, trained_rows: int, score: Score) -> Sign:
    """Labeled rows that the champion has not learned from, as a share of those that it has."""
    growth = new_rows / trained_rows if trained_rows else math.nan
    return _sign(
        Family.FRESHNESS, "new_rows", "share of training rows", score.rule(Family.FRESHNESS),
        effect=growth, bound=growth, n=new_rows, reference=float(trained_rows),
        why=f"{new_rows} new labeled rows since {trained_rows} were trained on",
    )  # fmt: skip


def structural(signals: Sequence[Signal], psi_limit: float, share_limit: float) -> Finding:
    """Whether so many features changed so much that a person should look before anything is trained."""
    bounds = [signal.lower_bound for signal in signals if signal.family is Family.INPUT_DRIFT]
    measured = [bound for bound in bounds if bound is not None]
    if not measured:
        reason = "no feature's drift could be measured"
        return Finding(check="drift", outcome=Outcome.INSUFFICIENT, reason=reason, observed=0, limit=1)
    changed = [bound for bound in measured if bound >= psi_limit]
    share = len(changed) / len(measured)
    return Finding(
        check="drift",
        outcome=Outcome.PASS if share <= share_limit else Outcome.FAIL,
        reason=f"{len(changed)} of {len(measured)} features have a PSI of {psi_limit:g} or more"
        + ("" if share <= share_limit else "; a change of structure: a person should look"),
        observed=share,
        limit=share_limit,
    )

"""Simulated histories of a model, measured, assessed and asked about by the real policy.

A history is a reference of 30 days and then 30 days of one batch a day. Features are independent standard normals,
counted in frozen deciles of the reference; a model's scores are binormal, so that its AUC is known; labels mature a day
later. The champion stays throughout: what is asked is whether its decline would be noticed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit, ndtr, ndtri

from hpcretrain.appraise import Subject, appraise
from hpcretrain.counts import BatchCounts, ColumnCounts
from hpcretrain.evidence import Measure
from hpcretrain.policy import observe
from hpcretrain.policy.assess import Grid
from hpcretrain.policy.request import wish
from hpcretrain.policy.types import Cure, Policy, Score
from hpcretrain.policy.validate import readings
from hpcretrain.ports import histogram
from hpcretrain.records import Assessment, Family, Reading
from hpcretrain.stats import metrics
from hpcretrain.stats.estimate import calibrate, estimate
from hpcretrain.stats.groups import MISCALIBRATION, Groups, miscalibration

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DECILES = np.arange(1, 10) / 10


@dataclass(frozen=True)
class World:
    """What is watched: so many rows a day, independent features, a binary task and a champion of known AUC."""

    rows: int = 2_000
    days: int = 30
    features: int = 50
    positives: float = 0.2
    auc: float = 0.75
    label_days: int = 1
    """Until labels mature."""
    telling: int = 10
    """How many of the features tell of the label, each as much: all that the champion knows, it knows of them."""

    @property
    def reference_rows(self) -> int:
        """The reference is as long as the history."""
        return self.rows * self.days


@dataclass(frozen=True)
class Change:
    """From `day` on the first `features` are shifted, in standard deviations, and the champion's AUC is less."""

    day: int
    features: int = 5
    shift: float = 0.3
    auc_lost: float = 0.02


@dataclass(frozen=True)
class Batch:
    """One day: exact counts, cells of each feature's deciles by class, shape (2, features, 10), and labels and the
    champion's predictions, both of shape (rows,)."""

    counts: BatchCounts
    cells: IntArray
    labels: FloatArray
    predictions: FloatArray


@dataclass(frozen=True)
class Past:
    """What the champion comes with: counts of its training rows, cells by class of those that are looked at for what
    features tell, its readings, and the spread of the labels."""

    counts: BatchCounts
    cells: IntArray
    readings: dict[str, Reading]
    spread: float


def past(world: World, policy: Policy, rng: np.random.Generator) -> Past:
    """The reference; the first champion is judged on a quarter of it, as `hpcretrain` does."""
    judged = min(world.reference_rows // 4, policy.gate.max_rows)
    labels, predictions = scored(world, judged, world.auc, rng)
    found = readings(labels, predictions, "binary", ("auc",), policy.gate)
    looked_at = min(world.reference_rows, policy.score.max_rows)
    drawn = [int(rng.binomial(rows, world.positives)) for rows in (looked_at, world.reference_rows - looked_at)]
    cells = _cells(world, None, (looked_at - drawn[0], drawn[0]), rng)
    others = _cells(world, None, (world.reference_rows - looked_at - drawn[1], drawn[1]), rng)
    return Past(
        counts=_counts((cells + others).sum(axis=0)),
        cells=cells,
        readings={reading.metric: reading for reading in found},
        spread=math.sqrt(world.positives * (1 - world.positives)),
    )


def days(world: World, change: Change | None, rng: np.random.Generator) -> Iterator[Batch]:
    """The batches that follow the reference."""
    for day in range(1, world.days + 1):
        changed = change if change is not None and day >= change.day else None
        auc = world.auc - changed.auc_lost if changed else world.auc
        labels, predictions = scored(world, world.rows, auc, rng)
        positives = int(labels.sum())
        cells = _cells(world, changed, (world.rows - positives, positives), rng)
        yield Batch(_counts(cells.sum(axis=0)), cells, labels, predictions)


def _cells(world: World, changed: Change | None, rows: tuple[int, int], rng: np.random.Generator) -> IntArray:
    """How many rows of each class lie in each decile of each feature, shape (2, features, 10).

    The features that tell of the label lie apart between the classes, independently, so that the squares of their
    distances add up to that of the scores. What AUC is lost, the changed ones lose.
    """
    telling = min(world.telling, world.features)
    apart, moved = np.zeros(world.features), np.zeros(world.features)
    apart[:telling] = separation(world.auc) / math.sqrt(telling)
    if changed:
        moved[: changed.features] = changed.shift
        lost = separation(world.auc) ** 2 - separation(world.auc - changed.auc_lost) ** 2
        losing = min(changed.features, telling)
        apart[:losing] = np.sqrt(np.maximum(apart[:losing] ** 2 - lost / losing, 0.0))
    found = []
    for label, count in enumerate(rows):
        middle = moved + apart * (label - world.positives)
        below = ndtr(ndtri(DECILES) - middle[:, None])
        found.append(rng.multinomial(count, np.diff(below, axis=1, prepend=0.0, append=1.0)))
    return np.array(found)


def scored(world: World, rows: int, auc: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Labels and predictions of a champion that was calibrated at `world.auc`, now of AUC `auc`; shape (rows,).

    Scores are normal with variance 1 in each class. Their mean over both classes stays where it was, so that a loss of
    AUC alone shows neither as a shift nor as a bias of predictions.
    """
    was, now = separation(world.auc), separation(auc)
    labels = (rng.random(rows) < world.positives).astype(np.float64)
    scores = rng.normal(size=rows) + now * labels + (was - now) * world.positives
    return labels, probability(scores, world.auc, world.positives)


def probability(scores: FloatArray, auc: float, positives: float) -> FloatArray:
    """Calibrated probabilities for binormal scores, negatives around 0 and positives around `separation(auc)`."""
    apart = separation(auc)
    found: FloatArray = expit(logit(positives) + apart * scores - apart**2 / 2)
    return found


def separation(auc: float) -> float:
    """The distance of two normals of variance 1 whose AUC this is."""
    return math.sqrt(2) * float(ndtri(auc))


def watch(world: World, policy: Policy, change: Change | None, seed: int) -> Iterator[Assessment]:
    """The assessment of each day."""
    rng = np.random.default_rng(seed)
    reference = past(world, policy, rng)
    served: list[Batch] = []
    measures: list[Measure] = []
    for day, batch in enumerate(days(world, change, rng), start=1):
        served.append(batch)
        now = START + DAY * day
        measures += [_measure(sign, now) for sign in measure(world, reference, served, policy)]
        found = appraise(measures, policy, Grid(now, DAY), Subject(now))
        yield Assessment(
            model="simulated",
            at=now,
            score=found.scored.score,
            decline=found.scored.decline,
            fresh=found.scored.fresh,
            action=found.action,
            priority_class=found.priority_class,
            contributions=found.scored.contributions,
            levels=found.scored.levels,
            findings=found.findings,
        )


def asks(world: World, policy: Policy, change: Change | None, seed: int) -> bool:
    """Whether a retraining is asked for on any day because of decline.

    A request because of freshness alone, more rows to learn from, is no alarm.
    """
    declining = set(policy.score.cured_by(Cure.RETRAIN))
    for assessment in watch(world, policy, change, seed):
        asked = wish(assessment, policy.score)
        if asked is not None and declining & set(asked.triggers):
            return True
    return False


def measure(world: World, reference: Past, served: list[Batch], policy: Policy) -> list[observe.Sign]:
    """The signs of the newest day, pooled as `steps.observe` pools them: small batches are taken together."""
    score = policy.score
    recent = _newest(served, score.min_rows)
    signs = observe.input_drift([batch.counts for batch in recent], [reference.counts], score)
    signs.append(_prediction_shift(served, policy))
    matured = served[: -world.label_days]
    for name, rows in (("auc_sustained", score.max_rows), ("auc", score.min_rows)):
        pooled = _newest(matured, rows)
        labels = np.concatenate([np.empty(0), *(batch.labels for batch in pooled)])[-max(rows, world.rows) :]
        predictions = np.concatenate([np.empty(0), *(batch.predictions for batch in pooled)])[-max(rows, world.rows) :]
        current, rarer = metrics.measure("auc", labels, predictions), int(min(labels.sum(), len(labels) - labels.sum()))
        signs.append(observe.performance(name, current, rarer, reference.readings["auc"], score))
    waiting = np.concatenate([batch.predictions for batch in served[len(matured) :]])
    signs += _estimated(matured, waiting, policy)
    bias = metrics.bias("binary", labels, predictions)
    signs.append(observe.calibration(bias, reference.spread, reference.readings["bias"], score))
    signs += _finer(reference, _newest(matured, score.max_rows), world, score)
    signs.append(observe.freshness(world.rows * len(matured), world.reference_rows, score))
    return signs


def _finer(reference: Past, sustained: list[Batch], world: World, score: Score) -> list[observe.Sign]:
    """Calibration in parts of the range, and what features tell of the label."""
    labels = np.concatenate([np.empty(0), *(batch.labels for batch in sustained)])
    predictions = np.concatenate([np.empty(0), *(batch.predictions for batch in sustained)])
    off, judged = miscalibration("binary", labels, predictions), reference.readings[MISCALIBRATION]
    signs = [observe.miscalibration(off, reference.spread, judged, score)]
    cells = sum((batch.cells for batch in sustained), start=np.zeros((2, world.features, 10), dtype=np.int64))
    return [*signs, observe.relevance(_groups(cells), _groups(reference.cells), reference.spread, score)]


def _groups(cells: IntArray) -> dict[str, Groups]:
    """Labels in the deciles of each feature."""
    found = {}
    for number, (negative, positive) in enumerate(zip(cells[0], cells[1], strict=True)):
        rows = (negative + positive).astype(np.float64)
        means = positive / np.maximum(rows, 1)
        found[f"x{number}"] = Groups(rows, means, rows * means * (1 - means))
    return found


def _estimated(matured: list[Batch], newest: FloatArray, policy: Policy) -> list[observe.Sign]:
    """What is expected of the newest days, whose labels have not come."""
    pooled = _newest(matured, policy.score.max_rows)
    labels = np.concatenate([np.empty(0), *(batch.labels for batch in pooled)])
    if min(len(labels), len(newest)) < policy.score.min_rows:
        return []
    usual = np.concatenate([batch.predictions for batch in pooled])
    known = calibrate(labels, usual)
    return [observe.estimated("auc", estimate("auc", newest, known), estimate("auc", usual, known), policy.score)]


def _prediction_shift(served: list[Batch], policy: Policy) -> observe.Sign:
    score = policy.score
    first = _newest(served[::-1], score.min_rows)
    newest = _newest(served[len(first) :], score.min_rows)
    if not newest:
        why = "no predictions but the first"
        return observe.insufficient(Family.PREDICTION_SHIFT, "prediction", "psi", 0, score.min_rows, why)
    was = np.concatenate([batch.predictions for batch in first])
    edges = np.unique(np.quantile(was, DECILES)).tolist()
    current = histogram(edges, np.concatenate([batch.predictions for batch in newest]))
    return observe.prediction_shift(current, histogram(edges, was), score)


def _newest(batches: list[Batch], rows: int) -> list[Batch]:
    """The last batch, or as many of the last as it takes for so many rows."""
    taken: list[Batch] = []
    for batch in reversed(batches):
        taken.append(batch)
        if sum(each.counts.rows for each in taken) >= rows:
            break
    return taken


def _counts(cells: IntArray) -> BatchCounts:
    rows = int(cells[0].sum())
    columns = {
        f"x{number}": ColumnCounts(
            rows=rows, missing=0, infinite=0, wrong_type=0, unseen=0, bins=tuple(bins), minimum=-9, maximum=9,
            constant=False,
        )
        for number, bins in enumerate(cells.tolist())
    }  # fmt: skip
    return BatchCounts(rows, 0, columns, "simulated")


def _measure(sign: observe.Sign, at: datetime) -> Measure:
    return Measure("simulated", sign.family, sign.name, at, sign.effect, sign.lower_bound, sign.n, sign.reference)

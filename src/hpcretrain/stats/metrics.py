"""Metrics of predictions with standard errors, and how much worse one value of a metric is than another.

Arrays are of shape (rows,). For binary tasks labels are 0 or 1 and predictions are probabilities of 1. What is not
defined is NaN, so that a caller who asks `isfinite` first never takes it for good: no row, a label or prediction that
is not finite (or, for binary tasks, no label or no probability), one class only for AUC.

All standard errors take rows for independent; rows that belong together (one customer, one hour) make them too small.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_CLIP = 1e-15
_NO_SKILL_AUC = 0.5


@dataclass(frozen=True)
class Metric:
    """A metric's name, the task that it is for ("binary" or "regression"), and which way is better."""

    name: str
    task: str
    higher_is_better: bool


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("auc", "binary", higher_is_better=True),
        Metric("log_loss", "binary", higher_is_better=False),
        Metric("brier", "binary", higher_is_better=False),
        Metric("accuracy", "binary", higher_is_better=True),
        Metric("rmse", "regression", higher_is_better=False),
        Metric("mae", "regression", higher_is_better=False),
    )
}


@dataclass(frozen=True)
class Measurement:
    """A value with its standard error, both in the metric's unit (NaN when not defined), on `n` rows."""

    value: float
    se: float
    n: int


def measure(metric: str, y: npt.ArrayLike, p: npt.ArrayLike) -> Measurement:
    """`metric` of predictions `p` for labels `y`, with its standard error.

    AUC counts ties as one half; its standard error is that of DeLong, DeLong & Clarke-Pearson (1988,
    doi:10.2307/2531595), which is 0 when the classes are told apart perfectly. Mean losses have sd / sqrt(n), RMSE the
    same of squared errors by the delta method. Log loss clips probabilities to [1e-15, 1 - 1e-15]; accuracy takes
    probabilities of one half and more for class 1.

    Args:
        metric: A key of `METRICS`.
        y: Labels, shape (rows,).
        p: Predictions, shape (rows,).

    Returns:
        The measurement. The value is NaN where it is not defined, the standard error also where it cannot be had:
        from fewer than two rows (for AUC: two of each class).

    Raises:
        ValueError: There is no such metric, or the shapes are not one and the same (rows,).
    """
    task = named(metric).task
    y, p = paired(y, p)
    if not usable(task, y, p):
        return Measurement(math.nan, math.nan, len(y))
    if metric == "auc":
        return _auc(y, p)
    losses = row_values(metric, y, p)
    value, se = _mean(losses)
    if metric == "rmse":
        value = math.sqrt(value)
        # An RMSE of 0 comes from errors that are all 0: nothing varies, and the delta method would divide by 0.
        se = se / (2 * value) if value else se
    return _measurement(value, se, len(y))


def decline(metric: str, baseline: float, current: float) -> tuple[float, float]:
    """How much worse `current` is than `baseline`, as a share; positive is worse.

    AUC is relative to the baseline's skill (AUC - 0.5), accuracy and losses to the baseline itself.

    Returns:
        The effect, and the size of its derivative by `current`, which turns a standard error of the metric into one of
        the effect. Both NaN where the denominator is not positive or anything is not finite.

    Raises:
        ValueError: There is no such metric.
    """
    worse = baseline - current if named(metric).higher_is_better else current - baseline
    whole = baseline - _NO_SKILL_AUC if metric == "auc" else baseline
    if not (math.isfinite(worse) and whole > 0):
        return math.nan, math.nan
    return worse / whole, 1 / whole


def bias(task: str, y: npt.ArrayLike, p: npt.ArrayLike) -> Measurement:
    """Mean of prediction minus label, in the label's unit.

    The standard error of a binary task is the one that holds if the probabilities are calibrated, sqrt(sum p(1-p)) / n,
    labels then being independent Bernoulli draws; of a regression, sd(residual) / sqrt(n).

    Raises:
        ValueError: There is no such task, or the shapes are not one and the same (rows,).
    """
    tasks = sorted({metric.task for metric in METRICS.values()})
    if task not in tasks:
        raise ValueError(f"no task {task!r}; give one of {', '.join(tasks)}")
    y, p = paired(y, p)
    if not usable(task, y, p):
        return Measurement(math.nan, math.nan, len(y))
    value, se = _mean(_errors(y, p))
    if task == "binary":
        se = math.sqrt(float(np.sum(p * (1 - p)))) / len(y)
    return _measurement(value, se, len(y))


def rarer(labels: FloatArray, task: str) -> int:
    """Labels of the rarer class, of shape (rows,); all labels of a regression."""
    if task != "binary":
        return len(labels)
    positive = int(np.count_nonzero(labels == 1))
    return min(positive, len(labels) - positive)


def named(metric: str) -> Metric:
    """The metric of that name.

    Raises:
        ValueError: There is none.
    """
    if metric not in METRICS:
        raise ValueError(f"no metric {metric!r}; give one of {', '.join(METRICS)}")
    return METRICS[metric]


def paired(y: npt.ArrayLike, p: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Labels and predictions as float arrays of one and the same shape (rows,).

    Raises:
        ValueError: They are not.
    """
    labels, predictions = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if labels.ndim != 1 or labels.shape != predictions.shape:
        raise ValueError(f"labels of shape {labels.shape}, predictions of {predictions.shape}; give (rows,) for both")
    return labels, predictions


def usable(task: str, y: FloatArray, p: FloatArray) -> bool:
    """Whether there are rows, all finite, and for a binary task all labels 0 or 1 and all predictions in [0, 1]."""
    if len(y) == 0 or not (np.isfinite(y).all() and np.isfinite(p).all()):
        return False
    return task != "binary" or bool(((y == 0) | (y == 1)).all() and ((p >= 0) & (p <= 1)).all())


def row_values(metric: str, y: FloatArray, p: FloatArray) -> FloatArray:
    """What a row adds to the mean that makes `metric` (for RMSE the square of it), shape (rows,); not for AUC."""
    if metric == "log_loss":
        clipped = np.clip(p, _CLIP, 1 - _CLIP)
        return np.where(y == 1, -np.log(clipped), -np.log1p(-clipped))
    if metric == "accuracy":
        right = (p >= 0.5) == (y == 1)
        return np.asarray(right, dtype=np.float64)
    if metric == "mae":
        return np.abs(_errors(y, p))
    with np.errstate(over="ignore"):
        return np.square(_errors(y, p))


def placements(y: FloatArray, p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """DeLong's placement values, whose means are the AUC.

    By mid-ranks, in O(n log n): Sun & Xu (2014, doi:10.1109/LSP.2014.2337313).

    Returns:
        For each positive row the share of negative rows that it outranks, shape (positives,), and for each negative row
        the share of positive rows that outrank it, shape (negatives,). A tie counts one half.
    """
    positive = y == 1
    ranks = _midranks(p)
    above = ranks[positive] - _midranks(p[positive])
    below = ranks[~positive] - _midranks(p[~positive])
    return above / len(below), 1 - below / len(above)


def _errors(y: FloatArray, p: FloatArray) -> FloatArray:
    """Prediction minus label; what overflows is infinite, and its mean is found not to be finite."""
    with np.errstate(over="ignore"):
        return p - y


def _midranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: FloatArray = np.cumsum(counts) - (counts - 1) / 2
    return middle[inverse]


def _auc(y: FloatArray, p: FloatArray) -> Measurement:
    positives = int(np.count_nonzero(y))
    if positives in (0, len(y)):
        return Measurement(math.nan, math.nan, len(y))
    value_se = [_mean(values) for values in placements(y, p)]
    return _measurement(value_se[0][0], math.hypot(value_se[0][1], value_se[1][1]), len(y))


def _mean(values: FloatArray) -> tuple[float, float]:
    """Mean and its standard error, NaN from a single value."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(np.mean(values))
        se = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return mean, se


def _measurement(value: float, se: float, n: int) -> Measurement:
    """A measurement in which what overflowed is NaN."""
    finite = math.isfinite(value)
    return Measurement(value if finite else math.nan, se if finite and math.isfinite(se) else math.nan, n)

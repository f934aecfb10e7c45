"""Is a new model better than an old one? Paired comparisons on the same rows.

Arrays are of shape (rows,). A gain above 0 means that the new model is better, whichever way its metric goes. Rows are
taken for independent. What is not defined is NaN: see `metrics.measure`; so is what has no usable standard error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcretrain.stats.metrics import FloatArray, measure, named, paired, placements, row_values, usable

RESAMPLES = 2_000
MOST_RESAMPLES = 50_000
LARGE_SAMPLE = 5_000
"""Above this many rows losses are compared by Student's t: the bootstrap of a mean agrees with it there."""

_RESAMPLES_BEYOND_BOUND = 5
_BATCH_VALUES = 1 << 21
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Comparison:
    """Two models on the same `n` rows: `old` and `new` are the metric's values.

    `lower` is the one-sided lower confidence bound of `gain` at level 1 - alpha, `p_value` the one-sided p of no gain,
    `method` says how both were had. `gain`, `lower` and `p_value` are NaN where they are not defined.
    """

    metric: str
    n: int
    old: float
    new: float
    gain: float
    lower: float
    p_value: float
    method: str


@dataclass(frozen=True)
class _Test:
    gain: float
    lower: float
    p_value: float
    method: str


def compare(
    metric: str, y: npt.ArrayLike, p_old: npt.ArrayLike, p_new: npt.ArrayLike, *, alpha: float, seed: int = 0
) -> Comparison:
    """Compare a new model with an old one on the same rows.

    - auc: paired DeLong (1988, doi:10.2307/2531595), by the mid-ranks of Sun & Xu (2014). Predictions that rank alike
      have gain 0, lower 0 and p 1. A difference with no variance at all (perfect against constant) is NaN.
    - accuracy: p by the exact McNemar test, `lower` by the score interval of Tango (1998,
      doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B).
    - log_loss, brier, mae, rmse: paired percentile bootstrap over rows (Efron & Tibshirani 1993, chapter 13), of 2,000
      resamples or as many as put five beyond the bound, but 50,000 at most: an alpha below 2e-5 is finer than they
      resolve, p cannot reach it and `lower` is NaN. With few rows (tens) it is too sure of itself: gate on their number
      first. Above 5,000 rows Student's t of the paired differences, for RMSE by the delta method.

    Args:
        metric: A key of `metrics.METRICS`.
        y: Labels, shape (rows,).
        p_old: Predictions of the old model, shape (rows,).
        p_new: Predictions of the new model, shape (rows,).
        alpha: One-sided level, 0 < alpha < 0.5.
        seed: Of the bootstrap; the same seed gives the same answer.

    Raises:
        ValueError: There is no such metric, alpha is out of range, or the shapes are not one and the same (rows,).
    """
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha}; give a one-sided level between 0 and 0.5")
    task = named(metric).task
    y, p_old = paired(y, p_old)
    y, p_new = paired(y, p_new)
    old, new = measure(metric, y, p_old).value, measure(metric, y, p_new).value
    if len(y) < 2 or not (usable(task, y, p_old) and usable(task, y, p_new) and math.isfinite(old + new)):
        test = _undefined("none")
    elif metric == "auc":
        test = _delong(y, p_old, p_new, alpha)
    elif metric == "accuracy":
        test = _mcnemar_tango(row_values(metric, y, p_old), row_values(metric, y, p_new), alpha)
    else:
        losses = np.stack((row_values(metric, y, p_old), row_values(metric, y, p_new)))
        test = _loss_test(losses, alpha, seed, root=metric == "rmse")
    return Comparison(metric, len(y), old, new, test.gain, test.lower, test.p_value, test.method)


def spend(alpha: float, use: int) -> float:
    """The share of `alpha` for the `use`-th use of the same rows, alpha * 6 / (pi^2 use^2): all uses sum to alpha.

    Raises:
        ValueError: `use` is below 1.
    """
    if use < 1:
        raise ValueError(f"use is {use}; uses count from 1")
    return alpha * 6 / (math.pi**2 * use**2)


def _undefined(method: str) -> _Test:
    return _Test(math.nan, math.nan, math.nan, method)


def _delong(y: FloatArray, p_old: FloatArray, p_new: FloatArray, alpha: float) -> _Test:
    from scipy.special import ndtr, ndtri

    method = "paired DeLong"
    old, new = placements(y, p_old), placements(y, p_new)
    positive, negative = new[0] - old[0], new[1] - old[1]
    if not (positive.any() or negative.any()):
        return _Test(0.0, 0.0, 1.0, method)
    if min(len(positive), len(negative)) < 2:
        return _undefined(method)
    gain = float(positive.mean())
    se = math.sqrt(positive.var(ddof=1) / len(positive) + negative.var(ddof=1) / len(negative))
    if se < _ROUNDING:
        return _undefined(method)
    return _Test(gain, gain - float(ndtri(1 - alpha)) * se, float(ndtr(-gain / se)), method)


def _mcnemar_tango(right_old: FloatArray, right_new: FloatArray, alpha: float) -> _Test:
    from scipy.special import ndtri
    from scipy.stats import binomtest

    wins = int(np.count_nonzero(right_new > right_old))
    losses = int(np.count_nonzero(right_new < right_old))
    n = len(right_old)
    p_value = 1.0
    if wins + losses:
        p_value = float(binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue)
    lower = tango_lower(wins, losses, n, float(ndtri(1 - alpha)))
    return _Test((wins - losses) / n, lower, p_value, "exact McNemar, Tango interval")


def tango_lower(wins: int, losses: int, n: int, z: float) -> float:
    """Tango's (1998) score bound: the difference of paired proportions that lies z > 0 standard errors below.

    Args:
        wins: Rows of `n` that only the new model gets right.
        losses: Rows of `n` that only the old model gets right.
        n: Rows.
        z: Quantile of the standard normal.
    """
    from scipy.optimize import brentq

    gain = (wins - losses) / n
    if losses == n:
        return -1.0
    # Without variance at the gain itself the equation has a useless root there; the other one is known.
    if wins == n:
        return (n - z**2) / (n + z**2)
    if wins == losses == 0:
        return -(z**2) / (n + z**2)

    def excess(difference: float) -> float:
        linear = (2 * n - wins + losses) * difference - wins - losses
        constant = -losses * difference * (1 - difference)
        share_lost = (math.sqrt(linear**2 - 8 * n * constant) - linear) / (4 * n)
        variance = max(n * (2 * share_lost + difference * (1 - difference)), 0.0)
        return n * (gain - difference) - z * math.sqrt(variance)

    return float(brentq(excess, -1.0, gain, xtol=1e-12))


def _loss_test(losses: FloatArray, alpha: float, seed: int, *, root: bool) -> _Test:
    """Test mean losses, or their roots; `losses` holds those of the old and the new model, shape (2, rows)."""
    if losses.shape[1] > LARGE_SAMPLE:
        return _student(losses, alpha, root=root)
    return _bootstrap(losses, alpha, seed, root=root)


def _student(losses: FloatArray, alpha: float, *, root: bool) -> _Test:
    from scipy.special import stdtr, stdtrit

    method = "Student's t of paired differences"
    n = losses.shape[1]
    slopes = np.ones(2)
    if root:
        means = losses.mean(axis=1)
        # A mean of 0 comes from losses that are all 0: they do not vary, whatever slope they are given.
        slopes = 1 / (2 * np.sqrt(np.where(means > 0, means, 1.0)))
    gain = float(_gains(losses.mean(axis=1, keepdims=True), root=root)[0])
    with np.errstate(over="ignore", invalid="ignore"):
        se = float(np.std(slopes[0] * losses[0] - slopes[1] * losses[1], ddof=1)) / math.sqrt(n)
    if not math.isfinite(se):
        return _undefined(method)
    if se == 0:
        return _Test(gain, gain, 0.0 if gain > 0 else 1.0, method)
    return _Test(gain, gain - float(stdtrit(n - 1, 1 - alpha)) * se, float(stdtr(n - 1, -gain / se)), method)


def _bootstrap(losses: FloatArray, alpha: float, seed: int, *, root: bool) -> _Test:
    resamples = min(max(RESAMPLES, math.ceil(_RESAMPLES_BEYOND_BOUND / alpha)), MOST_RESAMPLES)
    # Of plain means only the difference counts, which halves the work.
    columns = losses if root else losses[:1] - losses[1:]
    gains = np.sort(_gains(_resampled_means(columns, resamples, seed), root=root))
    # What cancels must not become a gain by rounding.
    gains[np.abs(gains) <= _ROUNDING * np.abs(gains).max()] = 0.0
    beyond = math.floor(alpha * (resamples + 1))
    return _Test(
        gain=float(_gains(columns.mean(axis=1, keepdims=True), root=root)[0]),
        lower=float(gains[beyond - 1]) if beyond else math.nan,
        p_value=(1 + int(np.count_nonzero(gains <= 0))) / (resamples + 1),
        method=f"paired bootstrap of {resamples} resamples",
    )


def _gains(means: FloatArray, *, root: bool) -> FloatArray:
    """Gains, shape (k,), from means of old and new losses, shape (2, k), or of their differences, shape (1, k)."""
    if len(means) == 1:
        gains: FloatArray = means[0]
        return gains
    values = np.sqrt(means) if root else means
    gains = values[0] - values[1]
    return gains


def _resampled_means(columns: FloatArray, resamples: int, seed: int) -> FloatArray:
    """Means over rows drawn with replacement, shape (columns, resamples), a batch of resamples at a time."""
    rng = np.random.default_rng(seed)
    rows = columns.shape[1]
    batch = max(1, _BATCH_VALUES // rows)
    means = np.empty((len(columns), resamples))
    for start in range(0, resamples, batch):
        drawn = rng.integers(rows, size=(min(batch, resamples - start), rows), dtype=np.int32)
        for column, mean in zip(columns, means, strict=True):
            mean[start : start + batch] = column[drawn].mean(axis=1)
    return means

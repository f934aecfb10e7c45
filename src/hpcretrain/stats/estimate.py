"""Metrics of a classifier estimated without labels, from probabilities that were calibrated where labels are known.

If a prediction is calibrated, the labels that are still unknown are Bernoulli draws of it, and the expectation of a
metric follows from the predictions alone: the confidence-based estimate of Garg et al. (2022, "Leveraging unlabeled
data to predict out-of-distribution performance", arXiv:2201.04234) and of NannyML's CBPE. It sees that rows became
harder to tell apart; it cannot see that what they mean has changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcretrain.stats.metrics import FloatArray, Measurement

_BINS, _BLOCKS, _CLIP = 20, 20, 1e-6


@dataclass(frozen=True)
class Calibration:
    """What share of the rows with such a prediction was of class 1.

    Attributes:
        edges: Of the bins of predictions, without the outer ones; shape (bins - 1,).
        rates: In each bin, drawn toward the share in all rows as if by one row more; shape (bins,).
    """

    edges: FloatArray
    rates: FloatArray

    def place(self, p: FloatArray) -> npt.NDArray[np.intp]:
        """The bin of each prediction, shape (rows,)."""
        return np.asarray(np.searchsorted(self.edges, p, side="right"))


def calibrate(y: npt.ArrayLike, p: npt.ArrayLike) -> Calibration:
    """Calibrate on labels (0 or 1) and predictions, both of shape (rows,), in 20 bins of as many rows each.

    Raises:
        ValueError: There are none, or a prediction is not finite.
    """
    y, p = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if not len(y) or y.shape != p.shape or not np.isfinite(p).all():
        raise ValueError("calibration needs labels and finite predictions of one shape (rows,)")
    edges = np.unique(np.quantile(p, np.arange(1, _BINS) / _BINS))
    place = np.searchsorted(edges, p, side="right")
    rows = np.bincount(place, minlength=len(edges) + 1)
    positive = np.bincount(place, weights=y, minlength=len(edges) + 1)
    return Calibration(edges, (positive + y.mean()) / (rows + 1))


def estimate(metric: str, p: npt.ArrayLike, calibration: Calibration) -> Measurement:
    """A metric of a binary task (`stats.metrics.METRICS`) that is to be expected of predictions, shape (rows,).

    The standard error is that of a jackknife over 20 blocks of rows that follow each other: what is near in time is
    alike. It does not know the error of the calibration. NaN from fewer than 40 rows, or with a prediction that is not
    finite.

    Raises:
        ValueError: There is no such metric of a binary task.
    """
    p = np.asarray(p, dtype=np.float64)
    if metric != "auc" and metric not in _LOSSES:
        raise ValueError(f"no metric {metric!r} of a binary task; give one of auc, {', '.join(_LOSSES)}")
    if len(p) < 2 * _BLOCKS or not np.isfinite(p).all():
        return Measurement(math.nan, math.nan, len(p))
    block, place = np.arange(len(p)) * _BLOCKS // len(p), calibration.place(p)
    if metric == "auc":
        bins = len(calibration.rates)
        counts = np.bincount(block * bins + place, minlength=_BLOCKS * bins).reshape(_BLOCKS, bins)
        value = _auc(counts.sum(axis=0), calibration.rates)
        left = np.array([_auc(counts.sum(axis=0) - each, calibration.rates) for each in counts])
    else:
        losses = _LOSSES[metric](p, calibration.rates[place])
        sums, rows = np.bincount(block, weights=losses), np.bincount(block)
        value = float(losses.mean())
        left = (sums.sum() - sums) / (len(p) - rows)
    se = math.sqrt((_BLOCKS - 1) / _BLOCKS * float(np.sum((left - left.mean()) ** 2)))
    return Measurement(value, se, len(p))


def _auc(counts: npt.NDArray[np.intp], rates: FloatArray) -> float:
    """The share of pairs of a positive and a negative that stand in order; of those in one bin that is one half."""
    positive, negative = counts * rates, counts * (1 - rates)
    below = np.cumsum(negative) - negative
    return float(np.sum(positive * (below + negative / 2)) / (positive.sum() * negative.sum()))


def _accuracy(p: FloatArray, c: FloatArray) -> FloatArray:
    return np.where(p >= 0.5, c, 1 - c)


def _brier(p: FloatArray, c: FloatArray) -> FloatArray:
    return np.asarray(c * (1 - p) ** 2 + (1 - c) * p**2)


def _log_loss(p: FloatArray, c: FloatArray) -> FloatArray:
    p = np.clip(p, _CLIP, 1 - _CLIP)
    return np.asarray(-(c * np.log(p) + (1 - c) * np.log1p(-p)))


_LOSSES: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "accuracy": _accuracy,
    "brier": _brier,
    "log_loss": _log_loss,
}

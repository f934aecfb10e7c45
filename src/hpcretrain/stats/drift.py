"""Drift between two samples that were counted in the same bins."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_HALF = 0.5


@dataclass(frozen=True)
class Drift:
    """De-biased PSI and its lower bound (natural logarithm, no unit), of `m` values against `n` reference values."""

    effect: float
    lower_bound: float
    n: int
    m: int


def psi(reference_counts: npt.ArrayLike, counts: npt.ArrayLike, *, z: float) -> Drift:
    """Population stability index, sum (p - q) ln(p / q), less what chance alone makes of it.

    Without drift PSI is about (1/n + 1/m) times a chi-square of B - 1 degrees of freedom (Yurdakul & Naranjo 2020,
    "Statistical properties of the population stability index", Journal of Risk Model Validation 14(4),
    doi:10.21314/JRMV.2020.227), so that small samples look like drift. `effect` is PSI less that mean,
    (B - 1)(1/n + 1/m), and may be negative. `lower_bound` is `effect` less z standard errors, where the variance adds
    that of the chi-square, 2 (B - 1)(1/n + 1/m)^2, and that of the delta method, which matters once there is drift.
    Near no drift the second measures chance again, which makes the bound careful there.

    B counts the bins that are not empty in both samples; each gets half a count more in both, so that a bin that is
    empty in one of them (a new category) has a finite share. Values are taken for independent: slots of a seasonal or
    autocorrelated feature drift by this measure, and truly do differ.

    Args:
        reference_counts: Counts of the reference, shape (bins,).
        counts: Counts of the newer sample, shape (bins,).
        z: How many standard errors the lower bound lies below the effect.

    Returns:
        The drift; NaN when one of the samples is empty.

    Raises:
        ValueError: The shapes are not one and the same (bins,), or a count is negative or not finite.
    """
    reference, newer = _counts(reference_counts), _counts(counts)
    if reference.shape != newer.shape:
        raise ValueError(f"{reference.size} reference bins and {newer.size} bins; count both in the same bins")
    n, m = float(reference.sum()), float(newer.sum())
    if not (n and m):
        return Drift(math.nan, math.nan, int(n), int(m))
    filled = reference + newer > 0
    freedom, chance = np.count_nonzero(filled) - 1, 1 / n + 1 / m
    p, q = _shares(reference[filled]), _shares(newer[filled])
    effect = float(np.sum((p - q) * np.log(p / q))) - freedom * chance
    variance = 2 * freedom * chance**2 + _delta_variance(p, q) / n + _delta_variance(q, p) / m
    return Drift(effect, effect - z * math.sqrt(variance), int(n), int(m))


def _counts(values: npt.ArrayLike) -> FloatArray:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim != 1 or not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError(f"counts of shape {counts.shape}; give finite counts of 0 and more, shape (bins,)")
    return counts


def _shares(counts: FloatArray) -> FloatArray:
    smoothed = counts + _HALF
    shares: FloatArray = smoothed / smoothed.sum()
    return shares


def _delta_variance(p: FloatArray, q: FloatArray) -> float:
    """Variance of PSI's derivative by `p` over a draw from `p`."""
    slope = np.log(p / q) + 1 - q / p
    return float(np.sum(p * slope**2) - np.sum(p * slope) ** 2)

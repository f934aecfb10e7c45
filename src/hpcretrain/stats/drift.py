"""Drift between two samples that were counted in the same bins: effect sizes, and how sure they are."""

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


@dataclass(frozen=True)
class Transport:
    """Wasserstein distance in standard deviations of the reference.

    `distance` is the one that holds if the values lie evenly within their bins. However they lie there, the distance of
    the two samples themselves is between `lower` and `upper`; no tighter bounds follow from the counts.
    """

    distance: float
    lower: float
    upper: float


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
    reference, newer = _pair(reference_counts, counts)
    n, m = float(reference.sum()), float(newer.sum())
    if not (n and m):
        return Drift(math.nan, math.nan, int(n), int(m))
    filled = reference + newer > 0
    freedom, chance = np.count_nonzero(filled) - 1, 1 / n + 1 / m
    p, q = _shares(reference[filled]), _shares(newer[filled])
    effect = float(np.sum((p - q) * np.log(p / q))) - freedom * chance
    variance = 2 * freedom * chance**2 + _delta_variance(p, q) / n + _delta_variance(q, p) / m
    return Drift(effect, effect - z * math.sqrt(variance), int(n), int(m))


def jensen_shannon(reference_counts: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """Jensen-Shannon distance, from 0 (the same shares) to 1 (no bin in common).

    The square root of the divergence to base 2, mean of KL(p, (p + q) / 2) and KL(q, (p + q) / 2) (Lin 1991,
    doi:10.1109/18.61115); as a square root it is a metric (Endres & Schindelin 2003, doi:10.1109/TIT.2003.813506).
    Empty bins need no smoothing. Chance alone makes its square about (B - 1)(1/n + 1/m) / (8 ln 2) in B bins: read it
    beside the lower bound of `psi`, which takes chance off.

    Args:
        reference_counts: Counts of the reference, shape (bins,).
        counts: Counts of the newer sample, shape (bins,).

    Returns:
        The distance, without unit; NaN when one of the samples is empty.

    Raises:
        ValueError: The shapes are not one and the same (bins,), or a count is negative or not finite.
    """
    reference, newer = _pair(reference_counts, counts)
    if not (reference.any() and newer.any()):
        return math.nan
    p, q = reference / reference.sum(), newer / newer.sum()
    divergence = (_relative_entropy(p, (p + q) / 2) + _relative_entropy(q, (p + q) / 2)) / 2
    return math.sqrt(min(max(divergence, 0.0), 1.0))


def wasserstein(
    edges: npt.ArrayLike, reference_counts: npt.ArrayLike, counts: npt.ArrayLike, *, sd: float
) -> Transport:
    """Wasserstein distance of first order, over the standard deviation of the reference, from binned numbers.

    The area between the two distribution functions (Vallender 1974, doi:10.1137/1118101). Both are known at the edges
    and nowhere else, which leaves what `Transport` says. A wide bin that holds much leaves much open: the outermost bin
    of a heavy tail, or one that reaches out to a stray value.

    Args:
        edges: Finite edges of the bins, shape (bins + 1,), not decreasing: see `enclose`.
        reference_counts: Counts of the reference, shape (bins,). Numbers only: missing cells have no place on the line.
        counts: Counts of the newer sample, shape (bins,).
        sd: Standard deviation of the reference, in the unit of the edges: see `binned_sd`.

    Returns:
        The distance; NaN when one of the samples is empty, `sd` is not positive, or it overflows.

    Raises:
        ValueError: The shapes do not fit, edges decrease or are not finite, or a count is negative or not finite.
    """
    reference, newer = _pair(reference_counts, counts)
    widths = _widths(edges, len(reference))
    if not (reference.any() and newer.any() and sd > 0):
        return Transport(math.nan, math.nan, math.nan)
    f, g = (np.concatenate(([0.0], np.cumsum(sample) / sample.sum())) for sample in (reference, newer))
    left, right = (f - g)[:-1], (f - g)[1:]
    total = np.abs(left) + np.abs(right)
    # Where the functions cross inside a bin, the area is that of two triangles.
    crossed = (left**2 + right**2) / np.where(total > 0, 2 * total, 1.0)
    even = np.where(left * right < 0, crossed, total / 2)
    least = np.maximum(np.maximum(f[:-1] - g[1:], g[:-1] - f[1:]), 0.0)
    most = np.maximum(f[1:] - g[:-1], g[1:] - f[:-1])
    with np.errstate(over="ignore", invalid="ignore"):
        distance, lower, upper = (float(np.sum(heights * widths / sd)) for heights in (even, least, most))
    finite = math.isfinite(upper)
    return Transport(distance, lower, upper) if finite else Transport(math.nan, math.nan, math.nan)


def enclose(edges: npt.ArrayLike, least: float, greatest: float) -> FloatArray:
    """Finite edges, shape (bins + 1,), of bins with open ends.

    Args:
        edges: Edges between the bins, shape (bins - 1,), not decreasing.
        least: The least value of both samples.
        greatest: The greatest value of both samples.
    """
    inner = np.clip(np.asarray(edges, dtype=np.float64), least, greatest)
    return np.concatenate(([least], inner, [greatest]))


def binned_sd(edges: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """Standard deviation of binned numbers if they lie evenly within their bins, in the unit of the edges.

    With shares p and widths w of the bins, that of the numbers themselves is at most sqrt(sum p w^2 / 3) away.

    Args:
        edges: Finite edges of the bins, shape (bins + 1,), not decreasing: see `enclose`.
        counts: Counts, shape (bins,).

    Returns:
        The standard deviation; NaN without counts, or when it overflows.

    Raises:
        ValueError: The shapes do not fit, edges decrease or are not finite, or a count is negative or not finite.
    """
    sample = _counts(counts)
    widths = _widths(edges, len(sample))
    if not sample.any():
        return math.nan
    share = sample / sample.sum()
    with np.errstate(over="ignore", invalid="ignore"):
        middles = np.asarray(edges, dtype=np.float64)[:-1] + widths / 2
        variance = float(np.sum(share * ((middles - np.sum(share * middles)) ** 2 + widths**2 / 12)))
    return math.sqrt(variance) if math.isfinite(variance) else math.nan


def _pair(reference_counts: npt.ArrayLike, counts: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    reference, newer = _counts(reference_counts), _counts(counts)
    if reference.shape != newer.shape:
        raise ValueError(f"{reference.size} reference bins and {newer.size} bins; count both in the same bins")
    return reference, newer


def _widths(edges: npt.ArrayLike, bins: int) -> FloatArray:
    ends = np.asarray(edges, dtype=np.float64)
    if ends.shape != (bins + 1,) or not np.isfinite(ends).all():
        raise ValueError(f"edges of shape {ends.shape} for {bins} bins; give {bins + 1} finite edges")
    with np.errstate(over="ignore"):
        widths: FloatArray = np.diff(ends)
    if (widths < 0).any():
        raise ValueError(f"edge {int(np.argmax(widths < 0)) + 1} lies below the one before it; give them in order")
    return widths


def _relative_entropy(p: FloatArray, q: FloatArray) -> float:
    """Kullback-Leibler divergence in bits; `q` is not 0 where `p` is not."""
    filled = p > 0
    return float(np.sum(p[filled] * np.log2(p[filled] / q[filled])))


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

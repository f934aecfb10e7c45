"""Drift between two samples that were counted in the same bins: effect sizes, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """Wasserstein distance in standard deviations of the reference, see `wasserstein`.

    `distance` is the one that holds if values lie evenly within their bins. However they lie there, it is between
    `lower` and `upper`, and no tighter bounds follow from the counts.
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
    [drift] = psis([reference_counts], [counts], z=z)
    return drift


def psis(references: Sequence[npt.ArrayLike], counts: Sequence[npt.ArrayLike], *, z: float) -> list[Drift]:
    """`psi` of many pairs of samples at once.

    Args:
        references: Counts of the references, each of shape (bins,) of its own.
        counts: Counts of the newer samples, each in the same bins as its reference.
        z: How many standard errors the lower bound lies below the effect.

    Returns:
        The drift of each pair, as `psi` gives it.

    Raises:
        ValueError: As of `psi`, for any of the pairs.
    """
    if not references:
        return []
    reference, newer = _side_by_side(references, counts)
    n, m = reference.sum(axis=1), newer.sum(axis=1)
    filled = reference + newer > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom, chance = filled.sum(axis=1) - 1, 1 / n + 1 / m
        p, q = _shares(reference, filled), _shares(newer, filled)
        logs = np.where(filled, np.log(np.where(filled, p / q, 1.0)), 0.0)
        effect = ((p - q) * logs).sum(axis=1) - freedom * chance
        by_p, by_q = logs + 1 - np.where(filled, q / p, 1.0), -logs + 1 - np.where(filled, p / q, 1.0)
        variance = 2 * freedom * chance**2 + _variance(p, by_p) / n + _variance(q, by_q) / m
        bound = effect - z * np.sqrt(variance)
    empty = (n == 0) | (m == 0)
    effect[empty] = bound[empty] = math.nan
    rows = zip(effect.tolist(), bound.tolist(), n.tolist(), m.tolist(), strict=True)
    return [Drift(each, lower, int(old), int(new)) for each, lower, old, new in rows]


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


def wasserstein(edges: npt.ArrayLike, reference_counts: npt.ArrayLike, counts: npt.ArrayLike) -> Transport:
    """Wasserstein distance of first order, over the reference's standard deviation, of numbers in bins with open ends.

    The area between the two distribution functions (Vallender 1974, doi:10.1137/1118101), which the counts give at the
    edges; `Transport` says what that leaves open. How far values lie beyond the outermost edges cannot be told from
    counts, and a stray value must not decide: they count as lying at those edges. With deciles as edges this is the
    distance of the samples winsorized at their tenths, in the winsorized standard deviation, as robust effect sizes
    have it (Algina, Keselman & Penfield 2005, doi:10.1037/1082-989X.10.3.317); what happens in the tails alone shows
    in `psi`, not here. With one edge it is |p - q| / sqrt(p (1 - p)), the same for any two values.

    Args:
        edges: Edges between the bins, shape (bins - 1,), not decreasing.
        reference_counts: Counts of the reference, shape (bins,). Numbers only: missing cells lie nowhere.
        counts: Counts of the newer sample, shape (bins,).

    Returns:
        The distance in standard deviations that the reference has if its values lie evenly within their bins: for
        shares p and widths w of the bins at most sqrt(sum p w^2 / 3) from the one that its values have. NaN when a
        sample is empty, the reference does not vary, or something overflows.

    Raises:
        ValueError: The shapes do not fit, edges decrease or are not finite, or a count is negative or not finite.
    """
    reference, newer = _pair(reference_counts, counts)
    ends = _ends(edges, len(reference))
    if len(reference) == 2:
        # One edge has no width to measure by: two points, any distance apart, and nothing between them.
        ends, reference, newer = np.array([0.0, 0.0, 1.0, 1.0]), np.insert(reference, 1, 0), np.insert(newer, 1, 0)
    if not (reference.any() and newer.any()):
        return Transport(math.nan, math.nan, math.nan)
    p, q = reference / reference.sum(), newer / newer.sum()
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        widths = np.diff(ends)
        middles = ends[:-1] + widths / 2
        sd = np.sqrt(np.sum(p * ((middles - np.sum(p * middles)) ** 2 + widths**2 / 12)))
        areas = [float(np.sum(heights * widths) / sd) for heights in _heights(p, q)]
    return Transport(*areas) if np.isfinite(areas).all() else Transport(math.nan, math.nan, math.nan)


def _heights(p: FloatArray, q: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Mean distance of the distribution functions within each bin: if values lie evenly, at least, and at most."""
    f, g = (np.concatenate(([0.0], np.cumsum(shares))) for shares in (p, q))
    left, right = np.abs(f - g)[:-1], np.abs(f - g)[1:]
    crossed = (f - g)[:-1] * (f - g)[1:] < 0
    # Where they cross, the area is that of two triangles.
    even = np.where(crossed, (left**2 + right**2) / np.where(crossed, 2 * (left + right), 1.0), (left + right) / 2)
    least = np.maximum(np.maximum(f[:-1] - g[1:], g[:-1] - f[1:]), 0.0)
    most = np.maximum(f[1:] - g[:-1], g[1:] - f[:-1])
    return even, least, most


def _pair(reference_counts: npt.ArrayLike, counts: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    reference, newer = _counts(reference_counts), _counts(counts)
    if reference.shape != newer.shape:
        raise ValueError(f"{reference.size} reference bins and {newer.size} bins; count both in the same bins")
    return reference, newer


def _ends(edges: npt.ArrayLike, bins: int) -> FloatArray:
    """Both ends of all bins, shape (bins + 1,): the outermost bins have no width."""
    between = np.asarray(edges, dtype=np.float64)
    if between.shape != (bins - 1,) or not np.isfinite(between).all():
        raise ValueError(f"edges of shape {between.shape} for {bins} bins; give {bins - 1} finite edges between them")
    if (between[1:] < between[:-1]).any():
        raise ValueError(f"edges {between.tolist()} are not in order; give them from least to greatest")
    return np.concatenate((between[:1], between, between[-1:]))


def _relative_entropy(p: FloatArray, q: FloatArray) -> float:
    """Kullback-Leibler divergence in bits; `q` is not 0 where `p` is not."""
    filled = p > 0
    return float(np.sum(p[filled] * np.log2(p[filled] / q[filled])))


def _counts(values: npt.ArrayLike) -> FloatArray:
    counts = np.asarray(values, dtype=np.float64)
    if counts.ndim != 1 or not (np.isfinite(counts).all() and (counts >= 0).all()):
        raise ValueError(f"counts of shape {counts.shape}; give finite counts of 0 and more, shape (bins,)")
    return counts


def _side_by_side(
    references: Sequence[npt.ArrayLike], counts: Sequence[npt.ArrayLike]
) -> tuple[FloatArray, FloatArray]:
    """Samples as rows; a bin that a pair has not got is empty in both, which changes nothing."""
    try:
        both = np.array([references, counts], dtype=np.float64)
    except ValueError:
        # Pairs differ in their bins, or something is no count, which the pair by itself tells.
        both = np.empty(0)
    if both.ndim == 3 and np.isfinite(both).all() and (both >= 0).all():
        return both[0], both[1]
    pairs = [_pair(reference, newer) for reference, newer in zip(references, counts, strict=True)]
    both = np.zeros((2, len(pairs), max(len(reference) for reference, _ in pairs)))
    for row, (reference, newer) in enumerate(pairs):
        both[0, row, : len(reference)] = reference
        both[1, row, : len(newer)] = newer
    return both[0], both[1]


def _shares(counts: FloatArray, filled: npt.NDArray[np.bool_]) -> FloatArray:
    smoothed = np.where(filled, counts + _HALF, 0.0)
    shares: FloatArray = smoothed / smoothed.sum(axis=1, keepdims=True)
    return shares


def _variance(p: FloatArray, slope: FloatArray) -> FloatArray:
    """Variance of the slope over a draw from `p`, by rows."""
    variance: FloatArray = (p * slope**2).sum(axis=1) - (p * slope).sum(axis=1) ** 2
    return variance

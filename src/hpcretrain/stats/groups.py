"""How far the means of groups truly lie apart: their variance, less what chance alone makes of it.

In each group a mean has an error, so that means scatter even where nothing is behind it: more the more groups, and the
fewer rows in each. What chance adds is known from the scatter within groups and is taken off, as Bröcker & Ferro (2012,
"Sampling uncertainty and confidence intervals for the Brier score and Brier skill score", doi:10.1175/WAF-D-11-00074.1)
and Kumar, Liang & Ma (2019, "Verified uncertainty calibration", arXiv:1909.10155) do for errors of calibration.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcretrain.stats.metrics import FloatArray, Measurement, bias, paired

IntArray = npt.NDArray[np.intp]

FEWEST = 25
"""Rows that a group needs in each sample: below, neither its mean nor its scatter is known well enough."""

MISCALIBRATION = "miscalibration"
"""The name of what `miscalibration` measures."""

_PARTS = 10


@dataclass(frozen=True)
class Groups:
    """Values in groups: how many, their mean (0 of none), and the sum of squares around it; each of shape (groups,)."""

    rows: FloatArray
    means: FloatArray
    squares: FloatArray

    @staticmethod
    def of(place: npt.ArrayLike, values: npt.ArrayLike) -> Groups:
        """Values, by the number of the group that each is in (0 and more); both of shape (rows,)."""
        place, values = np.asarray(place, dtype=np.intp), np.asarray(values, dtype=np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            rows = np.bincount(place).astype(np.float64)
            means = np.bincount(place, weights=values) / np.maximum(rows, 1.0)
            squares = np.bincount(place, weights=np.square(values - means[place])).astype(np.float64)
        return Groups(rows, means, squares)


@dataclass(frozen=True)
class Apart:
    """How far groups lie apart, as a variance in the square of the unit of the values.

    Attributes:
        value: Estimated without bias, so it may be below 0.
        chance: What chance adds to the raw variance, on average; it is taken off.
        chance_se: The standard error of `value` where groups do not differ.
    """

    value: float
    chance: float
    chance_se: float

    @property
    def se(self) -> float:
        """The standard error of `value`, wider where groups do differ, as of a noncentral chi-square."""
        if not self.chance > 0:
            return self.chance_se
        return self.chance_se * math.sqrt(1 + 2 * max(self.value, 0.0) / self.chance)

    def lower(self, p: float) -> float:
        """A lower bound that chance alone lifts above the truth with probability `p`; below 0 where nothing is sure.

        What chance adds is a weighted sum of chi-squares, whose far tail is much heavier than a normal's. It is taken
        for the chi-square of the same mean and variance (Satterthwaite 1946, doi:10.2307/3002019), and for a noncentral
        one where groups differ.
        """
        from scipy.special import chdtri, chndtrinc

        if not (self.chance > 0 and self.chance_se > 0):
            return self.value if self.chance == 0 else math.nan
        freedom = 2 * (self.chance / self.chance_se) ** 2
        unit = self.chance / freedom
        seen, usual = self.value / unit + freedom, float(chdtri(freedom, p))
        return unit * (float(chndtrinc(seen, freedom, 1 - p)) if seen > usual else seen - usual)


def within(groups: Groups) -> Apart:
    """How far the means of one sample lie apart; NaN with fewer than two groups of `FEWEST` rows."""
    kept = groups.rows >= FEWEST
    rows = groups.rows[kept]
    return _apart(groups.means[kept], groups.squares[kept] / (rows - 1) / rows, rows)


def between(newer: Groups, older: Groups) -> Apart:
    """How far the means moved apart from one sample to another, beyond what all of them moved together.

    Groups count by their rows in the newer sample; NaN with fewer than two that have `FEWEST` rows in both. How values
    scatter within a group is taken from both samples, at the level of each: where a rate rises, or noise does, the
    newer rows, which are mostly fewer, scatter more than the older ones.
    """
    shared = min(len(newer.rows), len(older.rows))
    n, m = newer.rows[:shared], older.rows[:shared]
    kept = (n >= FEWEST) & (m >= FEWEST)
    n, m = n[kept], m[kept]
    moved = (newer.means[:shared] - older.means[:shared])[kept]
    now, before = newer.squares[:shared][kept], older.squares[:shared][kept]
    scatter = (now + before) / (n + m - 2)
    variance = scatter * (_level(now, scatter * (n - 1)) / n + _level(before, scatter * (m - 1)) / m)
    return _apart(moved, variance, n)


def _level(squares: FloatArray, expected: FloatArray) -> float:
    """How much more than expected values scatter within groups."""
    whole = float(expected.sum())
    return float(squares.sum()) / whole if whole > 0 else 1.0


def miscalibration(task: str, y: npt.ArrayLike, p: npt.ArrayLike) -> Measurement:
    """Mean square of how far predictions are off in parts of their range, beyond the mean error (`metrics.bias`).

    Parts are tenths of the rows by prediction; the square is that of the label's unit. 0 for a model that is right in
    each part, or off by the same everywhere; an overconfident one is off at both ends.

    Args:
        task: "binary" or "regression".
        y: Labels, shape (rows,).
        p: Predictions, shape (rows,).

    Returns:
        The measurement, never below 0; NaN where it is not defined: as of `metrics.bias`, and if predictions do not
        vary.

    Raises:
        ValueError: There is no such task, or the shapes are not one and the same (rows,).
    """
    y, p = paired(y, p)
    if not math.isfinite(bias(task, y, p).value):
        return Measurement(math.nan, math.nan, len(y))
    edges = np.unique(np.quantile(p, np.arange(1, _PARTS) / _PARTS))
    with np.errstate(over="ignore", invalid="ignore"):
        found = within(Groups.of(np.searchsorted(edges, p, side="right"), p - y))
    if not math.isfinite(found.value + found.se):
        return Measurement(math.nan, math.nan, len(y))
    return Measurement(max(found.value, 0.0), found.se, len(y))


def chance_beyond(z: float) -> float:
    """The probability that a normal lies more than z standard errors above its mean."""
    return math.erfc(z / math.sqrt(2)) / 2


def _apart(means: FloatArray, variances: FloatArray, rows: FloatArray) -> Apart:
    """How far means lie apart whose errors have these variances; weighted by rows, all of shape (groups,)."""
    if len(means) < 2:
        return Apart(math.nan, math.nan, math.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        weight = rows / rows.sum()
        raw = float(np.sum(weight * (means - np.sum(weight * means)) ** 2))
        # Mean and variance of the quadratic form of independent errors around their weighted mean.
        part = weight * variances
        chance = float(np.sum(part) - np.sum(weight * part))
        square = float(np.sum(part**2) - 2 * np.sum(weight * part**2) + np.sum(weight * part) ** 2)
    return Apart(raw - chance, chance, math.sqrt(2 * max(square, 0.0)) if math.isfinite(square) else math.nan)

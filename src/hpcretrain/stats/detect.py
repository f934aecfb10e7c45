"""Since when does a sequence of values run otherwise than before?"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_MOST_LOOKS = 1000
_FEWEST = 5
"""Values on either side of a cut, at least, as in the authors' own program."""


def page_hinkley(values: npt.ArrayLike, *, slack: float, threshold: float, mean: float | None = None) -> int | None:
    """Where the rise began that the values end in, by the test of Page (1954, doi:10.1093/biomet/41.1-2.100).

    What each value exceeds its mean by, less `slack`, is summed up; the values have risen when the sum stands more than
    `threshold` above its minimum, and the rise began right after that minimum. A rise that was made up for is none.
    Dated so, rather than by ADWIN, because a release lives for tens of batches: ADWIN needs hundreds of values between
    0 and 1 before it can tell, and says that there was a change but not where.

    Args:
        values: In order, shape (n,).
        slack: A rise of the mean up to this is tolerated, in the unit of the values (delta of Page-Hinkley, K of the
            tabular cumulative sum).
        threshold: How much more than tolerated must come together, in the unit of the values (lambda, H).
        mean: The mean that the values have without a rise; None for the mean of the values so far, each among them
            (Hinkley 1971, doi:10.1093/biomet/58.3.509).

    Returns:
        The index of the first value of the rise; None if the values do not end in one.

    Raises:
        ValueError: The shape is not (n,), a value or the mean is not finite, slack is negative, or threshold is not
            positive.
    """
    sequence = np.asarray(values, dtype=np.float64)
    if sequence.ndim != 1 or not np.isfinite(sequence).all():
        raise ValueError(f"values of shape {sequence.shape}; give finite values, shape (n,)")
    if not (0 <= slack < math.inf and 0 < threshold < math.inf):
        raise ValueError(f"slack is {slack}, threshold {threshold}; give a slack of 0 or more and a positive threshold")
    if mean is not None and not math.isfinite(mean):
        raise ValueError(f"mean is {mean}; give a finite one, or None")
    usual = np.cumsum(sequence) / np.arange(1, len(sequence) + 1) if mean is None else mean
    sums = np.concatenate(([0.0], np.cumsum(sequence - usual - slack)))
    if not sums[-1] - sums.min() > threshold:
        return None
    return int(np.flatnonzero(sums == sums.min())[-1])


class Cut(NamedTuple):
    """Where the window begins that holds no change, and by how much it must have differed from what was before it.

    `margin` is by how much chance alone lets the two means differ, in the unit of the values; None where nothing was
    cut off.
    """

    begin: int
    margin: float | None


def adwin(values: npt.ArrayLike, *, span: float, delta: float) -> Cut:
    """The longest stretch at the end of the values whose mean did not change, by Bifet & Gavaldà (2007).

    Their algorithm ADWIN0 (doi:10.1137/1.9781611972771.42) with the bound of its section 3.2: as values come, the
    window is cut where the means of two parts of it differ by more than sqrt(2/m s² ln(2/d)) + 2/(3m) span ln(2/d):
    m is half of the harmonic mean of the parts' sizes, s² the window's variance and d is delta over its size. What is
    cut off goes at once, at the cut that exceeds its bound by most, where they drop value after value. It is looked at
    a thousand times, evenly, where there are more values.

    Args:
        values: In order, shape (n,).
        span: How far apart two values can be, in their unit.
        delta: Chance, at most, that a look cuts where nothing changed, of independent values.

    Raises:
        ValueError: The shape is not (n,), values are not finite or lie further apart than `span`, or `span` or `delta`
            is out of its range.
    """
    sequence = np.asarray(values, dtype=np.float64)
    if sequence.ndim != 1 or not np.isfinite(sequence).all():
        raise ValueError(f"values of shape {sequence.shape}; give finite values, shape (n,)")
    if not (0 < span < math.inf and 0 < delta < 1):
        raise ValueError(f"span is {span}, delta {delta}; give a positive span, and a delta between 0 and 1")
    if len(sequence) and np.ptp(sequence) > span:
        raise ValueError(
            f"values lie {np.ptp(sequence):.6g} apart, and span is {span:g}; give how far apart they can be"
        )
    begin = 0
    step = -(-max(len(sequence), 1) // _MOST_LOOKS)
    # Sums of what differs from the first value keep their digits where values are large and alike.
    sums = np.concatenate(([0.0], np.cumsum(sequence - sequence[:1])))
    squares = np.concatenate(([0.0], np.cumsum((sequence - sequence[:1]) ** 2)))
    for end in sorted({*range(step, len(sequence) + 1, step), len(sequence)}):
        while (cut := _cut(sums[begin : end + 1], squares[begin : end + 1], span, delta)) is not None:
            begin += cut
    # With all values by now: the more there are on either side, the less is chance.
    return Cut(begin, float(_parts(sums, squares, np.array([begin]), span, delta)[1][0]) if begin else None)


def _cut(sums: FloatArray, squares: FloatArray, span: float, delta: float) -> int | None:
    """How many values of a window are to be cut off; None where nothing is."""
    count = len(sums) - 1
    if count < 2 * _FEWEST:
        return None
    old = np.arange(_FEWEST, count - _FEWEST + 1)
    difference, bound = _parts(sums, squares, old, span, delta)
    best = int(np.argmax(difference - bound))
    return int(old[best]) if difference[best] > bound[best] else None


def _parts(
    sums: FloatArray, squares: FloatArray, old: npt.NDArray[np.int64], span: float, delta: float
) -> tuple[FloatArray, FloatArray]:
    """By how much the means of a window's parts differ, cut after `old` values, and the bound; shape (cuts,) each."""
    count = len(sums) - 1
    new = count - old
    difference = np.abs((sums[old] - sums[0]) / old - (sums[-1] - sums[old]) / new)
    mean = (sums[-1] - sums[0]) / count
    variance = max((squares[-1] - squares[0]) / count - mean**2, 0.0)
    m, log = 1 / (1 / old + 1 / new), math.log(2 * count / delta)
    return difference, np.sqrt(2 / m * variance * log) + 2 / (3 * m) * span * log

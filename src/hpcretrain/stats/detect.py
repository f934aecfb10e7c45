"""Since when does a sequence of values run otherwise than before?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_RARELY = 1000
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
    """The window at the end of values that holds no change.

    Attributes:
        before: Where the window began that it was cut from; 0 where nothing was cut off.
        begin: Where it begins.
        margin: By how much chance alone lets the means of the two differ, in the unit of the values; where nothing was
            cut off, the least difference that would have been a change. None where there are too few values to cut.
    """

    before: int
    begin: int
    margin: float | None


def adwin(values: npt.ArrayLike, *, span: float, delta: float, ends: Sequence[int]) -> list[Cut]:
    """The longest stretch at the end of values whose mean did not change, by Bifet & Gavaldà (2007).

    Their algorithm ADWIN0 (doi:10.1137/1.9781611972771.42) with the bound of its section 3.2: as values come, the
    window is cut where the means of two parts of it differ by more than sqrt(2/m s² ln(2/d)) + 2/(3m) span ln(2/d):
    m is half of the harmonic mean of the parts' sizes, s² the window's variance and d is delta over its size. What is
    cut off goes at once, at the cut that exceeds its bound by most, where they drop value after value. Beyond a
    thousand values it is looked at more rarely, after a thousandth of them each.

    Args:
        values: In order, shape (n,).
        span: How far apart two values can be, in their unit.
        delta: Chance, at most, that a look cuts where nothing changed, of independent values.
        ends: After how many values to tell, in order; what comes later changes nothing of it.

    Returns:
        One for each of `ends`.

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
        raise ValueError(f"values lie {np.ptp(sequence):.6g} apart, more than span, {span:g}")
    # Of what differs from the first value: sums keep their digits where values are large and alike.
    moved = sequence - sequence[:1]
    sums = np.concatenate(([0.0], np.cumsum(moved)))
    window = _Window(sums, np.concatenate(([0.0], np.cumsum(moved**2))), span, delta)
    found, begin, before, look = [], 0, 0, 0
    for end in ends:
        while look + max(1, look // _RARELY) <= end:
            look += max(1, look // _RARELY)
            before, begin = window.cut(before, begin, look)
        found.append(window.told(*window.cut(before, begin, end), end))
    return found


@dataclass(frozen=True)
class _Window:
    """Sums of values, and of their squares, up to each; shape (values + 1,)."""

    sums: FloatArray
    squares: FloatArray
    span: float
    delta: float

    def cut(self, before: int, begin: int, end: int) -> tuple[int, int]:
        """Where the window of before, and the window, begin once all is cut off that is to be."""
        while end - begin >= 2 * _FEWEST:
            places = np.arange(begin + _FEWEST, end - _FEWEST + 1)
            excess = np.subtract(*self._parts(begin, places, end))
            best = int(np.argmax(excess))
            if not excess[best] > 0:
                break
            before, begin = begin, int(places[best])
        return before, begin

    def told(self, before: int, begin: int, end: int) -> Cut:
        """The window with what is known of it."""
        if begin:
            return Cut(before, begin, float(self._parts(before, np.array([begin]), end)[1][0]))
        if end < 2 * _FEWEST:
            return Cut(0, 0, None)
        return Cut(0, 0, float(self._parts(0, np.arange(_FEWEST, end - _FEWEST + 1), end)[1].min()))

    def _parts(self, begin: int, places: npt.NDArray[np.int64], end: int) -> tuple[FloatArray, FloatArray]:
        """By how much the means of the parts differ, cut at `places`, and the bound; of shape (places,) each."""
        old, new, count = places - begin, end - places, end - begin
        first, last = self.sums[begin], self.sums[end]
        difference = np.abs((self.sums[places] - first) / old - (last - self.sums[places]) / new)
        variance = max((self.squares[end] - self.squares[begin]) / count - ((last - first) / count) ** 2, 0.0)
        m, log = 1 / (1 / old + 1 / new), math.log(2 * count / self.delta)
        return difference, np.sqrt(2 / m * variance * log) + 2 / (3 * m) * self.span * log

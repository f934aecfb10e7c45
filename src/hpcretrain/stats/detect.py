"""Since when does a sequence of values run higher than before?"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


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

"""What a cycle was worth: the gain of its release over the model before it, on the rows that came after."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from hpcretrain.records import Finding, Outcome
from hpcretrain.stats.compare import compare

FloatArray = npt.NDArray[np.float64]


def gain(labels: FloatArray, released: FloatArray, previous: FloatArray, metric: str) -> Finding:
    """The measured gain; positive is better whatever the metric's direction. All arrays have shape (rows,)."""
    result = compare(metric, labels, previous, released, alpha=0.05)
    if not math.isfinite(result.gain):
        return Finding(
            check="gain", outcome=Outcome.INSUFFICIENT, reason=f"{metric} cannot be compared on {result.n} rows"
        )
    return Finding(
        check="gain",
        outcome=Outcome.PASS if result.gain > 0 else Outcome.FAIL,
        reason=f"{metric} {result.new:.4g} served, {result.old:.4g} by the model before, on {result.n} rows",
        observed=result.gain,
        limit=0,
    )


def no_gain(reason: str) -> Finding:
    """The gain of a cycle that released nothing."""
    return Finding(check="gain", outcome=Outcome.PASS, reason=reason, observed=0.0, limit=0)

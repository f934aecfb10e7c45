"""What was measured on held-out rows, as numbers by name: values and gains with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpcretrain.ports import FloatArray, Gain, Meeting
from hpcretrain.records import Reading, Verdict
from hpcretrain.stats.compare import compare
from hpcretrain.stats.metrics import METRICS

Z = 1.959963984540054
"""Standard errors on either side of an interval of 95 %."""
_TAIL = 0.025
_DIGITS = 6
_BELOW_ZERO = ("bias",)
_AT_MOST_ONE = ("auc", "accuracy", "brier")


def interval(reading: Reading) -> tuple[float, float]:
    """The 95 % interval of a reading, value -+ 1.96 standard errors, cut off where the metric ends."""
    lower, upper = reading.value - Z * reading.se, reading.value + Z * reading.se
    if reading.metric not in _BELOW_ZERO:
        lower = max(lower, 0.0)
    return lower, min(upper, 1.0) if reading.metric in _AT_MOST_ONE else upper


def meet(labels: FloatArray, champion: FloatArray, candidate: FloatArray, task: str, metrics: Sequence[str]) -> Meeting:
    """Champion and candidate on the same rows, with the gain in each metric that is defined; arrays (rows,)."""
    gains = (gain(metric, labels, champion, candidate) for metric in metrics)
    return Meeting(labels, champion, candidate, task, tuple(each for each in gains if each is not None))


def gain(metric: str, labels: FloatArray, champion: FloatArray, candidate: FloatArray) -> Gain | None:
    """The gain in a metric with its two-sided 95 % interval; None where it is not defined. Arrays (rows,).

    By the same methods as the gate's one-sided tests, which the interval does not replace: they have levels of their
    own.
    """
    forth = compare(metric, labels, champion, candidate, alpha=_TAIL)
    back = compare(metric, labels, candidate, champion, alpha=_TAIL)
    if not math.isfinite(forth.gain + forth.lower + back.lower):
        return None
    return Gain(metric, forth.old, forth.new, forth.gain, forth.lower, -back.lower)


def reading_numbers(readings: Sequence[Reading]) -> dict[str, float]:
    """`<metric>`, `<metric>_lower` and `<metric>_upper` of each reading, and `holdout_rows`."""
    numbers: dict[str, float] = {}
    for reading in readings:
        lower, upper = interval(reading)
        numbers |= {reading.metric: reading.value, f"{reading.metric}_lower": lower, f"{reading.metric}_upper": upper}
        numbers["holdout_rows"] = reading.n
    return _shown(numbers)


def verdict_numbers(verdict: Verdict, meeting: Meeting) -> dict[str, float]:
    """The numbers of a verdict's readings, and for each compared metric the champion's value, the gain with its
    interval, and the p that the gate saw with the alpha that it had to reach."""
    numbers = reading_numbers(verdict.readings)
    for each in meeting.gains:
        numbers |= {
            f"{each.metric}_champion": each.champion,
            f"{each.metric}_gain": each.gain,
            f"{each.metric}_gain_lower": each.lower,
            f"{each.metric}_gain_upper": each.upper,
        }
    for finding in verdict.findings:
        what, _, metric = finding.check.partition(":")
        if what == "superior" and metric in METRICS:
            told = {f"{metric}_p": finding.observed, f"{metric}_alpha": finding.limit}
            numbers |= {name: float(value) for name, value in told.items() if isinstance(value, int | float)}
    return _shown(numbers)


def _shown(numbers: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in numbers.items()}

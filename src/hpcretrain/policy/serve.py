"""Serve: what the predictions that were spooled say about serving, as series of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

QUANTILE = 0.95


@dataclass(frozen=True)
class Calls:
    """Predictions in order of time: seconds since 1970, ms (NaN: not measured), and whether they failed; shape (n,)."""

    times: FloatArray
    latency_ms: FloatArray
    failed: BoolArray


def sample(calls: Calls, since: datetime, until: datetime, length: timedelta) -> Mapping[str, tuple[FloatArray, ...]]:
    """Times (the ends of samples) and values of three series, of the whole samples from `since` until `until`.

    `latency_p95_ms` and `error_share` have a sample where there were predictions; so has `per_second`, and zeros
    elsewhere, unless there was none in all that time: then nobody knows whether anything was logged.
    """
    seconds = length.total_seconds()
    count = max(int((until - since) // length), 0)
    start = since.timestamp()
    edges = start + seconds * np.arange(count + 1, dtype=np.float64)
    places = np.searchsorted(calls.times, edges, side="right")
    ends, number = edges[1:], np.diff(places)
    slow = np.full(count, np.nan)
    failed = np.full(count, np.nan)
    for k in np.flatnonzero(number):
        piece = slice(places[k], places[k + 1])
        measured = calls.latency_ms[piece][~np.isnan(calls.latency_ms[piece])]
        failed[k] = calls.failed[piece].mean()
        if len(measured):
            slow[k] = np.quantile(measured, QUANTILE, method="higher")
    return {
        "latency_p95_ms": (ends[~np.isnan(slow)], slow[~np.isnan(slow)]),
        "error_share": (ends[number > 0], failed[number > 0]),
        "per_second": (ends, number / seconds) if number.any() else (ends[:0], ends[:0]),
    }

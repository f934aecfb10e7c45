"""Since when a release does worse than when it was judged: from the records alone."""

from __future__ import annotations

from datetime import datetime

from hpcretrain.history import History
from hpcretrain.records import Family
from hpcretrain.stats.detect import page_hinkley

_WORSE_BATCHES = 2
"""One odd batch is no decline."""


def worse_since(history: History) -> datetime | None:
    """The time of the first rows on which the release that serves has lastingly done worse; None if it has not.

    Its performance signals are summed up as far as they exceed half of the scale of the policy: a decline is there when
    that comes to a whole scale and has not been made up for since, and when at least two of its batches are worse
    beyond the error of both measurements. Nothing is decided by it; the score of the policy decides.
    """
    signals = [signal for signal in history.signals if signal.family is Family.PERFORMANCE]
    measured = [signal for signal in signals if signal.effect is not None and signal.finding.limit]
    if not measured:
        return None
    scale = float(measured[-1].finding.limit or 0)
    first = page_hinkley([signal.effect or 0.0 for signal in measured], slack=scale / 2, threshold=scale, mean=0)
    if first is None or sum((signal.lower_bound or 0) > 0 for signal in measured[first:]) < _WORSE_BATCHES:
        return None
    start = measured[first].slot.start
    # Small batches are measured together with those before: only what came newly made the difference.
    return max(start, measured[first - 1].slot.end) if first else start

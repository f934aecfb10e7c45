"""How long to work between two checkpoints.

A checkpoint that costs C seconds, where work is interrupted every M seconds on average, is best made every sqrt(2 C M)
seconds (J. W. Young, "A first order approximation to the optimum checkpoint interval", Communications of the ACM 17(9),
1974, pages 530-531): more often wastes time on saving, more rarely on doing again what was lost. That holds for C much
smaller than M; bounds serve where it is not, and where M, a guess of the site, is far off.
"""

from __future__ import annotations

import math

FIRST_S = 5.0
"""Work before the first checkpoint, at most: it tells what one costs."""

LONGEST_S = 1800.0
"""Work between checkpoints, at most: nobody wants to lose more, however rare it is."""


def interval_s(cost_s: float | None, interrupted_every_s: float) -> float:
    """Seconds of work until the next checkpoint is due, at the end of the segment that then runs.

    Never less than a checkpoint costs, so that work takes half of the time at least.

    Args:
        cost_s: Seconds that the last checkpoint took; None before the first.
        interrupted_every_s: Seconds of work between interruptions, on average; 0 for as many checkpoints as there may
            be.
    """
    if cost_s is None:
        return min(FIRST_S, interrupted_every_s / 100)
    return max(cost_s, min(math.sqrt(2 * cost_s * interrupted_every_s), interrupted_every_s, LONGEST_S))

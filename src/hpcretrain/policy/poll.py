"""When Slurm is asked again how jobs stand."""

from __future__ import annotations

SHORTEST_S = 1.0
AFTER_RING_S = 0.3
_PATIENCE = 4.0


def wait_s(*, every_s: float, awaited: bool, rung: bool, quiet_s: float, failures: int) -> float:
    """Seconds from one query to the next.

    Args:
        every_s: Seconds between two queries when nothing is awaited.
        awaited: Somebody waits for a job to end.
        rung: A job wrote since the last query that it has begun or ended.
        quiet_s: Seconds since anything was last heard of the jobs.
        failures: How many queries in a row were not answered.
    """
    if failures:
        return min(every_s, SHORTEST_S * 2.0 ** min(failures - 1, 16))
    if rung:
        return AFTER_RING_S
    if not awaited:
        return every_s
    # What was quiet for long stays quiet for long: some twenty calls in the first hour, then one each `every_s`.
    return min(every_s, max(SHORTEST_S, quiet_s / _PATIENCE))

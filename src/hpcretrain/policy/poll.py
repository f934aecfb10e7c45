"""When Slurm is asked again how jobs stand."""

from __future__ import annotations

SHORTEST_S = 1.0
AFTER_RING_S = 0.3
_PATIENCE = 4.0


LATELY_S = 600.0
MOST_LATELY = 60
CROWDED_S = 10.0
"""Who has asked `MOST_LATELY` times in `LATELY_S` seconds waits so long at least."""


def wait_s(*, every_s: float, awaited: bool, rung: bool, quiet_s: float, failures: int, lately: int = 0) -> float:
    """Seconds from one query to the next.

    Args:
        every_s: Seconds between two queries when nothing is awaited.
        awaited: Somebody waits for a job to end.
        rung: A job wrote since the last query what only Slurm can explain.
        quiet_s: Seconds since a job was submitted, requeued, or ended otherwise than by its result.
        failures: How many queries in a row were not answered.
        lately: How many queries there were in the last `LATELY_S` seconds.
    """
    if failures:
        return min(every_s, SHORTEST_S * 2.0 ** min(failures - 1, 16))
    if lately >= MOST_LATELY and (rung or awaited):
        return min(every_s, max(CROWDED_S, 0.0 if rung else quiet_s / _PATIENCE))
    if rung:
        return AFTER_RING_S
    if not awaited:
        return every_s
    # What was quiet for long stays quiet for long: some twenty calls in the first hour, then one each `every_s`.
    return min(every_s, max(SHORTEST_S, quiet_s / _PATIENCE))

"""How long a training takes with all that belongs to it, by past ones; and whether that fits in a window. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpcretrain.policy.types import Windows
from hpcretrain.records import Finding, Outcome


@dataclass(frozen=True)
class Run:
    """What one training took.

    Attributes:
        queue_wait_h: Hours from submission to a result that no fit took: the queue, interruptions, the start.
        training_h: Hours of fits.
        cost_mrow_passes: Million rows times rounds of these fits; positive.
        validation_h: Hours of judging; None where nobody knows.
    """

    queue_wait_h: float
    training_h: float
    cost_mrow_passes: float
    validation_h: float | None = None


@dataclass(frozen=True)
class Need:
    """Hours that a window must have room for; `runs` past trainings tell, and at none the first two are None."""

    queue_wait_h: float | None
    training_h: float | None
    validation_h: float
    rollback_h: float
    margin_h: float
    runs: int

    @property
    def beside_training_h(self) -> float:
        """All but the training itself, as far as it is known."""
        return (self.queue_wait_h or 0.0) + self.validation_h + self.rollback_h + self.margin_h

    @property
    def total_h(self) -> float | None:
        """All of it."""
        return None if self.training_h is None else self.beside_training_h + self.training_h


def need(runs: Sequence[Run], rules: Windows, cost_mrow_passes: float | None = None) -> Need:
    """The room that a training needs.

    Args:
        runs: Past trainings.
        rules: Of the policy.
        cost_mrow_passes: Modeled cost of the training to come; without it that of the dearest past one.
    """
    level = rules.duration_quantile
    usable = [run for run in runs if run.cost_mrow_passes > 0]
    judged = [run.validation_h for run in runs if run.validation_h is not None]
    cost = cost_mrow_passes or max((run.cost_mrow_passes for run in usable), default=0.0)
    validation = upper(judged, level)
    pace = upper([run.training_h / run.cost_mrow_passes for run in usable], level)
    return Need(
        queue_wait_h=upper([run.queue_wait_h for run in runs], level),
        training_h=None if pace is None else pace * cost,
        validation_h=rules.validation_h if validation is None else validation,
        rollback_h=rules.rollback_h,
        margin_h=rules.margin_h,
        runs=len(runs),
    )


def upper(samples: Sequence[float], level: float) -> float | None:
    """What the next sample stays below with probability `level`; None without samples.

    The order statistic at `level * (n + 1)`. Where samples are too few for that, the largest, times one and the share
    of samples that are lacking.
    """
    if not samples:
        return None
    place = math.ceil(level * (len(samples) + 1) - 1e-9)
    if place <= len(samples):
        return sorted(samples)[place - 1]
    wanted = math.ceil(level / (1 - level) - 1e-9)
    return max(samples) * (1 + (wanted - len(samples)) / wanted)


def fits(hours: float, needed: Need) -> Finding:
    """Whether a window of this length has room for a training and all that belongs to it."""
    check = "window:fit"
    left = hours - needed.beside_training_h
    queue = (
        "the queue, of which no run tells"
        if needed.queue_wait_h is None
        else f"{needed.queue_wait_h:.2g} h in the queue"
    )
    parts = (
        f"{needed.validation_h:.2g} h of validation, {needed.rollback_h:.2g} h to roll back, "
        f"{needed.margin_h:.2g} h of margin and {queue}"
    )
    if left <= 0:
        reason = f"nothing is left for training after {parts}; name longer windows, or lower these in [windows]"
        return Finding(check=check, outcome=Outcome.FAIL, reason=reason, observed=hours, limit=hours - left)
    total = needed.total_h
    if total is None:
        reason = f"{left:.2g} h are left for training after {parts}; how long one takes is not known before the first"
        return Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=reason, observed=hours)
    reason = (
        f"{left:.2g} h are left for training after {parts}; "
        f"by {needed.runs} past trainings it takes {needed.training_h:.2g} h"
    )
    if total <= hours:
        return Finding(check=check, outcome=Outcome.PASS, reason=reason, observed=hours, limit=total)
    reason += "; name longer windows, or train on fewer rows"
    return Finding(check=check, outcome=Outcome.FAIL, reason=reason, observed=hours, limit=total)

"""Whether a retraining pays: the decline that it should take away, against its CPU hours at the price of its class."""

from __future__ import annotations

from dataclasses import dataclass

from hpcretrain.evidence import Finding, Outcome
from hpcretrain.policy.types.admission import ClassAdmission
from hpcretrain.policy.types.worth import Worth

CHECK = "worth"


@dataclass(frozen=True)
class Outlay:
    """What a retraining is expected to take, and to take away.

    Attributes:
        points: Score of decline, or of new rows, 0 to 1000.
        kept: Past trainings whose release was kept.
        ended: Past trainings that came to an end: kept, rolled back or rejected.
        cpu_hours: Expected CPU hours.
        measured: Whether past jobs tell them, with all that preemption cost those.
        in_person: Who asked for it; None where decline did.
    """

    points: int
    kept: int
    ended: int
    cpu_hours: float
    measured: bool
    in_person: str | None = None

    @property
    def chance(self) -> float:
        """That what is trained is released and kept, by Laplace's rule of succession: one half before any was."""
        return (self.kept + 1) / (self.ended + 2)


def price(cpu_hours: float, limits: ClassAdmission, *, measured: bool) -> float | None:
    """What CPU hours of a class cost, with what preemption loses unless past jobs tell; None without a price."""
    if limits.hour_price is None:
        return None
    return cpu_hours * (1 if measured else 1 + limits.lost_share) * limits.hour_price


def pays(outlay: Outlay, limits: ClassAdmission, rules: Worth) -> Finding:
    """PASS where the expected benefit is `least_return` times the expected cost, or somebody asks all the same.

    Args:
        outlay: What is expected.
        limits: Of the class: the price of its CPU hours, and what preemption loses.
        rules: The policy's.
    """
    back = rules.loss_per_day * outlay.points / 1000 * rules.horizon_days * outlay.chance
    lost = 0.0 if outlay.measured else limits.lost_share
    cost = price(outlay.cpu_hours, limits, measured=outlay.measured)
    # A policy with rules of worth has the price of each class, or it is refused.
    assert cost is not None
    needed = rules.least_return * cost
    said = (
        f"{back:.4g} {rules.currency} are expected back: {outlay.points} of 1000 points of {rules.loss_per_day:.4g} a "
        f"day, for {rules.horizon_days:.4g} days, at a chance of {outlay.chance:.2g} ({outlay.kept} of {outlay.ended} "
        f"were kept); it costs {cost:.4g}: {outlay.cpu_hours:.3g} CPU hours at {limits.hour_price:.4g}"
        + (f", and {lost:.0%} that preemption loses" if lost else "")
    )
    enough = back >= needed
    if not enough and outlay.in_person:
        said += f"; {outlay.in_person} asks for it all the same"
    elif not enough:
        said += "; it waits until more is lost each day, and who wants it sooner requests it"
    outcome = Outcome.PASS if enough or outlay.in_person else Outcome.WAIT
    return Finding(check=CHECK, outcome=outcome, reason=said, observed=back, limit=needed)

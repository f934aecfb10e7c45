"""Which rung of the scope ladder a retraining takes: the deepest that fits time, room and headroom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcretrain.evidence import Finding, Outcome
from hpcretrain.policy.types import Training
from hpcretrain.policy.types.scope import Rung

CHECK = "scope"


@dataclass(frozen=True)
class Room:
    """What there is for a retraining.

    Attributes:
        hours: Expected hours of the deepest rung.
        hours_left: Hours until the deadline or the end of the window, whichever comes first; None without either.
        cpu_hours_left: CPU hours that the budgets leave; None without any.
        load: How full the cluster is; None where nobody knows.
        asked_load: Whether anybody was there to be asked: without, as in a replay, load keeps no rung away.
        warm_starts: How many warm starts in a row what serves comes from.
    """

    hours: float
    hours_left: float | None
    cpu_hours_left: float | None
    load: float | None
    asked_load: bool
    warm_starts: int


def choose(rungs: Sequence[Rung], cpu_hours: Sequence[float], room: Room) -> tuple[Rung, Finding]:
    """The first rung that fits, of those from the deepest to the lightest; the lightest where none does.

    It is a choice and no check: where even the lightest does not fit, budgets, windows and deadlines say so themselves.

    Args:
        rungs: The ladder.
        cpu_hours: What each rung is expected to use.
        room: What there is.
    """
    passed_over: list[str] = []
    for place, (rung, cost) in enumerate(zip(rungs, cpu_hours, strict=True), start=1):
        lacking = _lacking(rung, cost, room)
        if not lacking or place == len(rungs):
            fits = f"lightest, though {' and '.join(lacking)}" if lacking else "deepest that fits"
            said = "; ".join([f"rung {place} of {len(rungs)}, the {fits}", *passed_over])
            return rung, Finding(
                check=CHECK, outcome=Outcome.PASS, reason=said, observed=rung.name, limit=rungs[0].name
            )  # fmt: skip
        passed_over.append(f"{rung.name}: {' and '.join(lacking)}")
    raise ValueError("a ladder has a rung")


def _lacking(rung: Rung, cpu_hours: float, room: Room) -> list[str]:
    found, hours = [], room.hours * rung.hours_share
    if room.hours_left is not None and hours > room.hours_left:
        found.append(f"{hours:.3g} h are expected and {max(room.hours_left, 0):.3g} h left")
    if room.cpu_hours_left is not None and cpu_hours > room.cpu_hours_left:
        found.append(f"{cpu_hours:.3g} CPU hours are expected and {max(room.cpu_hours_left, 0):.3g} left")
    if rung.most_warm_starts is not None and room.warm_starts >= rung.most_warm_starts:
        found.append(f"what serves comes from {room.warm_starts} warm starts in a row, the limit")
    if rung.most_load is not None and room.asked_load and (room.load is None or room.load > rung.most_load):
        seen = "the load is not known" if room.load is None else f"the load is {room.load:.0%}"
        found.append(f"{seen}, the limit {rung.most_load:.0%}")
    return found


def on(training: Training, rung: Rung) -> Training:
    """The rules of training on a rung."""
    taken = rung.model_dump(include={"windows", "pilot_rows", "full_rows", "average_with", "warm_share", "trials"})
    return training.model_copy(update=taken)

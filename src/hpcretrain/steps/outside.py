"""Outside: what somebody asks for, or wants to end, becomes a signal, and from there takes the way of all signals."""

from __future__ import annotations

from hpcretrain.errors import InputError
from hpcretrain.history import Cycle
from hpcretrain.messages import Message, Person
from hpcretrain.records import (
    Assessment,
    Closing,
    Family,
    Finding,
    Outcome,
    PriorityClass,
    RetrainRequest,
    Signal,
    Slice,
)
from hpcretrain.steps.assess import assess
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.review import close
from hpcretrain.weigh import more_urgent


def request(desk: Desk, message: Message, person: Person) -> tuple[Assessment, Cycle] | None:
    """Record that somebody asked for a retraining, and the request if none stands that is as urgent.

    Returns:
        The assessment of now and the cycle that is to be decided; None where what stands already serves.
    """
    wanted = message.priority_class
    assert wanted is not None
    signal = _signal(desk, message, person)
    assessment = assess(desk)
    before = desk.history.open_cycle or desk.history.training
    if before is not None and not _gives_way(before, wanted):
        return None
    if before is not None and before.run is None:
        close(desk, before, Closing.SUPERSEDED, signal.id)
    made = RetrainRequest(
        model=signal.model,
        at=desk.now,
        answers=(assessment.id, signal.id),
        priority_class=wanted,
        score=assessment.score,
        contributions=assessment.contributions,
        triggers=(Family.EXTERNAL.value,),
        reason=f"{person.name} asks for it: {message.reason}",
    )
    desk.book.enter(made)
    return assessment, desk.history.cycles[-1]


def _gives_way(before: Cycle, wanted: PriorityClass) -> bool:
    """Whether a request in person takes the place of one that stands: of a more urgent class, or as nobody asked."""
    as_urgent = before.request.priority_class is wanted
    return more_urgent(wanted, before) or (as_urgent and before.run is None and before.in_person is None)


def cancel(desk: Desk, message: Message, person: Person) -> Cycle:
    """Record that somebody ended a cycle, which is closed.

    Raises:
        InputError: There is no such cycle, or it has come to its end.
    """
    cycle = find(desk, message.subject or "")
    if cycle.review is not None:
        raise InputError(f"{cycle.request.id} has ended already: {cycle.review.closing.value}")
    if cycle.release is not None:
        raise InputError(f"{cycle.request.id} is released; what serves is taken back by its watch")
    signal = _signal(desk, message, person)
    close(desk, cycle, Closing.CANCELED, signal.id)
    return cycle


def find(desk: Desk, subject: str) -> Cycle:
    """The cycle of a request, which is named by its identifier or the beginning of it.

    Raises:
        InputError: There is none, or several.
    """
    cycles = [cycle for cycle in desk.history.cycles if cycle.request.id.startswith(subject)]
    if len(cycles) != 1:
        count = "no request" if not cycles else f"{len(cycles)} requests"
        raise InputError(f"{count} {subject} in this home; `hpcretrain status` lists them")
    return cycles[0]


def _signal(desk: Desk, message: Message, person: Person) -> Signal:
    name = message.verb.value
    signal = Signal(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=(desk.history.champion.id,),
        family=Family.EXTERNAL,
        name=name,
        slot=Slice(desk.now, desk.now, 0, ""),
        effect=None,
        lower_bound=None,
        n=0,
        reference=None,
        unit="",
        finding=Finding(
            check=f"external:{name}",
            outcome=Outcome.PASS,
            reason=message.reason,
            observed=person.name,
            limit=message.id,
        ),
    )
    desk.book.enter(signal)
    return signal

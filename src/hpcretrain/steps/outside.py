"""Outside: what somebody asks for, or wants to end, becomes a signal, and from there takes the way of all signals."""

from __future__ import annotations

from hpcretrain.backlog import ALL, Stop
from hpcretrain.errors import InputError
from hpcretrain.history import Cycle
from hpcretrain.messages import Message, Person, Verb
from hpcretrain.ports import Board
from hpcretrain.records import (
    Assessment,
    Closing,
    Family,
    Finding,
    Outcome,
    PriorityClass,
    Release,
    RetrainRequest,
    Signal,
    Slice,
)
from hpcretrain.steps.assess import assess
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.release import roll_back
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


def stop(desk: Desk, message: Message, person: Person) -> list[Cycle]:
    """Record that somebody stopped something; what is under way of it is ended, where he says so.

    Returns:
        The cycles that were ended.
    """
    signal = _signal(desk, message, person)
    if message.subject == ALL:
        _board(desk).stop(Stop(ALL, person.name, signal.at, message.reason))
    training = desk.history.training
    if training is None or not message.at_once or not paused(desk, training):
        return []
    close(desk, training, Closing.CANCELED, signal.id)
    return [training]


def resume(desk: Desk, message: Message, person: Person) -> None:
    """Record that somebody lifted a stop.

    Raises:
        InputError: Nothing of that scope is stopped.
    """
    if message.subject == ALL:
        if (board := _board(desk)).read().stop is None:
            raise InputError("nothing stops every model of the board")
        board.stop(None)
    elif message.subject not in desk.history.stops:
        standing = ", ".join(desk.history.stops) or "nothing"
        raise InputError(f"{message.subject} is not stopped here; stopped is {standing}")
    _signal(desk, message, person)


def _board(desk: Desk) -> Board:
    if desk.board is None:
        raise InputError(
            "this home shares no board with others: stop each home by itself, or name a board (`live --board`)"
        )
    return desk.board


def paused(desk: Desk, cycle: Cycle) -> bool:
    """Whether a training goes no further now, since somebody stopped it here, or all on the board."""
    return bool(desk.history.stopped(class_of(cycle))) or (
        desk.board is not None and desk.board.read().stop is not None
    )


def class_of(cycle: Cycle) -> PriorityClass:
    """The class of a cycle's last decision, or of its request."""
    return (cycle.decisions[-1] if cycle.decisions else cycle.request).priority_class


def take_back(desk: Desk, message: Message, person: Person) -> Release:
    """Have the model serve again that served before this one; nothing delays or refuses that.

    What is being watched is closed, and so is a training: what it comes to was to be better than what no longer serves.

    Raises:
        InputError: No other model served before.
    """
    champion = desk.history.champion
    if desk.history.earlier is None:
        raise InputError(
            f"there is no earlier release: {champion.candidate} was the first to serve; `hpcretrain request` has "
            "another trained"
        )
    watched, training = desk.history.watched, desk.history.training
    signal = _signal(desk, message, person)
    release = roll_back(desk, signal)
    if watched is not None:
        close(desk, watched, Closing.ROLLED_BACK, signal.id)
    if training is not None:
        close(desk, training, Closing.SUPERSEDED, signal.id)
    return release


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
    halts = message.verb in (Verb.STOP, Verb.RESUME)
    name = f"{message.verb.value}:{message.subject}" if halts else message.verb.value
    signal = Signal(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=(desk.history.champion.id,),
        family=Family.EXTERNAL,
        name=name,
        slot=Slice(desk.now, message.deadline or desk.now, 0, ""),
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

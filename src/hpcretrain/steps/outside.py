"""Outside: what somebody asks for, tells, or wants to end becomes a signal, and takes the way of all signals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hpcretrain.backlog import ALL, Stop
from hpcretrain.claims import stopped
from hpcretrain.cycle import Cycle
from hpcretrain.errors import InputError
from hpcretrain.evidence import Measure
from hpcretrain.messages import Message, Person, Verb
from hpcretrain.policy.types import Policy
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

_MOST_PROBLEMS = 20


def request(desk: Desk, message: Message, person: Person) -> tuple[Assessment, Cycle] | None:
    """Record that somebody asked for a retraining, and the request if none stands that is as urgent.

    Returns:
        The assessment of now and the cycle that is to be decided; None where what stands already serves.

    Raises:
        InputError: Its deadline has passed; nothing was recorded.
    """
    wanted = message.priority_class
    assert wanted is not None
    if message.deadline is not None and message.deadline <= desk.now:
        raise InputError(
            f"the deadline, {message.deadline:%Y-%m-%d %H:%M %Z}, has passed: it is {desk.now:%Y-%m-%d %H:%M %Z} in "
            "this home; give a later one, or none"
        )
    signal = _signal(desk, message, person)
    assessment = assess(desk)
    before = desk.history.open_cycle or desk.history.training
    if before is not None and not _gives_way(before, wanted, desk.terms.policy):
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


@dataclass(frozen=True)
class Told:
    """What became of signals that were told.

    Attributes:
        counting: Those that are new, and about the model that serves or from outside.
        before: Those that are new, and about a model that served before.
        known: How many were known already.
    """

    counting: tuple[Signal, ...]
    before: tuple[Signal, ...]
    known: int


def tell(desk: Desk, message: Message, person: Person) -> Told:
    """Record what was measured elsewhere: all of it that is new, or nothing.

    Raises:
        InputError: A line cannot be read, or cannot be about what serves here; nothing was recorded.
    """
    measures = message.measures()
    problems = [f"signal {k}: {why}" for k, each in enumerate(measures, 1) if (why := _refusal(desk, each))]
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        raise InputError([*problems[:_MOST_PROBLEMS], *([f"and {more} more"] if more > 0 else [])])
    known, fresh = set(desk.history.told), []
    for signal in (_told(desk, each, person) for each in measures):
        if signal.said not in known:
            known.add(signal.said)
            fresh.append(signal)
    desk.book.enter(*fresh)
    champion = desk.history.champion.id
    counting = tuple(each for each in fresh if each.family is Family.EXTERNAL or each.answers == (champion,))
    before = tuple(each for each in fresh if each not in set(counting)) if len(counting) < len(fresh) else ()
    return Told(counting, before, len(measures) - len(fresh))


def _refusal(desk: Desk, measure: Measure) -> str | None:
    model, step = desk.terms.config.model.name, desk.terms.config.backtest.observe_every
    if measure.model != model:
        return f"is about {measure.model}; this home is about {model}"
    if measure.at > desk.now + step:
        return (
            f"is of {measure.at:%Y-%m-%d %H:%M}Z, and it is {desk.now:%Y-%m-%d %H:%M}Z; what is more than a batch "
            "ahead is refused: see to the clock of what measures it"
        )
    if measure.family is not Family.EXTERNAL and desk.history.served_at(measure.at) is None:
        return f"is of {measure.at:%Y-%m-%d %H:%M}Z, when no model served yet"
    return None


def _told(desk: Desk, measure: Measure, person: Person) -> Signal:
    numbers = (measure.effect, measure.lower_bound)
    broken = not all(number is None or math.isfinite(number) for number in numbers)
    effect, bound = (None, None) if broken else numbers
    reference = measure.reference if measure.reference is not None and math.isfinite(measure.reference) else None
    limit = desk.terms.policy.score.rule(measure.family).scale
    if broken:
        outcome = Outcome.ERROR
    elif bound is None:
        outcome = Outcome.PASS if measure.family is Family.EXTERNAL else Outcome.INSUFFICIENT
    else:
        outcome = Outcome.PASS if bound < limit else Outcome.FAIL
    serving = desk.history.served_at(measure.at) if measure.family is not Family.EXTERNAL else None
    return Signal(
        model=measure.model,
        at=desk.now,
        answers=((serving or desk.history.champion).id,),
        family=measure.family,
        name=measure.name,
        slot=Slice(measure.at, measure.at, 0, ""),
        effect=effect,
        lower_bound=bound,
        n=measure.n,
        reference=reference,
        unit="",
        finding=Finding(measure.name, outcome, measure.reason or "as it was told", bound, limit),
        deadline=measure.deadline,
        told_by=person.name,
    )


def _gives_way(before: Cycle, wanted: PriorityClass, policy: Policy) -> bool:
    """Whether a request in person takes the place of one that stands: of a more urgent class, or as nobody asked."""
    as_urgent = before.request.priority_class == wanted
    return more_urgent(wanted, before, policy) or (as_urgent and before.run is None and before.in_person is None)


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

    What is stopped already stays so by the first order; a second is recorded only where it ends something.

    Returns:
        The cycles that were ended.
    """
    ordered = None
    if standing_stop(desk, message.subject or "") is None:
        ordered = _signal(desk, message, person)
        if message.subject == ALL:
            _board(desk).stop(Stop(ALL, person.name, ordered.at, message.reason))
    training = desk.history.training
    if training is None or not message.at_once or not paused(desk, training):
        return []
    close(desk, training, Closing.CANCELED, (ordered or _signal(desk, message, person, Verb.CANCEL)).id)
    return [training]


def standing_stop(desk: Desk, scope: str) -> Stop | None:
    """The stop of that scope that stands already; None where none does.

    Raises:
        InputError: All are meant, and there is no board.
    """
    if scope == ALL:
        return _board(desk).read().stop
    return next((each for each in desk.history.standing_stops if each.scope == scope), None)


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
    return bool(stopped(desk.history, class_of(cycle), desk.terms.policy)) or (
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


def _signal(desk: Desk, message: Message, person: Person, verb: Verb | None = None) -> Signal:
    """Record what somebody says; `verb` is what it comes to, where that is not what it says."""
    verb = verb or message.verb
    name = f"{verb.value}:{message.subject}" if verb in (Verb.STOP, Verb.RESUME) else verb.value
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

"""Run the cycle as time passes: the same steps as in a replay, each once it is due, and none waits for a training.

A home is advanced by short runs, of whatever process holds it: from cron, a flow, or a controller. Ticks go on while a
training is under way; what it came to is concluded by the first run that finds it finished. What people ask for comes
between ticks. Each tick and each message is a step, begun and done by a note, so that one that was cut short is done
again to the byte.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.answer import Answer, act
from hpcretrain.errors import TableChangedError
from hpcretrain.messages import Message, Person
from hpcretrain.policy.approve import awaited
from hpcretrain.ports import Awaited, Ledger
from hpcretrain.records import Asked, Assessment, Closing, Outcome
from hpcretrain.steps.assess import wanted
from hpcretrain.steps.desk import Branch, Desk
from hpcretrain.steps.plan import plan
from hpcretrain.steps.release import confirm
from hpcretrain.steps.review import close
from hpcretrain.steps.tick import Passed, Rejected, begin, conclude, judge, look, retrain

BEGUN, DONE, WITHDRAWN = "step_begun", "step_done", "jobs_withdrawn"
_INSTANT = timedelta(microseconds=1)


class Step(enum.Enum):
    """How far a run goes with what is due."""

    OBSERVE = "observe"
    """Signals and assessment of the newest batch."""
    TRIAGE = "triage"
    """Request and decision."""
    RETRAIN = "retrain"
    """Jobs, and what they came to."""
    RELEASE = "release"
    """All of it."""


@dataclass(frozen=True)
class Stand:
    """Where a home stands.

    Attributes:
        ticks: The ticks that were done just now, by their times.
        awaits: How the training jobs stand that are under way, in words, by identifier.
        next: When the next tick is due.
    """

    ticks: tuple[datetime, ...]
    awaits: Mapping[str, str]
    next: datetime


def cut_short(ledger: Ledger) -> datetime | None:
    """The time of the step that an earlier process began and did not end; None where there is none."""
    last = _last_begun(ledger)
    return datetime.fromisoformat(last["serves"]) if last else None


def _last_begun(ledger: Ledger) -> Mapping[str, Any] | None:
    begun = ledger.notes(BEGUN)
    done = {note["serves"] for note in ledger.notes(DONE)}
    return begun[-1] if begun and begun[-1]["serves"] not in done else None


class Live:
    """A home at work, for as long as a process holds it.

    Args:
        desk: The desk, whose clock is `clock`.
        clock: Set from step to step.
        now: The time.
        told: Called before each step with what is done.
    """

    def __init__(
        self, desk: Desk, clock: VirtualClock, now: Callable[[], datetime], told: Callable[[str], None]
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._now = now
        self._told = told
        self._step = desk.terms.config.backtest.observe_every
        done = desk.ledger.notes(DONE)
        ticks = [datetime.fromisoformat(note["serves"]) for note in done if note["message"] is None]
        self._last = ticks[-1] if ticks else desk.terms.reference_until
        self._answers = {note["message"]: Answer.of(note["answer"]) for note in done if note["message"] is not None}
        self._begun = _last_begun(desk.ledger)
        self._seen: Assessment | None = None
        self._awaits: Mapping[str, str] = {}
        self._said = ""

    def advance(self, until: Step = Step.RELEASE) -> Stand:
        """Do all that is due; of the newest batch, and of a training, as far as `until`."""
        ticks: list[datetime] = []
        if self._start():
            if self._begun and (self._begun["message"] or until is not Step.OBSERVE or self.due(2)):
                self._mend()
            self._look_after(until)
            while self.due() and self._tick(until if not self.due(2) else Step.RELEASE):
                ticks.append(self._last)
        return Stand(tuple(ticks), self._awaits, self.next)

    def answer(self, message: Message, person: Person) -> Answer:
        """Do what somebody asks for, after all that is due; the same message has the same answer."""
        if message.id in self._answers:
            return self._answers[message.id]
        if not self._start():
            return Answer(done=False, reason="no model serves yet: the first champion is being trained")
        if self._begun:
            self._mend()
            if message.id in self._answers:
                return self._answers[message.id]
        while self.due():
            self._tick(Step.RELEASE)
        return self._do(max(self._here(), self._newest() + _INSTANT), message, person)

    @property
    def next(self) -> datetime:
        """When the next tick is due."""
        return self._last + self._step

    @property
    def desk(self) -> Desk:
        """The desk."""
        return self._desk

    def due(self, ticks: int = 1) -> bool:
        """Whether the next tick is due, or the next so many."""
        return self._last + ticks * self._step <= self._now()

    def stirs(self) -> bool:
        """Whether there may be something to do about the training under way."""
        return bool(self._awaits) and self._desk.trainer.stirs()

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self._told(line)

    def _here(self) -> datetime:
        """The time, as far as all before it was observed: nothing happens before what is due was looked at."""
        return min(self._now(), self.next - _INSTANT) if self.due() else self._now()

    def _newest(self) -> datetime:
        return next(reversed(self._desk.history.known.values())).at

    def _start(self) -> bool:
        """Put the first champion to serve, unless one does; whether one does."""
        if self._desk.history.releases:
            return True
        self._say("the first champion")
        self._clock.moment = self._desk.terms.reference_until
        try:
            begin(replace(self._desk, book=Branch(self._desk.book, None)))
        except Awaited as awaited_:
            self._awaits = awaited_.jobs
        return bool(self._desk.history.releases)

    def _mend(self) -> None:
        """Do the step again that an earlier process began, or that was left for others to go on with."""
        begun = self._begun
        assert begun is not None
        if begun["message"]:
            person = Person(begun["person"], frozenset(begun["groups"]), begun["owner"])
            self._do(datetime.fromisoformat(begun["serves"]), Message.of(begun["message"]), person)
        else:
            self._tick(Step.TRIAGE)

    def _tick(self, until: Step) -> bool:
        """Do the next tick; whether it is done."""
        moment, desk = self.next, self._desk
        self._say(f"the batch until {moment:%Y-%m-%d %H:%M}")
        self._clock.moment = moment
        if self._begun is None:
            desk.ledger.note(BEGUN, moment.isoformat(), message=None)
            self._begun = {"serves": moment.isoformat(), "message": None}
        seen, self._seen = self._seen or look(desk), None
        if until is Step.OBSERVE and seen and (wanted(desk, seen) or desk.history.open_cycle):
            self._seen = seen
            return False
        if seen:
            judge(desk, seen)
        self._end(moment, None)
        self._last = moment
        self._look_after(until)
        return True

    def _do(self, moment: datetime, message: Message, person: Person) -> Answer:
        """Do what a message asks for, at a time."""
        self._say(f"{person.name}: {message.verb.value}")
        desk, self._clock.moment = self._desk, moment
        if self._begun is None:
            self._begun = {
                "serves": moment.isoformat(),
                "message": message.content,
                "person": person.name,
                "groups": sorted(person.groups),
                "owner": person.owner,
            }
            desk.ledger.note(BEGUN, **self._begun)
        answer = act(desk, message, person)
        self._answers[message.id] = answer
        self._end(moment, message, answer=answer.content)
        self._look_after(Step.RELEASE)
        return answer

    def _end(self, moment: datetime, message: Message | None, **facts: Any) -> None:
        self._desk.ledger.note(DONE, moment.isoformat(), message=message.id if message else None, **facts)
        self._begun = None

    def _look_after(self, until: Step) -> None:
        """See to what does not belong to a batch: a release half done, jobs that nobody wants, the open training."""
        if until in (Step.OBSERVE, Step.TRIAGE) or self._begun:
            return
        confirm(self._desk)
        self._pursue(until)
        self._withdraw()

    def _pursue(self, until: Step) -> None:
        """Go on with the training that is under way, if there is one, and conclude it once it has come to an end."""
        desk, cycle = self._desk, self._desk.history.training
        self._awaits = {}
        if cycle is None or cycle.run is None:
            return
        ask, approval = cycle.asked(Asked.RELEASE) or (None, None)
        if ask and awaited(ask, approval, self._here()).outcome is Outcome.WAIT:
            return
        self._say(f"the training that {cycle.run.id} ordered")
        branch = replace(desk, book=Branch(desk.book, cycle.run))
        self._clock.moment = cycle.run.at
        came: Passed | Rejected | None = None
        try:
            came = retrain(branch, cycle.run, plan(branch, branch.history.learned[1]))
        except Awaited as awaited_:
            self._awaits = awaited_.jobs
        except TableChangedError as error:
            # Its rows are gone, so nothing that it came to could be shown again; what is still wanted is asked anew.
            self._say(f"{cycle.request.id} is given up: {error}")
            self._clock.moment = max(self._here(), self._newest())
            close(desk, cycle, Closing.SUPERSEDED, cycle.run.id)
            desk.ledger.note("table_changed", cycle.request.id, reason=str(error))
            return
        self._clock.moment = max(self._here(), self._newest())
        if came is not None and until is Step.RELEASE:
            conclude(desk, cycle, came)

    def _withdraw(self) -> None:
        """End the jobs of cycles that were ended before they came to anything."""
        desk = self._desk
        ended = [each for each in desk.history.cycles if each.broken_off]
        done = {note["serves"] for note in desk.ledger.notes(WITHDRAWN)} if ended else set()
        for cycle in ended:
            if cycle.review and cycle.review.id not in done:
                desk.trainer.withdraw(cycle.jobs)
                desk.ledger.note(WITHDRAWN, cycle.review.id, jobs=[job.id for job in cycle.jobs])

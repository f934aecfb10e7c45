"""Run the cycle as time passes: the same steps as in a replay, each once it is due, and none waits for a training.

A home is advanced by short runs, of whatever process holds it: from cron, a flow, or a controller. Ticks go on while a
training is under way; what it came to is concluded by the first run that finds it finished. What people ask for comes
between ticks. What a tick sees, what it decides, and what a message comes to are each written down in one go, with a
note that says so: a run that is cut short leaves all of it or nothing, and the next begins with what is not there.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.answer import Answer, act, stranger
from hpcretrain.claims import restless
from hpcretrain.config.load import under
from hpcretrain.errors import HpcretrainError, InputError, LedgerError, TableChangedError
from hpcretrain.messages import PROMPT, Message, Person
from hpcretrain.ports import Awaited, Note
from hpcretrain.records import Closing
from hpcretrain.steps.activate import renew
from hpcretrain.steps.decide import would_run
from hpcretrain.steps.desk import Branch, Desk
from hpcretrain.steps.outside import paused
from hpcretrain.steps.plan import plan
from hpcretrain.steps.release import confirm
from hpcretrain.steps.review import close
from hpcretrain.steps.share import tell
from hpcretrain.steps.tick import Passed, Rejected, begin, conclude, conclude_asked, judge, look, retrain, settle
from hpcretrain.weigh import wanted
from hpcretrain.witnesses import Fate

SEEN, DONE, SAID, WITHDRAWN = "tick_seen", "tick_done", "message_done", "jobs_withdrawn"
AGAIN = "looked_again"
_QUEUED = frozenset({Fate.WAITING.value, Fate.HELD.value})
_INSTANT, _AGAIN = timedelta(microseconds=1), timedelta(minutes=10)
_Key = tuple[str, str, str]
"""Of a message: who sent it, what for, and its identifier."""


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


class Live:
    """A home at work, for as long as a process holds it.

    Args:
        desk: The desk, whose clock is `clock`.
        clock: Set from step to step.
        now: The time.
        told: Called with what is done.
        read_until: Until when rows were in the table as it was read; None where all are in it that will ever be.
    """

    def __init__(
        self,
        desk: Desk,
        clock: VirtualClock,
        now: Callable[[], datetime],
        told: Callable[[str], None],
        read_until: datetime | None = None,
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._now = now
        self._told = told
        self._read_until = read_until
        self._step = desk.terms.config.backtest.observe_every
        done = [note["serves"] for note in desk.ledger.notes(DONE)]
        self._last = datetime.fromisoformat(done[-1]) if done else desk.terms.reference_until
        self._seen = {note["serves"] for note in desk.ledger.notes(SEEN)} - set(done)
        self._answers: dict[_Key, Answer] = {
            (note["person"], note["verb"], note["serves"]): Answer.of(note["answer"])
            for note in desk.ledger.notes(SAID)
        }
        self._awaits: Mapping[str, str] = {}
        self._began_under = desk.terms.policy_digest
        self._leaving = False
        self._looked: datetime | None = None
        self._trouble: HpcretrainError | None = None
        self._said = ""

    def advance(self, until: Step = Step.RELEASE) -> Stand:
        """Do all that is due; of the newest batch, and of a training, as far as `until`.

        Raises:
            HpcretrainError: A training cannot go on, or could not be ended; all else that was due is done.
        """
        ticks: list[datetime] = []
        if self._start():
            self._look_after(until)
            while self.due() and self._tick(until if not self.due(2) else Step.RELEASE):
                ticks.append(self._last)
            if until is Step.RELEASE and self._restless():
                self._look_again()
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble
        return Stand(tuple(ticks), self._awaits, self.next)

    def answer(self, message: Message, person: Person) -> Answer:
        """Do what somebody asks for, after all that is due unless it is to stop or roll back.

        The same message has the same answer.
        """
        key = (person.name, message.verb.value, message.id)
        if key in self._answers:
            return self._answers[key]
        if refusal := stranger(self._desk, person):
            return refusal
        if not self._start():
            return Answer(done=False, reason="no model serves yet: the first champion is being trained; ask again then")
        while self.due() and message.verb not in PROMPT:
            self._tick(Step.RELEASE)
        self._say(f"{person.name}: {message.verb.value}")
        # What is done before a batch that is due must not be later than it.
        desk, after = self._desk, timedelta(0) if self.due() else _INSTANT
        self._clock.moment = max(self._here(), self._newest() + after)
        answer = Answer(done=False, reason="")
        with desk.book.together(lambda: Note(SAID, message.id, _said(message, person, answer))):
            answer = act(desk, message, person)
        self._answers[key] = answer
        self._look_after(Step.RELEASE)
        return answer

    @property
    def next(self) -> datetime:
        """When the next tick is due."""
        return self._last + self._step

    @property
    def queued(self) -> bool:
        """Whether there are jobs under way, and none of them has begun."""
        return bool(self._awaits) and all(how.split(":")[0] in _QUEUED for how in self._awaits.values())

    @property
    def now(self) -> datetime:
        """The time."""
        return self._now()

    @property
    def desk(self) -> Desk:
        """The desk."""
        return self._desk

    def due(self, ticks: int = 1) -> bool:
        """Whether the next tick is due, or the next so many, and its rows are in the table as it was read."""
        now = self._now() if self._read_until is None else min(self._now(), self._read_until)
        return self._last + ticks * self._step <= now

    def stale(self) -> bool:
        """Whether the home must be opened anew: another policy is in force, or a tick needs rows that were not read."""
        if self._began_under != self._desk.terms.policy_digest:
            return True
        return self.next <= self._now() and not self.due()

    def stirs(self) -> bool:
        """Whether there may be something to do about trainings: about the one under way, or one that is ended."""
        if self._trouble is not None or self._restless():
            return True
        return (bool(self._awaits) or self._leaving) and self._desk.trainer.stirs()

    def _restless(self) -> bool:
        """Whether a request waits for what may be there at any time, and was not looked at for a while."""
        cycle = restless(self._desk.history)
        if cycle is None or self._desk.history.assessment is None:
            return False
        looked = max(cycle.decisions[-1].at, self._looked or cycle.decisions[-1].at)
        return self._now() - looked >= _AGAIN

    def _look_again(self) -> None:
        """Decide about such a request anew if it may begin now; looking leaves no record."""
        desk, self._looked = self._desk, self._now()
        cycle, assessment = desk.history.open_cycle, desk.history.assessment
        assert cycle is not None
        assert assessment is not None
        self._clock.moment = max(self._here(), self._newest() + _INSTANT)
        if not would_run(desk, cycle, assessment, plan(desk, desk.history.learned[1])):
            return
        with desk.book.together(lambda: Note(AGAIN, cycle.request.id, {})):
            settle(desk, cycle, assessment)
        self._look_after(Step.RELEASE)

    def _say(self, line: str) -> None:
        if line != self._said:
            self._said = line
            self._told(line)

    def _here(self) -> datetime:
        """The time, as far as all before it was observed: nothing happens before what is due was looked at."""
        now = self._now()
        return min(now, self.next - _INSTANT) if self.next <= now else now

    def _newest(self) -> datetime:
        return next(reversed(self._desk.history.known.values())).at

    def _start(self) -> bool:
        """Put the first champion to serve, unless one does; whether one does."""
        if self._desk.history.releases:
            self._clock.moment = max(self._here(), self._newest())
            renew(self._desk)
            return True
        self._say("the first champion")
        self._clock.moment = self._desk.terms.reference_until
        try:
            begin(replace(self._desk, book=Branch(self._desk.book, None)))
        except Awaited as awaited_:
            self._awaits = awaited_.jobs
        except TableChangedError as error:
            raise InputError(
                f"the reference changed while the first model was trained: {error}; make a new home"
            ) from error
        return bool(self._desk.history.releases)

    def _tick(self, until: Step) -> bool:
        """Do the next tick; whether it is done."""
        moment, desk = self.next, self._desk
        serves = moment.isoformat()
        self._say(f"the batch until {moment:%Y-%m-%d %H:%M}")
        self._clock.moment = moment
        if serves not in self._seen:
            with desk.book.together(lambda: Note(SEEN, serves, {})):
                look(desk)
            self._seen.add(serves)
            confirm(desk)
        seen = desk.history.assessment
        if (
            until is Step.OBSERVE
            and seen
            and (wanted(desk.history, seen, desk.terms.policy) or desk.history.open_cycle)
        ):
            return False
        with desk.book.together(lambda: Note(DONE, serves, {})):
            if seen:
                judge(desk, seen)
        self._last = moment
        self._seen.discard(serves)
        self._look_after(until)
        return True

    def _look_after(self, until: Step) -> None:
        """See to what does not belong to a batch: a release half done, jobs that nobody wants, the open training."""
        if until in (Step.OBSERVE, Step.TRIAGE):
            return
        confirm(self._desk)
        self._awaits = {}
        both: tuple[Callable[[], None], ...] = (lambda: self._pursue(until), self._withdraw)
        for see_to in both:
            try:
                see_to()
            except LedgerError:
                raise
            except HpcretrainError as error:
                # A training that cannot go on holds up neither batches nor people.
                self._trouble = error
        try:
            tell(self._desk)
        except OSError as error:
            # Before anything is decided upon it, it is told again.
            self._say(f"the board cannot be written: {error}")

    def _pursue(self, until: Step) -> None:
        """Go on with the training that is under way, if there is one, and conclude it once it has come to an end."""
        desk, cycle = self._desk, self._desk.history.training
        if cycle is None or cycle.run is None or paused(desk, cycle):
            return
        self._clock.moment = max(self._here(), self._newest())
        if conclude_asked(desk, cycle):
            return
        self._say(f"the training that {cycle.run.id} ordered")
        branch = replace(desk, book=Branch(desk.book, cycle.run))
        ordered_by = branch.history.activation
        if ordered_by is not None and ordered_by.policy_digest != desk.terms.policy_digest:
            # A training ends under the policy that ordered it.
            branch.terms = under(desk.terms, ordered_by.policy)
        self._clock.moment = cycle.run.at
        came: Passed | Rejected | None = None
        try:
            came = retrain(branch, cycle.run, plan(branch, branch.history.learned[1]))
        except Awaited as awaited_:
            self._awaits = awaited_.jobs
        except TableChangedError as error:
            # Its rows are gone, so nothing that it came to could be shown again; what is still wanted is asked anew.
            self._say(f"{cycle.request.id} is given up: {error}")
            desk.ledger.note("table_changed", cycle.request.id, reason=str(error))
            self._clock.moment = max(self._here(), self._newest())
            close(desk, cycle, Closing.SUPERSEDED, cycle.run.id)
            return
        finally:
            self._clock.moment = max(self._here(), self._newest())
        if came is not None and until is Step.RELEASE:
            conclude(desk, cycle, came)

    def _withdraw(self) -> None:
        """End the jobs of cycles that were ended before they came to anything."""
        desk, self._leaving = self._desk, False
        ended = [each for each in desk.history.cycles if each.broken_off]
        done = {note["serves"] for note in desk.ledger.notes(WITHDRAWN)} if ended else set()
        for cycle in ended:
            if cycle.review is None or cycle.review.id in done:
                continue
            if desk.trainer.withdraw(cycle.jobs):
                desk.ledger.note(WITHDRAWN, cycle.review.id, jobs=[job.id for job in cycle.jobs])
            else:
                self._leaving = True


def _said(message: Message, person: Person, answer: Answer) -> dict[str, Any]:
    return {
        "person": person.name,
        "verb": message.verb.value,
        "reason": message.reason,
        "subject": message.subject,
        "answer": answer.content,
    }

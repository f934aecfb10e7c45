"""Run the cycle as time passes: the same steps as in a replay, each once it is due, and none waits for a training.

A home is advanced by short runs, of whatever process holds it: from cron, a flow, or a controller. Ticks go on while a
training is under way; what it came to is concluded by the first run that finds it finished.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.ports import Awaited, Ledger
from hpcretrain.steps.desk import Branch, Desk
from hpcretrain.steps.plan import plan
from hpcretrain.steps.release import confirm
from hpcretrain.steps.tick import begin, conclude, consider, retrain

BEGUN, DONE = "tick_begun", "tick_done"


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
    """The time of the tick that an earlier process began and did not end; None where there is none."""
    done = {note["serves"] for note in ledger.notes(DONE)}
    begun = [note["serves"] for note in ledger.notes(BEGUN)]
    return datetime.fromisoformat(begun[-1]) if begun and begun[-1] not in done else None


def advance(desk: Desk, clock: VirtualClock, now: Callable[[], datetime], told: Callable[[str], None]) -> Stand:
    """Do all that is due.

    Args:
        desk: The desk, whose clock is `clock`.
        clock: Set from step to step.
        now: The time.
        told: Called before each step with what is done.
    """
    return _Run(desk, clock, now, told).advance()


class _Run:
    """One run over a home."""

    def __init__(
        self, desk: Desk, clock: VirtualClock, now: Callable[[], datetime], told: Callable[[str], None]
    ) -> None:
        self._desk = desk
        self._clock = clock
        self._now = now
        self._told = told
        self._step = desk.terms.config.backtest.observe_every
        done = [datetime.fromisoformat(note["serves"]) for note in desk.ledger.notes(DONE)]
        self._last = done[-1] if done else desk.terms.reference_until
        self._awaits: Mapping[str, str] = {}

    def advance(self) -> Stand:
        ticks: list[datetime] = []
        if self._begin():
            self._clock.moment = self._here()
            confirm(self._desk)
            self._pursue()
            while self._last + self._step <= self._now():
                self._tick(self._last + self._step)
                ticks.append(self._last)
        return Stand(tuple(ticks), self._awaits, self._last + self._step)

    def _here(self) -> datetime:
        """The time, as far as all before it was observed: nothing happens before what is due was looked at."""
        return min(self._now(), self._last + self._step)

    def _begin(self) -> bool:
        """Put the first champion to serve, unless one does; whether one does."""
        if self._desk.history.releases:
            return True
        self._told("the first champion")
        self._clock.moment = self._desk.terms.reference_until
        try:
            begin(replace(self._desk, book=Branch(self._desk.book, None)))
        except Awaited as awaited:
            self._awaits = awaited.jobs
        return bool(self._desk.history.releases)

    def _tick(self, moment: datetime) -> None:
        self._told(f"the batch until {moment:%Y-%m-%d %H:%M}")
        self._clock.moment = moment
        desk, serves = self._desk, moment.isoformat()
        desk.ledger.note(BEGUN, serves)
        run = consider(desk)
        desk.ledger.note(DONE, serves)
        self._last = moment
        if run:
            self._pursue()

    def _pursue(self) -> None:
        """Go on with the training that is under way, if there is one, and conclude it once it has come to an end."""
        desk, cycle = self._desk, self._desk.history.training
        if cycle is None or cycle.run is None:
            return
        self._told(f"the training that {cycle.run.id} ordered")
        branch = replace(desk, book=Branch(desk.book, cycle.run))
        self._clock.moment = cycle.run.at
        try:
            came = retrain(branch, cycle.run, plan(branch, branch.history.learned[1]))
        except Awaited as awaited:
            self._awaits = awaited.jobs
            return
        finally:
            self._clock.moment = self._here()
        self._awaits = {}
        conclude(desk, cycle, came)

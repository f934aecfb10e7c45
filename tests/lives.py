"""Homes that live, opened anew for each run as other processes would: with slow trainings, and sudden deaths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from replays import desk

from hpcretrain import again, live
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.answer import Answer
from hpcretrain.config.load import kept_policy
from hpcretrain.errors import TrainingError
from hpcretrain.history import History
from hpcretrain.messages import Message, Person
from hpcretrain.ports import Awaited, Rows, Trained
from hpcretrain.records import Job
from hpcretrain.steps.desk import Desk


class Killed(BaseException):
    """Stands for the end of a process: nothing may catch it."""


class Home:
    """A home that each run opens anew, as another process would."""

    def __init__(self, config: Path, place: Path) -> None:
        self.config, self.place = config, place
        with desk(config, place) as (at, _, last):
            self.until, self.last = at.terms.reference_until, last
            self.step = at.terms.config.backtest.observe_every

    def advance(self, now: datetime, prepare: Callable[[Desk], None] = lambda _: None) -> live.Stand:
        with desk(self.config, self.place, lambda _: None, attended=True) as (at, clock, _):
            prepare(at)
            try:
                return live.Live(at, clock, lambda: now, lambda _: None).advance()
            finally:
                at.ledger.close()  # type: ignore[attr-defined]

    def answer(
        self, now: datetime, message: Message, person: Person, prepare: Callable[[Desk], None] = lambda _: None
    ) -> Answer:
        with desk(self.config, self.place, lambda _: None, attended=True) as (at, clock, _):
            prepare(at)
            try:
                return live.Live(at, clock, lambda: now, lambda _: None).answer(message, person)
            finally:
                at.ledger.close()  # type: ignore[attr-defined]

    def history(self) -> History:
        with desk(self.config, self.place, lambda _: None, attended=True) as (at, _, _last):
            return at.history

    def replays(self) -> bool:
        """Whether all that was decided here is decided again, to the same bytes."""
        records = list(FileLedger(self.place / "ledger.jsonl", read_only=True).records())
        return all(each.same for each in again.replay(records, lambda text: kept_policy(text, "a policy")))


class Slow:
    """A trainer that gives what came of a job only when it was asked some times."""

    def __init__(self, trainer: Any, asked: dict[str, int], patience: int) -> None:
        self._trainer, self._asked, self._patience = trainer, asked, patience

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def train(
        self, orders: Sequence[tuple[Job, Rows]], done: Callable[[int], None] = lambda _: None
    ) -> list[Trained | TrainingError]:
        waiting = {}
        for job, _ in orders:
            self._asked[job.id] = self._asked.get(job.id, 0) + 1
            if self._asked[job.id] <= self._patience:
                waiting[job.id] = "waiting"
        if waiting:
            raise Awaited(waiting)
        trained: list[Trained | TrainingError] = self._trainer.train(orders, done)
        return trained

    def withdraw(self, jobs: Sequence[Job]) -> bool:
        self._asked["withdrawn"] = self._asked.get("withdrawn", 0) + len(jobs)
        return True


def slowly(asked: dict[str, int], patience: int) -> Callable[[Desk], None]:
    """Lets trainings take their time."""

    def prepare(desk: Desk) -> None:
        desk.trainer = Slow(desk.trainer, asked, patience)  # type: ignore[assignment]

    return prepare


class Dying:
    """A ledger whose process is killed before, or after, one of its writes."""

    def __init__(self, ledger: FileLedger, at: int, before: bool) -> None:
        self._ledger, self._at, self._before = ledger, at, before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def _act(self, write: Callable[..., None], *values: Any, **more: Any) -> None:
        self._at -= 1
        if self._at == 0 and self._before:
            raise Killed
        write(*values, **more)
        if self._at == 0:
            raise Killed

    def append(self, *values: Any, **more: Any) -> None:
        self._act(self._ledger.append, *values, **more)

    def note(self, *values: Any, **more: Any) -> None:
        self._act(self._ledger.note, *values, **more)

    def note_each(self, *values: Any) -> None:
        self._act(self._ledger.note_each, *values)


def mortal(at: int, before: bool) -> Callable[[Desk], None]:
    """Lets the process die at its so-manieth write."""

    def prepare(desk: Desk) -> None:
        dying = Dying(desk.ledger, at, before)  # type: ignore[arg-type]
        desk.ledger = dying  # type: ignore[assignment]
        desk.book._ledger = dying  # type: ignore[attr-defined]

    return prepare

"""What every step works with: the terms, the ports, and the book that records go into."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np

from hpcretrain.config.load import Terms
from hpcretrain.counts import BatchCounts
from hpcretrain.errors import LedgerError, TableChangedError
from hpcretrain.history import History
from hpcretrain.policy.types import Policy
from hpcretrain.ports import (
    Anchors,
    Board,
    Clock,
    Ledger,
    Note,
    Predictor,
    Profiles,
    Registry,
    Rows,
    Span,
    Table,
    Trainer,
)
from hpcretrain.records import Activation, Baseline, Candidate, Job, Record, Slice, Verdict
from hpcretrain.stats.traffic import Series


class Entries(Protocol):
    """Where records go, and the state that they say."""

    @property
    def history(self) -> History:
        """The fold over the records so far."""

    @property
    def written(self) -> list[str]:
        """Identifiers of the records that this process wrote down."""

    @property
    def held(self) -> bool:
        """Whether records are taken in that are not written down yet: nothing is done upon them before they are."""

    def together(self, note: Callable[[], Note]) -> AbstractContextManager[None]:
        """Write down all that is entered meanwhile in one go at its end, with a note that is made then."""

    def enter(self, *records: Record) -> None:
        """Take records in."""


class Book:
    """Takes records into the history and the ledger, in step.

    After a restart the history holds what came before the tick that was cut short; the records of that tick are
    expected again, in order and to the byte.

    Args:
        ledger: Where they are kept.
        resume_at: The time of the tick that was cut short; None where none was.
    """

    def __init__(self, ledger: Ledger, resume_at: datetime | None) -> None:
        records = list(ledger.records())
        self.history = History.fold(record for record in records if record.at != resume_at)
        self._expected = deque(record for record in records if record.at == resume_at)
        self._ledger = ledger
        self.written: list[str] = []
        self._kept: list[Record] | None = None

    def enter(self, *records: Record) -> None:
        """Write records down, all or none.

        Raises:
            LifeCycleError: One does not follow from what it answers.
            LedgerError: One differs from what an earlier life wrote at this place.
        """
        fresh = []
        for record in records:
            self.history.add(record)
            if not self._expected:
                fresh.append(record)
            elif (expected := self._expected.popleft()).id != record.id:
                raise LedgerError(
                    f"the ledger has {expected.id} at {expected.at:%Y-%m-%d %H:%M} where {record.id} is due now: the "
                    "data, the software or the ledger changed since; start anew in another home"
                )
        if self._kept is not None:
            self._kept += fresh
        elif fresh:
            self._write(fresh)

    @property
    def held(self) -> bool:
        """Whether records are taken in that are not written down yet."""
        return self._kept is not None

    @contextmanager
    def together(self, note: Callable[[], Note]) -> Iterator[None]:
        """Write down all that is entered meanwhile in one go at its end, with a note that is made then.

        Where it is left by an error nothing is written, and the history holds what is not there: the book is closed.
        """
        self._kept = []
        yield
        kept, self._kept = self._kept, None
        self._write(kept, note())

    def _write(self, records: Sequence[Record], note: Note | None = None) -> None:
        self._ledger.append(records, note)
        self.written += [record.id for record in records]


def newest(ledger: Ledger) -> datetime | None:
    """The time of the last record, which tells where a replay was cut short; None before the first."""
    last = deque(ledger.records(), maxlen=1)
    return last[0].at if last else None


class Branch:
    """What a training that outlasts its tick sees: the records up to its decision, and those that it makes itself.

    Begun anew at each wake-up, it makes the same records again, to the byte; the main book gets each of them once.

    Args:
        book: The main book.
        since: The last record that the training sees; None where it sees none.
    """

    def __init__(self, book: Entries, since: Record | None) -> None:
        known = iter(book.history.known.values())
        self.history = History()
        while since is not None and since.id not in self.history.known:
            self.history.add(next(known))
        self._made = {part: record.id for record in known if (part := _part(record))}
        self._book = book

    @property
    def written(self) -> list[str]:
        """Identifiers of the records that this process wrote down."""
        return self._book.written

    @property
    def held(self) -> bool:
        """Never: each record is written down by itself."""
        return self._book.held

    def together(self, note: Callable[[], Note]) -> AbstractContextManager[None]:
        """As the main book does it."""
        return self._book.together(note)

    def enter(self, *records: Record) -> None:
        """Take records in, and write down those that are new.

        Raises:
            TableChangedError: One differs from what an earlier run made in its place.
        """
        for record in records:
            part = _part(record)
            before = self._made.get(part, record.id) if part else record.id
            if before != record.id:
                raise TableChangedError(
                    f"{before} was made of other rows than {record.id} would be now: rows were added, changed or taken "
                    "away before the newest batch that was observed"
                )
            self.history.add(record)
        self._book.enter(*(record for record in records if record.id not in self._book.history.known))


def reference_slots(start: datetime, until: datetime, step: timedelta) -> list[Span]:
    """A reference in batches, newest first; whole ones, or the one part if there is no whole one."""
    count = (until - start) // step
    slots = [(until - step * (k + 1), until - step * k) for k in range(count)]
    return slots or [(start, until)]


def _part(record: Record) -> tuple[object, ...] | None:
    """What a record is within one training; no training has two of the same."""
    match record:
        case Baseline() | Activation(actor=None):
            return (record.kind,)
        case Job():
            params = tuple(sorted(record.params.items()))
            return record.kind, record.answers, record.purpose, record.window.name, params
        case Candidate():
            return record.kind, record.answers
        case Verdict():
            return record.kind, record.stage
    return None


@dataclass
class Desk:
    """The terms on which one model is watched, and the doors to the world."""

    terms: Terms
    start: datetime
    """Time of the first row."""
    clock: Clock
    ledger: Ledger
    table: Table
    profiles: Profiles
    trainer: Trainer
    predictor: Predictor
    registry: Registry
    book: Entries
    board: Board | None = None
    """Where homes that share limits meet; None for a home that shares with none."""
    modified: Callable[[str], datetime | None] = lambda _: None
    """When a file was written last that the model is trained after; None where nobody knows."""
    attended: bool = False
    """Whether there is somebody to ask: a replay takes as approved what would have been asked."""
    traffic: Callable[[ZoneInfo], Series | None] = lambda _: None
    """Past traffic of what serves, from which windows are learned; times without an offset are of the zone."""
    fits: Callable[[Policy], None] = lambda _: None
    """Raises an InputError for a policy that what the home works with cannot follow."""
    anchors: Anchors | None = None
    """Where it is kept elsewhere how far the ledger went at each release; None to keep it nowhere."""
    _spread: float | None = field(default=None, init=False)
    _counts: dict[Span, BatchCounts] = field(default_factory=dict, init=False)

    @property
    def history(self) -> History:
        """The state that the records say."""
        return self.book.history

    @property
    def now(self) -> datetime:
        """The clock's time."""
        return self.clock.now()

    @property
    def matured_until(self) -> datetime:
        """Rows before this have their labels, and lie in batches that were observed."""
        slots = self.history.slots
        return (min(self.now, slots[-1][1]) if slots else self.now) - self.table.label_delay

    @property
    def metrics(self) -> tuple[str, ...]:
        """The primary metric, then the guard metrics."""
        return (self.terms.config.model.primary_metric, *self.terms.config.model.guard_metrics)

    def slice(self, rows: Rows, *, labels: bool) -> Slice:
        """A record of rows."""
        return Slice(rows.start, rows.end, len(rows), self.table.digest(rows, labels=labels))

    def counts(self, slot: Span) -> BatchCounts:
        """Exact counts of an observed slot; kept, since every tick looks at all of them."""
        if slot not in self._counts:
            self._counts[slot] = self.profiles.counts(self.table.rows(*slot))
        return self._counts[slot]

    def reference_slots(self) -> list[Span]:
        """The reference in batches, newest first."""
        return reference_slots(self.start, self.terms.reference_until, self.terms.config.backtest.observe_every)

    def reference_spread(self) -> float:
        """The standard deviation of the labels that were known when the reference ended; the same at every time."""
        if self._spread is None:
            rows = self.table.labeled(self.start, self.terms.reference_until - self.table.label_delay)
            self._spread = float(np.std(self.table.labels(rows)))
        return self._spread

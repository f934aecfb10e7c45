"""What the steps need from the world, as protocols.

Ports pass references (`Rows`, digests), numpy arrays and count records, never data frames. Backtest and live differ in
`Clock`, `Table` (a view as of the clock) and `Trainer` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from hpcretrain.backlog import Entry, Stop
from hpcretrain.counts import BatchCounts as BatchCounts
from hpcretrain.counts import ColumnCounts as ColumnCounts
from hpcretrain.errors import TrainingError
from hpcretrain.records import Candidate, Finding, Histogram, Job, PriorityClass, Record, Release

FloatArray = npt.NDArray[np.float64]
HashArray = npt.NDArray[np.uint64]
Span = tuple[datetime, datetime]
"""start <= time < end."""


@dataclass(frozen=True)
class Rows:
    """A reference to rows of a table: positions in time order (int64, increasing) of rows known at the view's time."""

    start: datetime
    end: datetime
    index: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.index)


class Clock(Protocol):
    """Tells the time; a backtest's is virtual."""

    def now(self) -> datetime: ...


@dataclass(frozen=True)
class Note:
    """What is noted in the world's log: an event, the decision (or time) that it serves, and facts."""

    event: str
    serves: str
    facts: Mapping[str, Any]


class Ledger(Protocol):
    """Two append-only, hash-chained logs: decisions (records) and operations (notes)."""

    def append(self, records: Sequence[Record], note: Note | None = None) -> None: ...

    def records(self) -> Iterator[Record]: ...

    def head(self) -> str: ...

    def note(self, event: str, serves: str, **facts: Any) -> None: ...

    def note_each(self, event: str, facts: Mapping[str, Mapping[str, Any]]) -> None: ...

    def notes(self, event: str | None = None, serves: str | None = None) -> list[Mapping[str, Any]]: ...


class Anchors(Protocol):
    """Where it is kept elsewhere how far the ledger went."""

    def keep(self, release: Release) -> None:
        """Anchor the ledger, once for each release; never raises for what is elsewhere, and tries again when called."""


class Table(Protocol):
    """The rows of the user's table that are known at the clock's time, and no others."""

    label_delay: timedelta

    def rows(self, start: datetime, end: datetime, excluded: Sequence[Span] = ()) -> Rows:
        """Rows with start <= time < end, `end` at most now; labels may not be known yet."""

    def labeled(self, start: datetime, end: datetime, excluded: Sequence[Span] = ()) -> Rows:
        """Rows with start <= time < end whose label has matured by now and is there."""

    def matured(self, start: datetime, end: datetime, excluded: Sequence[Span] = ()) -> Rows:
        """Rows with start <= time < end whose label time has come by now, whether or not a usable label is there."""

    def newest(self, rows: Rows, count: int) -> datetime:
        """The latest time from which on `rows` holds at least `count` rows; the start of `rows` if it has fewer."""

    def ages(self, rows: Rows) -> FloatArray:
        """Seconds between each row and the end of `rows`, shape (rows,), not increasing."""

    def labels(self, rows: Rows) -> FloatArray:
        """Labels of matured rows, shape (rows,); NaN where a matured label is missing or unreadable."""

    def digest(self, rows: Rows, *, labels: bool) -> str:
        """SHA-256 of what the rows hold (times, features and, when `labels`, matured labels)."""

    def hashes(self, rows: Rows, *, times: bool, labels: bool) -> HashArray:
        """One hash a row, shape (rows,), of its features and, when asked, its time and label."""

    def snapshot(self, rows: Rows, path: Path) -> None:
        """Write the rows with labels as Parquet for a training job, by atomic rename."""


class Profiles(Protocol):
    """Stored whylogs data profiles, with exact counts in bins frozen on the reference."""

    def freeze(self, reference: Rows) -> str:
        """Freeze the contract (types, bins, categories) on the reference; its digest. Idempotent."""

    def counts(self, rows: Rows) -> BatchCounts:
        """Profile a batch of features (stored once, scored from what is stored) and give its exact counts."""

    def places(self, rows: Rows) -> Mapping[str, npt.NDArray[np.int64]]:
        """The bin of each cell, shape (rows,), of each feature, in the order of `counts.distribution`."""


class Predictor(Protocol):
    """Predictions of models, loaded by verified digest in another process."""

    def predict(self, model_digest: str, rows: Rows) -> FloatArray:
        """Predictions, shape (rows,): probabilities of the positive class, or values.

        Raises:
            ModelFileError: The model's files are missing, altered or cannot be loaded.
        """


@dataclass(frozen=True)
class Trained:
    """A finished training: the digest of the model's files, and the CPU seconds of all its fits."""

    model_digest: str
    cpu_s: float


class Awaited(Exception):
    """Raised by a trainer that does not wait, while jobs are under way; the same call later gives what came of them.

    Attributes:
        jobs: How each of them stands, in words, by identifier.
    """

    def __init__(self, jobs: Mapping[str, str]) -> None:
        super().__init__(", ".join(f"{job}: {how}" for job, how in jobs.items()))
        self.jobs = dict(jobs)


class Trainer(Protocol):
    """Runs training jobs in other processes; adopts or fences what an earlier life of the controller left behind."""

    def passes(self) -> int:
        """How often one training reads each row (boosting rounds, epochs); the unit of modeled cost."""

    def train(
        self, orders: Sequence[tuple[Job, Rows]], done: Callable[[int], None] = lambda _: None
    ) -> list[Trained | TrainingError]:
        """Train, perhaps several at once, and give what came of each; at once for what was finished before.

        Raises `Awaited` while jobs are under way, if it is not the trainer's to wait for them.

        Args:
            orders: Jobs with the rows that they learn from.
            done: Called with the number of jobs that have ended, as it grows.

        Returns:
            In the order of `orders`; an error, with its reason, for a job that ended without a model.
        """

    def stirs(self) -> bool:
        """Whether there may be news of the jobs that are under way: cheap, to be asked often."""

    def withdraw(self, jobs: Sequence[Job]) -> bool:
        """End what is under way of these jobs; each leaves a checkpoint if it can. Whether all have ended."""

    def left(self, job: str) -> bool:
        """Whether the folder of a job that has ended is still there."""

    def forget(self, job: str) -> None:
        """Remove the folder of a job that has ended, which nobody will ask for again.

        Raises:
            OSError: It is still there, or a part of it.
        """

    def outlook(self, priority_class: PriorityClass) -> tuple[Finding, ...]:
        """What a training would meet now: "load", and what it "preempts"."""

    def average(self, model_digests: Sequence[str]) -> str:
        """Make a model that predicts the mean of what these predict; its digest. Idempotent."""


@dataclass(frozen=True)
class Page:
    """What people are shown of a cycle, or of a candidate or failed job within it.

    `id` is the identifier of the request (or baseline), candidate or job; `status` is RUNNING, FINISHED or FAILED.
    `words` are Markdown. `served` holds the stretches of time in which the model served, the last perhaps without an
    end. A cycle repeats the metrics of its candidate `judged`, if it has one.
    """

    id: str
    name: str
    status: str
    tags: Mapping[str, str]
    words: str
    served: tuple[tuple[datetime, datetime | None], ...] = ()
    judged: str | None = None


@dataclass(frozen=True)
class Gain:
    """How much better a candidate is than the champion in a metric, with its 95 % interval; above 0 is better."""

    metric: str
    champion: float
    candidate: float
    gain: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Meeting:
    """Labels and predictions of champion and candidate on the same held-out rows, each of shape (rows,)."""

    labels: FloatArray
    champion: FloatArray
    candidate: FloatArray
    task: str
    gains: tuple[Gain, ...]
    """In the metrics that are defined here, the primary one first; without any the arrays may hold anything."""


class Registry(Protocol):
    """Runs, model versions and aliases, for people; never read to make a decision. Every call is idempotent."""

    def register(
        self,
        candidate: Candidate,
        job: Job,
        trained: Trained,
        lineage: Mapping[str, str],
        members: Sequence[Candidate] = (),
    ) -> None:
        """Log a model, or an average and its members, with its lineage; there `cycle` names the cycle of it."""

    def fail(self, job: Job, reason: str, lineage: Mapping[str, str]) -> None:
        """Log that a job ended without a model."""

    def show(self, page: Page) -> None:
        """Bring up to date what is shown; nothing where nothing was logged."""

    def measure(self, candidate_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None: ...

    def picture(self, candidate_id: str, meeting: Meeting) -> None:
        """Draw how champion and candidate met."""

    def alias(self, candidate_id: str, alias: str) -> None:
        """Point `alias` at the candidate's version and read it back."""


@dataclass(frozen=True)
class Told:
    """What a board says: what other homes told, the stop of all if one stands, and what could not be read."""

    entries: tuple[Entry, ...]
    stop: Stop | None
    troubles: tuple[Finding, ...]


class Board(Protocol):
    """Where homes that share limits tell each other how they stand. What cannot be read is told, never raised."""

    home: str
    """The name of this home, which no other has."""

    def meet(self) -> AbstractContextManager[Told]:
        """What others told, and nobody else decides until it is left."""

    def read(self) -> Told:
        """What others told."""

    def tell(self, entry: Entry) -> None:
        """Tell how this home stands.

        Raises:
            OSError: It cannot be written.
        """

    def stop(self, stop: Stop | None) -> None:
        """Stop every model; None lifts it.

        Raises:
            InputError: It cannot be written.
        """


def histogram(edges: Sequence[float], values: FloatArray) -> Histogram:
    """Counts of `values` in the bins between `edges` (open ends)."""
    index = np.searchsorted(np.asarray(edges, dtype=np.float64), values, side="right")
    counts = np.bincount(index, minlength=len(edges) + 1)
    return Histogram(edges=tuple(float(edge) for edge in edges), counts=tuple(int(count) for count in counts))

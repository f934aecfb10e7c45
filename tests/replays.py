"""Replays for tests: the real steps over real profiles, with trainings in this process so that many can run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from hpcretrain import backtest
from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.table import MemoryTable
from hpcretrain.adapters.whylogs import WhylogsProfiles
from hpcretrain.canonical import sha256
from hpcretrain.config.load import Terms, load
from hpcretrain.desks import governed, open_table
from hpcretrain.errors import TrainingError
from hpcretrain.history import History
from hpcretrain.node.recipe import TrainingData, WarmStart, load_recipe
from hpcretrain.ports import FloatArray, Meeting, Page, Rows, Trained
from hpcretrain.records import Candidate, Finding, Job, PriorityClass
from hpcretrain.steps.desk import Book, Desk, newest


class InlineModels:
    """Trainer and predictor of the built-in recipe in this process; the model files' digest is its parameters' text."""

    def __init__(self, terms: Terms, table: MemoryTable, folder: Path) -> None:
        self.recipe = load_recipe(terms.config.model.recipe, terms.config.model.params, search_path=terms.folder)
        self.search_path = terms.folder
        self.task = terms.config.model.task
        self.table = table
        self.folder = folder
        self.models: dict[str, object] = {}
        self.members: dict[str, tuple[str, ...]] = {}
        self.predictions: dict[tuple[str, bytes], FloatArray] = {}

    def passes(self) -> int:
        return self.recipe.passes

    def train(
        self, orders: Sequence[tuple[Job, Rows]], done: Callable[[int], None] = lambda _: None
    ) -> list[Trained | TrainingError]:
        trained: list[Trained | TrainingError] = []
        for job, rows in orders:
            try:
                trained.append(self.fit(job, rows))
            except TrainingError as error:
                trained.append(error)
            done(len(trained))
        return trained

    def fit(self, job: Job, rows: Rows) -> Trained:
        categorical = tuple(column.name for column in self.table.columns if column.kind == "category")
        features = self._features(rows)
        start = WarmStart(self.folder / job.start.model_digest, job.start.passes) if job.start else None
        data = TrainingData(features, self.table.labels(rows), categorical, self.task, start=start)
        params = {name: json.loads(value) for name, value in job.params.items()}
        *_, model = load_recipe(job.recipe, params, search_path=self.search_path).train(
            data, seed=job.seed, threads=1, resume=None
        )
        place = self.folder / job.id
        place.mkdir(parents=True, exist_ok=True)
        self.recipe.save(model, place)
        digest = sha256("".join(sorted(path.read_text() for path in place.iterdir())))
        shutil.copytree(place, self.folder / digest, dirs_exist_ok=True)
        return Trained(digest, 0.0)

    def stirs(self) -> bool:
        return False

    def withdraw(self, jobs: Sequence[Job]) -> bool:
        return True

    def outlook(self, priority_class: PriorityClass) -> tuple[Finding, ...]:
        return ()

    def average(self, model_digests: Sequence[str]) -> str:
        digest = sha256(" ".join(model_digests))
        self.members[digest] = tuple(model_digests)
        return digest

    def predict(self, model_digest: str, rows: Rows) -> FloatArray:
        if not len(rows):
            return np.empty(0)
        if model_digest in self.members:
            predictions = [self.predict(member, rows) for member in self.members[model_digest]]
            return np.asarray(np.mean(predictions, axis=0))
        key = (model_digest, rows.index.tobytes())
        if model_digest not in self.models:
            self.models[model_digest] = self.recipe.load(self.folder / model_digest)
        if key not in self.predictions:
            self.predictions[key] = np.asarray(self.recipe.predict(self.models[model_digest], self._features(rows)))
        return self.predictions[key]

    def _features(self, rows: Rows) -> pd.DataFrame:
        frame = self.table.frame(rows)
        for column in self.table.columns:
            if column.kind == "number":
                frame[column.name] = pd.to_numeric(frame[column.name], errors="coerce").astype("float64")
        return frame


class NoRegistry:
    """A registry that nobody looks at; no decision ever reads one."""

    def register(
        self,
        candidate: Candidate,
        job: Job,
        trained: Trained,
        lineage: Mapping[str, str],
        members: Sequence[Candidate] = (),
    ) -> None:
        pass

    def measure(self, candidate_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        pass

    def alias(self, candidate_id: str, alias: str) -> None:
        pass

    def fail(self, job: Job, reason: str, lineage: Mapping[str, str]) -> None:
        pass

    def show(self, page: Page) -> None:
        pass

    def picture(self, candidate_id: str, meeting: Meeting) -> None:
        pass


@contextmanager
def desk(
    config: Path, home: Path, resume: Callable[[FileLedger], datetime | None] = newest, *, attended: bool = False
) -> Iterator[tuple[Desk, VirtualClock, datetime]]:
    """A desk over a table, its clock, and the time of the last row; `resume` tells where it was cut short."""
    terms = load(config)
    clock = VirtualClock(terms.reference_until)
    model = terms.config.model
    table = open_table(terms, clock)
    home.mkdir(parents=True, exist_ok=True)
    (home / "profiles").mkdir(exist_ok=True)
    ledger = FileLedger(home / "ledger.jsonl")
    book = Book(ledger, resume(ledger))
    terms = governed(terms, book) if attended else terms
    models = InlineModels(terms, table, home / "models")
    profiles = WhylogsProfiles(table, home / "profiles", ledger, model.name, terms.policy.data_gate.range_slack)
    yield (
        Desk(
            terms=terms,
            start=table.first_time,
            clock=clock,
            ledger=ledger,
            table=table,
            profiles=profiles,
            trainer=models,
            predictor=models,
            registry=NoRegistry(),
            book=book,
            attended=attended,
        ),
        clock,
        table.last_time,
    )


def replay(config: Path, home: Path, until: datetime | None = None) -> History:
    """The history after a replay, up to `until` or to the end of the table."""
    with desk(config, home) as (at, clock, last):
        backtest.replay(at, clock, last if until is None else min(until, last), lambda *_: None)
        return at.history


def bodies(history: History, until: datetime) -> list[str]:
    """The records up to a time, byte for byte."""
    return [record.body for record in history.known.values() if record.at <= until]

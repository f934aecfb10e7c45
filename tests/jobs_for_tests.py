"""Jobs for tests: a table in memory, a user's recipe, and trainings as processes of their own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.spool import Spool, TrainerSettings
from hpcretrain.adapters.submitit import LocalTrainer
from hpcretrain.errors import TrainingError
from hpcretrain.node.jobfolder import JobFolder, Spec
from hpcretrain.node.life import State
from hpcretrain.node.local import alone
from hpcretrain.node.recipe import TrainingData
from hpcretrain.ports import Rows, Trained
from hpcretrain.records import Job, PriorityClass, Purpose, Window

START = datetime(2024, 1, 1, tzinfo=UTC)
CATEGORICAL = ("country",)

SLOW_MEAN = '''
"""A user's recipe: learns the mean of the target, a bit in each of many slow segments."""
import os, signal, time
import numpy as np

class SlowMean:
    def __init__(self, segments=4, sleep_s=0.0, busy_s=0.0, fail="", megabytes=0):
        if segments < 1:
            raise ValueError("segments must be at least 1")
        self.passes, self.sleep_s, self.busy_s, self.fail = segments, sleep_s, busy_s, fail
        self.megabytes = megabytes

    def train(self, data, *, seed, threads, resume):
        total, done = self.load(resume) if resume else (0.0, 0)
        held = np.ones(self.megabytes * 131072)
        for part in range(done, self.passes):
            time.sleep(self.sleep_s)
            end = time.process_time() + self.busy_s
            while time.process_time() < end:
                pass
            if self.fail == "die" or self.fail == "die once" and not resume:
                if part:
                    os.kill(os.getpid(), signal.SIGKILL)
            if self.fail == f"seed {seed}":
                raise ValueError(f"seed {seed} is refused")
            if self.fail == "memory":
                raise MemoryError
            if self.fail == "train":
                raise ZeroDivisionError("the recipe divided by zero")
            total += float(data.target[part :: self.passes].sum())
            yield total / len(data.target) if part + 1 == self.passes else total, part + 1

    def save(self, model, folder):
        (folder / "mean.txt").write_text(f"{model[0]!r} {model[1]}")

    def load(self, folder):
        mean, done = (folder / "mean.txt").read_text().split()
        if self.fail == "load":
            os.abort()
        return float(mean), int(done)

    def predict(self, model, features):
        if self.fail == "shape":
            return np.zeros((len(features), 2))
        if self.fail == "predict":
            raise KeyError("no such thing")
        return np.full(len(features), model[0])
'''


def frame(rows: int = 2000, seed: int = 1) -> pd.DataFrame:
    """Two numbers, one with missing cells, a category with missing cells, and the label."""
    random = np.random.default_rng(seed)
    amount = np.where(random.random(rows) < 0.05, np.nan, random.normal(size=rows))
    country = random.choice(np.array(["DE", "FR", "PL", None], dtype=object), rows)
    days = random.integers(1, 9, rows).astype(float)
    pull = np.nan_to_num(amount) + (country == "PL") + 0.2 * days - 1.5
    label = (random.random(rows) < 1 / (1 + np.exp(-pull))).astype(float)
    return pd.DataFrame(
        {"amount": amount, "days": days, "country": pd.Series(country, dtype=object), "__label__": label}
    )


def data(rows: int = 2000, task: str = "binary") -> TrainingData:
    """The same rows as a recipe gets them."""
    content = frame(rows)
    return TrainingData(content.drop(columns="__label__"), content["__label__"].to_numpy(), CATEGORICAL, task)


class FrameTable:
    """Rows of a data frame; counts how many it was asked for."""

    def __init__(self, content: pd.DataFrame) -> None:
        self.content = content
        self.asked = 0

    def frame(self, rows: Rows) -> pd.DataFrame:
        self.asked += len(rows)
        return self.content.drop(columns="__label__").iloc[rows.index].reset_index(drop=True)

    def snapshot(self, rows: Rows, path: Path) -> None:
        self.content.iloc[rows.index].to_parquet(path.with_suffix(".part"), index=False)
        path.with_suffix(".part").rename(path)

    def rows(self, first: int = 0, last: int | None = None) -> Rows:
        return Rows(START, START + timedelta(days=1), np.arange(first, last or len(self.content)))


def job(seed: int = 1, rows: int = 2000, recipe: str = "lightgbm") -> Job:
    """A job on the first rows."""
    return Job(
        model="m",
        at=START,
        answers=("baseline-1",),
        purpose=Purpose.JUDGE,
        priority_class=PriorityClass.BACKGROUND,
        recipe=recipe,
        params={},
        seed=seed,
        window=Window("all", START, START + timedelta(days=1), rows, rows, f"digest{rows}"),
        cost_mrow_passes=1.0,
    )


def trainer(
    home: Path, table: FrameTable, recipe: str = "lightgbm", every_s: float = 0.0, **params: Any
) -> LocalTrainer:
    """A trainer whose folders are in `home`, where a user's recipe may lie too."""
    settings = TrainerSettings(recipe, params, 1, "binary", CATEGORICAL, home, every_s)
    ledger = FileLedger(home / "ledger.jsonl")
    return LocalTrainer(Spool(home / "spool", home / "models", table, ledger, settings, listens=False), ledger)


def train(made: LocalTrainer, order: Job, rows: Rows) -> Trained:
    """What one job alone came to; its error is raised."""
    [trained] = made.train([(order, rows)])
    if isinstance(trained, TrainingError):
        raise trained
    return trained


def job_folder(
    home: Path, rows: int = 2000, recipe: str = "lightgbm", every_s: float = 0.0, **params: Any
) -> JobFolder:
    """The folder of a job that is ready to run, without any controller."""
    folder = JobFolder(home / "jobs" / "job")
    frame(rows).to_parquet(home / "rows.parquet", index=False)
    folder.write_spec(Spec(recipe, params, 1, 1, "binary", CATEGORICAL, "../../rows.parquet", str(home), every_s))
    return folder


def attempt(folder: JobFolder, number: int, *, wait: bool = True) -> subprocess.Popen[str]:
    """A process that runs an attempt at the job."""
    code = f"from hpcretrain.node.local import run_each; run_each([({str(folder.path)!r}, {number})])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if wait:
        process.wait(60)
    return process


def at_work(folder: JobFolder) -> bool:
    """Whether a process holds the job's lock."""
    with alone(folder.path, 0) as mine:
        return not mine


def saved(folder: JobFolder) -> State | None:
    """The farthest state that a life saved."""
    return max((state for life in folder.lives() for state in life.states()), key=State.rank, default=None)


def wait_for(what: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)

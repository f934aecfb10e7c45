"""A home of the ordinary user from which training jobs are submitted to Slurm."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_jobs import SlurmJobs
from hpcretrain.adapters.slurm_spool import SlurmSpool, home_name
from hpcretrain.adapters.slurm_submission import Task
from hpcretrain.adapters.slurm_trainer import SlurmTrainer
from hpcretrain.adapters.spool import Spool, TrainerSettings
from hpcretrain.config.cluster import ClassOfJobs, ClusterProfile
from hpcretrain.config.load import shipped_policy
from hpcretrain.node.recipe import LIGHTGBM
from hpcretrain.ports import Rows
from hpcretrain.records import Job, PriorityClass, Purpose, Window

AT = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = 20


class MadeTable:
    """Rows of normal features, of which five tell of the label; the same ones for the same number of rows."""

    def __init__(self, rows: int) -> None:
        random = np.random.default_rng(1)
        features = random.normal(size=(rows, COLUMNS))
        label = (random.random(rows) < 1 / (1 + np.exp(-features[:, :5].sum(axis=1)))).astype(float)
        names = [f"feature_{number}" for number in range(COLUMNS)]
        self._content = pd.DataFrame(features, columns=names).assign(__label__=label)

    def snapshot(self, rows: Rows, path: Path) -> None:
        """Write the rows of a training."""
        self._content.iloc[rows.index].to_parquet(path, index=False)


def rows(count: int) -> Rows:
    """The first so many."""
    return Rows(AT, AT + timedelta(days=1), np.arange(count))


def job(number: int, count: int, priority_class: PriorityClass, answers: str = "decision-1", rows: int = 0) -> Job:
    """A job that the built-in recipe does; `rows` tells apart the rows of different jobs."""
    return Job(
        model="bench", at=AT, answers=(answers,), purpose=Purpose.JUDGE, priority_class=priority_class,
        recipe=LIGHTGBM, params={}, seed=number, cost_mrow_passes=1.0,
        window=Window("all", AT, AT + timedelta(days=1), count, count, f"{rows:064d}"),
    )  # fmt: skip


def with_options(profile: ClusterProfile, *options: str) -> ClusterProfile:
    """A profile whose jobs have further options of sbatch."""
    classes = {name: _with(getattr(profile.classes, name), options) for name in ("urgent", "standard", "background")}
    return profile.model_copy(update={"classes": profile.classes.model_copy(update=classes)})


def with_python(profile: ClusterProfile, python: Path) -> ClusterProfile:
    """A profile whose jobs run another program than hpcretrain's."""
    environment = profile.environment.model_copy(update={"python": str(python)})
    return profile.model_copy(update={"environment": environment})


def _with(each: ClassOfJobs, options: Sequence[str]) -> ClassOfJobs:
    return each.model_copy(update={"options": tuple(options)})


class Home:
    """A ledger, a part of the shared spool, and what submits and tracks.

    Args:
        folder: Its folder, which is made.
        profile: The site.
        count: Rows of its table.
        recipe: What its jobs train.
        params: Of the recipe.
        search_path: Where a user's recipe lies.
        cpus: Cores that each of its jobs asks for; a training uses one.
        clock: Of what submits and tracks; by default, seconds as they pass.
    """

    def __init__(
        self,
        folder: Path,
        profile: ClusterProfile,
        *,
        count: int = 1000,
        recipe: str = LIGHTGBM,
        params: dict[str, Any] | None = None,
        search_path: Path | None = None,
        cpus: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.cpus = cpus
        self.count = count
        self.ledger = FileLedger(folder / "ledger.jsonl")
        self.slurm = Slurm(profile.commands)
        self.shared = SlurmSpool(
            profile.spool.path, home_name(self.ledger, folder.name), self.ledger, requeue=profile.preemption.requeue
        )
        settings = TrainerSettings(recipe, params or {}, 1, "binary", (), search_path)
        self.spool = Spool(self.shared.root, folder / "models", MadeTable(count), self.ledger, settings)
        self.tracker = SlurmJobs(self.slurm, profile, shipped_policy().jobs, self.shared, self.ledger, clock=clock)

    def trainer(self, tell: Callable[[str], None] = lambda _: None) -> SlurmTrainer:
        """What waits for jobs."""
        return SlurmTrainer(self.spool, self.shared, self.tracker, self.ledger, self.cpus, tell, outlook=lambda _: ())

    def prepared(self, made: Job) -> Task:
        """What is submitted for a job; everything that a node needs to do it lies ready."""
        self.spool.prepare(made, rows(self.count))
        return Task(made.id, made.priority_class, self.cpus)

    def jobs(self, number: int, priority_class: PriorityClass) -> list[Job]:
        """So many different jobs."""
        return [job(each, self.count, priority_class) for each in range(1, number + 1)]

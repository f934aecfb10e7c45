"""The spool: what trainings on any system have in common. Folders of jobs, the rows that they read, and their models.

ROOT/jobs/<job id>/                 see `hpcretrain.node.jobfolder`
ROOT/snapshots/<digest>.parquet     rows to learn from
ROOT/inbox/                         empty files by which jobs wake a controller that listens
ROOT/batches/                       what one submission starts, see `hpcretrain.node.batch`
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hpcretrain.errors import TrainingError
from hpcretrain.node.average import build
from hpcretrain.node.durable import make
from hpcretrain.node.jobfolder import INTERRUPTED_EVERY_S, JobFolder, Spec
from hpcretrain.node.model import verify
from hpcretrain.node.recipe import load_recipe
from hpcretrain.ports import Ledger, Rows, Trained
from hpcretrain.records import Job

_LOG_TAIL_BYTES = 4000


class SnapshotSource(Protocol):
    """A table that writes the rows of a training."""

    def snapshot(self, rows: Rows, path: Path) -> None: ...


@dataclass(frozen=True)
class TrainerSettings:
    """What is the same for all jobs of a model; `search_path` is where a user's recipe may lie.

    `params` are the configuration's; those that a job records go before them.
    """

    recipe: str
    params: Mapping[str, Any]
    threads: int
    task: str
    categorical: tuple[str, ...]
    search_path: Path | None
    interrupted_every_s: float = INTERRUPTED_EVERY_S


class Spool:
    """The spool of one home.

    Args:
        root: Its folder, which the nodes see too.
        models: Folder that gets one folder for each model, named by its digest.
        table: Writes snapshots of rows.
        ledger: Gets a note on each job that is finished.
        settings: What is the same for all jobs.
        listens: Whether jobs are to ring in the inbox.
    """

    def __init__(
        self,
        root: Path,
        models: Path,
        table: SnapshotSource,
        ledger: Ledger,
        settings: TrainerSettings,
        *,
        listens: bool = True,
    ) -> None:
        self.root = root.absolute()
        self.jobs = self.root / "jobs"
        self.snapshots = self.root / "snapshots"
        self.inbox = self.root / "inbox"
        self.batches = self.root / "batches"
        self._models = models.absolute()
        self._table = table
        self._ledger = ledger
        self._settings = settings
        self._passes: int | None = None
        for folder in (self.jobs, self.snapshots, *((self.inbox, self.batches) if listens else ())):
            make(folder)

    def passes(self) -> int:
        """How often one training reads each row."""
        if self._passes is None:
            settings = self._settings
            self._passes = load_recipe(settings.recipe, settings.params, search_path=settings.search_path).passes
        return self._passes

    def folder(self, job: Job) -> JobFolder:
        """The folder of a job."""
        return JobFolder(self.jobs / job.id)

    def prepare(self, job: Job, rows: Rows) -> JobFolder:
        """The folder of a job that is ready to run, unless it has its result already.

        Raises:
            ModelFileError: The model that it is to go on from is missing or was altered.
        """
        folder = self.folder(job)
        if folder.result() is not None:
            return folder
        snapshot = self._snapshot(job)
        if not snapshot.exists():
            self._table.snapshot(rows, snapshot)
        settings, start = self._settings, job.start
        if start is not None and not folder.start.exists():
            self._copy(start.model_digest, folder.start)
        folder.write_spec(
            Spec(
                recipe=settings.recipe,
                params={**settings.params, **{name: json.loads(value) for name, value in job.params.items()}},
                seed=job.seed,
                threads=settings.threads,
                task=settings.task,
                categorical=settings.categorical,
                snapshot=os.path.relpath(snapshot, folder.path),
                search_path=str(settings.search_path) if settings.search_path else None,
                interrupted_every_s=settings.interrupted_every_s,
                start=start.model_digest if start else None,
                start_passes=start.passes if start else 0,
            )
        )
        return folder

    def collect(self, job: Job, log: str = "") -> Trained | TrainingError:
        """What came of a job that has its result, once its model is kept.

        Args:
            job: The job.
            log: The end of what it printed, for the error.

        Raises:
            ModelFileError: The model is missing or was altered.
        """
        folder = self.folder(job)
        result = folder.result()
        assert result is not None
        if not self._ledger.notes("job_finished", job.id):
            facts = {key: result[key] for key in ("attempt", "restart", "segments", "cpu_s")}
            facts["lives_cpu_s"] = math.fsum(life.cpu_s[0] for life in folder.lives())
            self._ledger.note("job_finished", job.id, ok="error" not in result, **facts)
        if error := result.get("error"):
            folder.sweep()
            return TrainingError(f"{error['type']}: {error['message']}", log)
        self.keep_model(folder, result["model_digest"])
        folder.sweep()
        return Trained(result["model_digest"], float(result["cpu_s"]))

    def _copy(self, digest: str, target: Path) -> None:
        source, part = self._models / digest, target.with_suffix(".part")
        verify(source, digest)
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(source, part)
        part.rename(target)

    def keep_model(self, folder: JobFolder, digest: str) -> None:
        """Have the model of the life that counts in `models/<digest>`, verified.

        Raises:
            ModelFileError: It is missing or was altered.
        """
        target = self._models / digest
        newest = folder.newest
        if not target.exists() and newest and (source := folder.life(newest).model).exists():
            # A copy, since the spool may be on another file system.
            part = self._models / f".{digest}.part"
            shutil.rmtree(part, ignore_errors=True)
            make(self._models)
            shutil.copytree(source, part)
            verify(part, digest)
            part.rename(target)
        verify(target, digest)

    def left(self, job: str) -> bool:
        """Whether the folder of a job is there."""
        return (self.jobs / job).exists()

    def forget(self, job: str) -> None:
        """Remove the folder of a job.

        Raises:
            OSError: It is still there, or a part of it.
        """
        shutil.rmtree(self.jobs / job)

    def drop_snapshots(self, jobs: Iterable[Job]) -> None:
        """Remove the rows of jobs that all have their results; several jobs may have read the same ones."""
        for job in jobs:
            self._snapshot(job).unlink(missing_ok=True)

    def average(self, model_digests: Sequence[str]) -> str:
        """Make a model that predicts the mean of what these predict; its digest.

        Raises:
            ModelFileError: The files of one are missing or altered.
        """
        for each in model_digests:
            verify(self._models / each, each)
        scratch = self._models / ".average.part"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700, parents=True)
        digest = build(scratch, [self._models / each for each in model_digests])
        target = self._models / digest
        if target.exists():
            shutil.rmtree(scratch)
        else:
            scratch.rename(target)
        verify(target, digest)
        return digest

    def _snapshot(self, job: Job) -> Path:
        return self.snapshots / f"{job.window.digest}.parquet"


def tail(log: Path) -> str:
    """The end of a log; nothing if it is not there."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
            return file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""

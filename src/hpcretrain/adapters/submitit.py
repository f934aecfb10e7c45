"""Training jobs in other processes on this machine, through submitit's local executor.

submitit pickles, starts and logs. Whether a job is done is read from its folder (see `hpcretrain.node.jobfolder`),
since a job outlives a controller that is killed: the next controller adopts it if it is at work, and fences it off
otherwise.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpcretrain.errors import HpcretrainError, TrainingError
from hpcretrain.node.average import build
from hpcretrain.node.jobfolder import JobFolder, Spec
from hpcretrain.node.model import verify
from hpcretrain.node.recipe import load_recipe
from hpcretrain.node.train import run
from hpcretrain.ports import Ledger, Rows, Trained
from hpcretrain.records import Job

if TYPE_CHECKING:
    from submitit import Job as Submitted

ATTEMPTS = 3
"""Attempts in one life of the controller that may end in silence (killed, out of memory) before it gives up."""

CHECKPOINT_EVERY_S = 10.0
_POLL_S = 0.03
_LOCK_PATIENCE_S = 0.0
# submitit ends a job after this time; nothing here waits for less than the training's end.
_TIMEOUT_MIN = 7 * 24 * 60
_LOG_TAIL_CHARS = 4000
_DIED = (
    f"the training process ended without a result {ATTEMPTS} times; was it killed, or is memory or disk short? Its "
    "checkpoint is kept: the same command goes on from there"
)


class SnapshotSource(Protocol):
    """A table that writes the rows of a training."""

    def snapshot(self, rows: Rows, path: Path) -> None: ...


@dataclass(frozen=True)
class TrainerSettings:
    """What is the same for all jobs of a model; `search_path` is where a user's recipe may lie."""

    recipe: str
    params: Mapping[str, Any]
    threads: int
    task: str
    categorical: tuple[str, ...]
    search_path: Path | None
    checkpoint_every_s: float = CHECKPOINT_EVERY_S


class LocalTrainer:
    """Trains one job after the other, each in processes of its own.

    Args:
        table: Writes snapshots of rows.
        spool: Folder of the jobs, one each, and of the snapshots that they read.
        models: Folder that gets one folder for each model, named by its digest.
        ledger: Gets notes on what is begun and what came of it.
        settings: What is the same for all jobs.
    """

    def __init__(
        self, table: SnapshotSource, spool: Path, models: Path, ledger: Ledger, settings: TrainerSettings
    ) -> None:
        self._table = table
        self._spool = spool.absolute()
        self._models = models.absolute()
        self._ledger = ledger
        self._settings = settings
        self._ending: list[Submitted[None]] = []
        self._passes: int | None = None

    def passes(self) -> int:
        """How often one training reads each row."""
        if self._passes is None:
            settings = self._settings
            self._passes = load_recipe(settings.recipe, settings.params, search_path=settings.search_path).passes
        return self._passes

    def train(self, job: Job, rows: Rows) -> Trained:
        """Train, wait, and give the result; at once when this very job was finished before.

        An interrupt (Ctrl-C) ends the job too; its checkpoint stays. A controller that is killed leaves its job at
        work, and the same call in the next controller takes it over.

        Raises:
            TrainingError: The recipe raised. Final for this job.
            HpcretrainError: Three attempts ended without a result; another call begins again at the checkpoint.
            ModelFileError: The job is finished, but its model is missing or was altered.
        """
        folder = JobFolder(self._spool / job.id)
        snapshot = self._spool / "snapshots" / f"{job.window.digest}.parquet"
        if folder.result() is None:
            self._prepare(folder, job, rows, snapshot)
            self._see_through(folder, job)
        result = folder.result()
        assert result is not None
        self._note_finished(job, result)
        snapshot.unlink(missing_ok=True)
        if error := result.get("error"):
            raise TrainingError(f"{error['type']}: {error['message']}", _log_tail(folder))
        self._keep_model(folder, result["model_digest"])
        return Trained(result["model_digest"], float(result["cpu_s"]))

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

    def _prepare(self, folder: JobFolder, job: Job, rows: Rows, snapshot: Path) -> None:
        snapshot.parent.mkdir(mode=0o700, exist_ok=True)
        if not snapshot.exists():
            self._table.snapshot(rows, snapshot)
        settings = self._settings
        folder.write_spec(
            Spec(
                recipe=settings.recipe,
                params=dict(settings.params),
                seed=job.seed,
                threads=settings.threads,
                task=settings.task,
                categorical=settings.categorical,
                snapshot=os.path.relpath(snapshot, folder.path),
                search_path=str(settings.search_path) if settings.search_path else None,
                checkpoint_every_s=settings.checkpoint_every_s,
            )
        )

    def _see_through(self, folder: JobFolder, job: Job) -> None:
        """Have attempts made until there is a result."""
        silent = 0
        while folder.result() is None:
            attempt = self._begin(folder, job)
            if attempt is None:
                self._ledger.note("job_adopted", job.id)
                _wait_for_release(folder)
            elif folder.result() is not None:
                return
            elif silent < ATTEMPTS:
                self._submit_and_wait(folder, job, attempt)
            else:
                # The machine's trouble, not the recipe's: nothing is recorded, so that a run without it ends the same.
                raise HpcretrainError(f"{job.id}: {_DIED}\n{_log_tail(folder)}".rstrip())
            silent += 1

    def _begin(self, folder: JobFolder, job: Job) -> int | None:
        """Number of a new attempt, all earlier ones fenced off; None if an earlier one is at work."""
        with folder.hold(_LOCK_PATIENCE_S) as mine:
            if not mine:
                return None
            # An earlier attempt that was submitted and has not begun will find the lock, and then the fence.
            attempt = 1 + max((note["attempt"] for note in self._ledger.notes("job_intended", job.id)), default=0)
            self._ledger.note("job_intended", job.id, attempt=attempt)
            folder.raise_fence(attempt)
            return attempt

    def _submit_and_wait(self, folder: JobFolder, job: Job, attempt: int) -> None:
        from submitit import LocalExecutor

        self._ending = [ended for ended in self._ending if not ended.done()]
        executor = LocalExecutor(folder=folder.path / "submitit" / str(attempt))
        executor.update_parameters(timeout_min=_TIMEOUT_MIN)
        submitted = executor.submit(run, str(folder.path), attempt)
        self._ledger.note("job_submitted", job.id, attempt=attempt, pid=int(submitted.job_id))
        try:
            while not submitted.done() and folder.result() is None:
                time.sleep(_POLL_S)
        except KeyboardInterrupt:
            submitted.cancel()
            raise
        self._ending.append(submitted)

    def _note_finished(self, job: Job, result: Mapping[str, Any]) -> None:
        if not self._ledger.notes("job_finished", job.id):
            facts = {key: result[key] for key in ("attempt", "segments", "cpu_s") if key in result}
            self._ledger.note("job_finished", job.id, ok="error" not in result, **facts)

    def _keep_model(self, folder: JobFolder, digest: str) -> None:
        """Have the model in `models/<digest>`, verified."""
        target = self._models / digest
        if not target.exists() and folder.model.exists():
            # A copy, since the spool may be on another file system.
            part = self._models / f".{digest}.part"
            shutil.rmtree(part, ignore_errors=True)
            self._models.mkdir(mode=0o700, parents=True, exist_ok=True)
            shutil.copytree(folder.model, part)
            verify(part, digest)
            part.rename(target)
        verify(target, digest)
        shutil.rmtree(folder.model, ignore_errors=True)


def _wait_for_release(folder: JobFolder) -> None:
    """Wait until the job has a result, or nobody is at work on it."""
    while folder.result() is None:
        with folder.hold(_LOCK_PATIENCE_S) as free:
            if free:
                return
        time.sleep(_POLL_S)


def _log_tail(folder: JobFolder) -> str:
    """The end of what the newest attempt printed."""
    logs = sorted((folder.path / "submitit").glob("*/*_log.err"), key=lambda path: int(path.parent.name))
    return logs[-1].read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL_CHARS:] if logs else ""

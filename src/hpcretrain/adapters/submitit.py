"""Training jobs in other processes on this machine, through submitit's local executor.

submitit pickles, starts and logs. Whether a job is done is read from its folder (see `hpcretrain.node.jobfolder`),
since a job outlives a controller that is killed: the next controller adopts it if it is at work, and fences it off
otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcretrain.adapters.spool import Spool, tail
from hpcretrain.errors import HpcretrainError, TrainingError
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.life import Life
from hpcretrain.node.local import alone, run_each
from hpcretrain.ports import Ledger, Rows, Trained
from hpcretrain.records import Finding, Job, Outcome, PriorityClass

if TYPE_CHECKING:
    from submitit import Job as Submitted

ATTEMPTS = 3
"""Attempts in one life of the controller that may end in silence (killed, out of memory) before it gives up."""

_POLL_S = 0.03
_LOCK_PATIENCE_S = 0.0
# submitit ends a job after this time; nothing here waits for less than the training's end.
_TIMEOUT_MIN = 7 * 24 * 60
_DIED = (
    f"the training process ended without a result {ATTEMPTS} times; was it killed, or is memory or disk short? Its "
    "checkpoint is kept: the same command goes on from there"
)


@dataclass(frozen=True)
class _Task:
    """An attempt at a job that is submitted, with those of others."""

    job: Job
    folder: JobFolder
    attempt: int


class LocalTrainer:
    """Trains one job after the other, each in a process of its own; what is ordered together is submitted together.

    Args:
        spool: Where jobs, rows and models lie, on a local disk.
        ledger: Gets notes on what is begun.
    """

    def __init__(self, spool: Spool, ledger: Ledger) -> None:
        self._spool = spool
        self._ledger = ledger
        self._under_way: dict[str, Submitted[None]] = {}
        self._ending: list[Submitted[None]] = []

    def passes(self) -> int:
        """How often one training reads each row."""
        return self._spool.passes()

    def train(
        self, orders: Sequence[tuple[Job, Rows]], done: Callable[[int], None] = lambda _: None
    ) -> list[Trained | TrainingError]:
        """Train, wait, and give what came of each job; at once for those that were finished before.

        An interrupt (Ctrl-C) ends the job too; its checkpoint stays. A controller that is killed leaves its job at
        work, and the same call in the next controller takes it over.

        Args:
            orders: Jobs with their rows.
            done: Called with the number of jobs that have ended.

        Returns:
            For each order the model; or the error that its recipe raised, which is final for the job.

        Raises:
            HpcretrainError: Three attempts at a job ended without a result; another call goes on from the checkpoint.
            ModelFileError: A job is finished, but its model is missing or was altered.
        """
        trained: list[Trained | TrainingError] = []
        prepared = [(job, self._spool.prepare(job, rows)) for job, rows in orders]
        for place, (job, folder) in enumerate(prepared):
            self._see_through(job, folder, prepared[place + 1 :])
            trained.append(self._spool.collect(job, _log_tail(folder)))
            done(len(trained))
        self._spool.drop_snapshots(job for job, _ in orders)
        return trained

    def stirs(self) -> bool:
        """Never: a job is waited for."""
        return False

    def left(self, job: str) -> bool:
        """Whether the folder of a job that has ended is still there."""
        return self._spool.left(job)

    def forget(self, job: str) -> None:
        """Remove the folder of a job that has ended.

        Raises:
            OSError: It is still there, or a part of it.
        """
        self._spool.forget(job)

    def withdraw(self, jobs: Sequence[Job]) -> bool:
        """Whoever could withdraw a job here waits until it has ended."""
        return True

    def outlook(self, priority_class: PriorityClass) -> tuple[Finding, ...]:
        """One job after the other on this machine; nobody has to make room."""
        return (
            Finding(check="load", outcome=Outcome.PASS, reason="trainings run on this machine, one after the other"),
            Finding(check="preempts", outcome=Outcome.PASS, reason="nothing has to make room", observed=0, limit=0),
        )

    def average(self, model_digests: Sequence[str]) -> str:
        """Make a model that predicts the mean of what these predict; see `Spool.average`."""
        return self._spool.average(model_digests)

    def _see_through(self, job: Job, folder: JobFolder, others: Sequence[tuple[Job, JobFolder]]) -> None:
        """Have attempts made until there is a result; the first one takes others along, which come after this job."""
        silent = 0
        while folder.result() is None:
            if submitted := self._under_way.pop(job.id, None):
                _wait(submitted, folder)
                silent += folder.result() is None
                continue
            attempt = self._begin(folder, job)
            if attempt is None:
                self._ledger.note("job_adopted", job.id)
                _wait_for_release(folder)
                silent += 1
            elif attempt == 0:
                return
            elif silent < ATTEMPTS:
                rest = [_Task(each, theirs, number) for each, theirs in others if (number := self._begin(theirs, each))]
                self._submit([_Task(job, folder, attempt), *rest])
            else:
                # The machine's trouble, not the recipe's: nothing is recorded, so that a run without it ends the same.
                raise HpcretrainError(f"{job.id}: {_DIED}{_reason(folder)}\n{_log_tail(folder)}".rstrip())

    def _begin(self, folder: JobFolder, job: Job) -> int | None:
        """Number of a new attempt, all earlier ones fenced off.

        None if an earlier one is at work; 0 if one has just brought the result, which a new fence would hide.
        """
        with alone(folder.path, _LOCK_PATIENCE_S) as mine:
            if not mine:
                return None
            if folder.result() is not None:
                return 0
            # An earlier attempt that was submitted and has not begun will find the lock, and then the fence.
            attempt = 1 + max((note["attempt"] for note in self._ledger.notes("job_intended", job.id)), default=0)
            self._ledger.note("job_intended", job.id, attempt=attempt)
            folder.raise_fence(Life(attempt))
            return attempt

    def _submit(self, tasks: Sequence[_Task]) -> None:
        from submitit import LocalExecutor

        first = tasks[0]
        executor = LocalExecutor(folder=first.folder.path / "submitit" / str(first.attempt))
        executor.update_parameters(timeout_min=_TIMEOUT_MIN)
        # Python complains of a process that nobody refers to before it has ended.
        self._ending = [ended for ended in self._ending if not ended.done()]
        submitted = executor.submit(run_each, [(str(each.folder.path), each.attempt) for each in tasks])
        for each in tasks:
            self._ledger.note("job_submitted", each.job.id, attempt=each.attempt, pid=int(submitted.job_id))
            self._under_way[each.job.id] = submitted
        self._ending.append(submitted)


def _wait(submitted: Submitted[None], folder: JobFolder) -> None:
    """Wait until a job has a result, or those that it was submitted with have ended."""
    try:
        while not submitted.done() and folder.result() is None:
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        submitted.cancel()
        raise


def _wait_for_release(folder: JobFolder) -> None:
    """Wait until the job has a result, or nobody is at work on it."""
    while folder.result() is None:
        with alone(folder.path, _LOCK_PATIENCE_S) as free:
            if free:
                return
        time.sleep(_POLL_S)


def _reason(folder: JobFolder) -> str:
    """What the newest life says of its end, if it says anything."""
    ended = next((ended for life in reversed(folder.lives()) if (ended := life.told("ended"))), None)
    return f" (the last one said: {ended['reason'] or ended['kind']})" if ended else ""


def _log_tail(folder: JobFolder) -> str:
    """The end of what the newest attempt printed on standard error."""
    logs = sorted((folder.path / "submitit").glob("*/*_log.err"), key=lambda path: int(path.parent.name))
    return tail(logs[-1]) if logs else ""

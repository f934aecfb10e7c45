"""Training jobs on Slurm, waited for. What is submitted and what became of it is `slurm_jobs`'s business."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from hpcretrain.adapters.slurm_jobs import SlurmJobs
from hpcretrain.adapters.slurm_output import Key
from hpcretrain.adapters.slurm_spool import SlurmSpool
from hpcretrain.adapters.slurm_submission import Task
from hpcretrain.adapters.spool import Spool
from hpcretrain.errors import HpcretrainError, TrainingError
from hpcretrain.ports import Awaited, Ledger, Rows, Trained
from hpcretrain.records import Finding, Job, Outcome, PriorityClass
from hpcretrain.witnesses import Fate

_POLL_S = 0.1
_TELL_EVERY_S = 10.0
_LOG_TAIL_CHARS = 2000


class SlurmTrainer:
    """Trains jobs on Slurm, several at once where they are ordered together.

    Args:
        spool: Where jobs, rows and models lie, on a file system that the nodes share.
        shared: The controller's view of the same folder.
        jobs: Submits and tracks.
        ledger: Gets the proof that inference was left alone.
        threads: Cores of each job.
        tell: Called now and then, while jobs are waited for, with how they stand.
        outlook: What jobs of a class would meet now.
        waits: Whether to wait for jobs; else `train` raises `Awaited` while there are some under way.
        clock: Seconds, ever increasing.
        sleep: Waits so many of them.
    """

    def __init__(
        self,
        spool: Spool,
        shared: SlurmSpool,
        jobs: SlurmJobs,
        ledger: Ledger,
        threads: int,
        tell: Callable[[str], None],
        *,
        outlook: Callable[[PriorityClass], tuple[Finding, ...]],
        waits: bool = True,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._spool = spool
        self._shared = shared
        self._jobs = jobs
        self._ledger = ledger
        self._threads = threads
        self._tell = tell
        self.outlook = outlook
        self._waits = waits
        self._clock = clock
        self._sleep = sleep
        self._told_at = clock()
        self._withdrawn: set[Key] = set()

    def passes(self) -> int:
        """How often one training reads each row."""
        return self._spool.passes()

    def train(
        self, orders: Sequence[tuple[Job, Rows]], done: Callable[[int], None] = lambda _: None
    ) -> list[Trained | TrainingError]:
        """Train on Slurm, wait, and give what came of each job; at once for those that were finished before.

        A controller that ends, in whatever way, leaves its jobs to Slurm; the same call in the next takes them over.

        Args:
            orders: Jobs with their rows.
            done: Called with the number of jobs that have ended.

        Returns:
            For each order the model; or the error that its recipe raised, which is final for the job.

        Raises:
            HpcretrainError: A job was given up, or there is no proof that it kept off the nodes that serve.
            ModelFileError: A job is finished, but its model is missing or was altered.
        """
        self._told_at = self._clock()
        settled = {note["serves"] for note in self._ledger.notes("job_proven")} | self._refused().keys()
        pending = {job.id: job for job, rows in orders if job.id not in settled}
        if pending.keys() - self._jobs.attempts.keys():
            self._jobs.look_ahead()
        for job, rows in orders:
            if job.id in pending:
                self._spool.prepare(job, rows)
        try:
            self._see_through(pending, lambda: done(len(orders) - len(pending)))
        except KeyboardInterrupt:
            keys = [str(key) for job in pending if job in self._jobs.attempts and (key := self._jobs.newest(job).key)]
            if keys:
                self._tell(
                    f"these jobs go on at Slurm, and the same command finds them; to end them: scancel {' '.join(keys)}"
                )
            raise
        finally:
            self._jobs.note_calls()
        refused = self._refused()
        collected = [
            TrainingError(refused[job.id], self._log(job.id))
            if job.id in refused
            else self._spool.collect(job, self._log(job.id))
            for job, _ in orders
        ]
        self._spool.drop_snapshots(job for job, _ in orders)
        return collected

    def _see_through(self, pending: dict[str, Job], done: Callable[[], None]) -> None:
        """Have all done and proven; `pending` has those that are not done yet."""
        unproven = list(pending)
        self._jobs.submit([Task(job.id, job.priority_class, self._threads) for job in pending.values()])
        while pending:
            if finished := [name for name in pending if self._jobs.newest(name).fate is Fate.FINISHED]:
                self._refuse(self._jobs.proofs(finished, anew=False) or {})
                for name in finished:
                    del pending[name]
                done()
            self._go_on(pending)
            while pending and not self._jobs.look(pending if self._waits else ()):
                if not self._waits:
                    raise Awaited({name: self._stands(name) for name in pending})
                self._say(pending)
                self._sleep(_POLL_S)
        refused = self._refused()
        self._prove([name for name in unproven if name not in refused])

    def stirs(self) -> bool:
        """Whether there may be something to do about a job; Slurm is asked once a minute at most."""
        return self._jobs.look()

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
        """Cancel what is under way of these jobs; each leaves a checkpoint if it can. To be repeated until it is so.

        Returns:
            Whether none of them is under way any more.

        Raises:
            SlurmError: Slurm does not answer.
        """
        names = [job.id for job in jobs if job.id in self._jobs.attempts]
        open_ = [last for name in names if (last := self._jobs.newest(name)).open]
        for each in open_:
            if each.key is None and not each.by_us:
                # Nobody knows whether Slurm took it. If it did, it finds the fence; and is canceled once it is known.
                self._shared.raise_fence(each.job, each.number + 1)
                self._ledger.note("job_canceled", each.job, attempt=each.number, slurm_job=None)
                each.by_us = True
        known = {each.key: each.job for each in open_ if each.key is not None and each.key not in self._withdrawn}
        self._jobs.cancel(known.values())
        self._withdrawn |= known.keys()
        self._spool.drop_snapshots(jobs)
        self._jobs.note_calls()
        return not open_

    def average(self, model_digests: Sequence[str]) -> str:
        """Make a model that predicts the mean of what these predict; see `Spool.average`."""
        return self._spool.average(model_digests)

    def _go_on(self, pending: dict[str, Job]) -> None:
        given_up = self._jobs.follow_up(pending)
        if not self._waits:
            for job in given_up:
                del pending[job]
        elif given_up:
            raise HpcretrainError(
                "\n".join(
                    f"{job}: {finding.check}: {finding.reason}\n{self._log(job)}".rstrip()
                    for job, finding in given_up.items()
                )
            )

    def _refused(self) -> Mapping[str, str]:
        """Jobs that were given up, and why: what came of them, unless somebody waits, who is told and may try again."""
        if self._waits:
            return {}
        return {note["serves"]: f"{note['check']}: {note['reason']}" for note in self._ledger.notes("job_given_up")}

    def _prove(self, jobs: Sequence[str]) -> None:
        """Have Slurm say of all that is finished that it kept off what serves now that it is finished."""
        if not jobs:
            return
        while (found := self._jobs.proofs(jobs, anew=True)) is None:
            if not self._waits:
                raise Awaited(dict.fromkeys(jobs, self._jobs.trouble))
            self._say(())
            self._sleep(_POLL_S)
        self._refuse(found)
        self._ledger.note_each("job_proven", {job: {"reason": each.reason} for job, each in found.items()})

    def _refuse(self, findings: Mapping[str, Finding]) -> None:
        for job, found in findings.items():
            if found.outcome is not Outcome.PASS:
                self._jobs.distrust(job, found)
                raise HpcretrainError(
                    f"{job}: {found.check}: {found.reason}. Without this proof its model is not used; the same "
                    "command, once the cause is mended, has it done again"
                )

    def _stands(self, job: str) -> str:
        newest = self._jobs.newest(job)
        return f"{newest.fate.value}: {newest.why}" if newest.why else newest.fate.value

    def _log(self, job: str) -> str:
        return self._shared.log_tail(self._jobs.newest(job))[-_LOG_TAIL_CHARS:] if job in self._jobs.attempts else ""

    def _say(self, pending: Collection[str]) -> None:
        if self._clock() - self._told_at < _TELL_EVERY_S:
            return
        self._told_at = self._clock()
        if self._jobs.trouble:
            self._tell(f"{self._jobs.trouble}; asking again, jobs that run go on")
            return
        newest = [self._jobs.newest(job) for job in pending]
        counts = Counter(each.fate.value for each in newest)
        waiting = next((f": {each.why}" for each in newest if each.fate in (Fate.WAITING, Fate.HELD)), "")
        self._tell("Slurm: " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) + waiting)

"""Submits attempts: noted and fenced first, in arrays where they are alike, by a name that only they have."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hpcretrain.adapters import slurm_script
from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_attempts import Attempt, intention, name_of
from hpcretrain.adapters.slurm_reach import Reach
from hpcretrain.adapters.slurm_spool import SlurmSpool
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import SlurmError
from hpcretrain.policy.retry import Ask
from hpcretrain.ports import Ledger
from hpcretrain.records import Finding, Outcome, PriorityClass
from hpcretrain.witnesses import Fate


@dataclass(frozen=True)
class Task:
    """A job to be done: its record, its class, and the cores that it needs. Its folder in the spool says the rest."""

    job: str
    priority_class: PriorityClass
    cpus: int


@dataclass(frozen=True)
class Submission:
    """What was submitted together. `slurm_job` is None where nobody knows whether Slurm took it; `error` says why."""

    attempts: Sequence[Attempt]
    slurm_job: int | None
    error: SlurmError | None = None


class Submitter:
    """Submits what is asked for.

    Args:
        slurm: The door.
        profile: The site.
        spool: The folder that the nodes share.
        ledger: Gets a note before and after each submission.
        reach: Proves beforehand that inference is out of reach.
        clock: Seconds, ever increasing.
    """

    def __init__(
        self,
        slurm: Slurm,
        profile: ClusterProfile,
        spool: SlurmSpool,
        ledger: Ledger,
        reach: Reach,
        clock: Callable[[], float],
    ) -> None:
        self._slurm = slurm
        self._profile = profile
        self._spool = spool
        self._ledger = ledger
        self._reach = reach
        self._clock = clock
        self._room = profile.limits.array_size

    def submit(self, asked: Sequence[tuple[Task, Ask, int]]) -> list[Submission]:
        """Submit an attempt at each task with what it asks for and its number, as far as Slurm takes them now.

        Raises:
            SlurmError: Slurm does not answer what it must be asked beforehand, or inference is within reach of a class;
                nothing was submitted.
        """
        classes = {task.priority_class for task, _, _ in asked}
        for priority_class in classes if len(classes) > 1 else ():
            # Nothing of one class is to be under way when another is refused; one alone is looked at below.
            self._require_distance(priority_class)

        def alike(each: tuple[Task, Ask, int]) -> tuple[Any, ...]:
            task, ask, _ = each
            return task.priority_class.value, task.cpus, ask.memory_mb or 0, ask.time_limit_min

        done: list[Submission] = []
        for _, group in itertools.groupby(sorted(asked, key=alike), alike):
            done += self._submit_alike(list(group))
            if done[-1].error is not None and done[-1].error.trouble == "unreachable":
                break
        return done

    def _submit_alike(self, members: Sequence[tuple[Task, Ask, int]]) -> list[Submission]:
        """Submit arrays as large as Slurm takes them: each task of one counts against limits on submissions."""
        done: list[Submission] = []
        while members:
            count = min(self._room, len(members))
            together, rest = members[:count], members[count:]
            done.append(self._submit_together(together))
            error = done[-1].error
            if error is None:
                self._room, members = min(2 * self._room, self._profile.limits.array_size), rest
                continue
            if error.trouble != "full" or count == 1:
                break
            self._room = count // 2
            members = [*((task, ask, number + 1) for task, ask, number in together), *rest]
        return done

    def adopt(self, attempts: Sequence[Attempt], slurm_job: int) -> None:
        """Write down by which number Slurm calls attempts that it took without telling."""
        self._note_taken(attempts, slurm_job, adopted=True)

    def _note_taken(self, attempts: Sequence[Attempt], slurm_job: int, *, adopted: bool) -> None:
        facts = {"slurm_job": slurm_job, "adopted": adopted}
        self._ledger.note_each("job_submitted", {each.job: {**facts, "attempt": each.number} for each in attempts})
        for each in attempts:
            each.submission, each.heard_at = slurm_job, self._clock()
            each.fate, each.why = Fate.WAITING, "submitted"

    def _require_distance(self, priority_class: PriorityClass) -> Finding:
        found = self._reach.before(priority_class)
        if found.outcome is not Outcome.PASS:
            raise SlurmError(f"class {priority_class.value}: {found.check}: {found.reason}", "refused")
        return found

    def _submit_together(self, members: Sequence[tuple[Task, Ask, int]]) -> Submission:
        task, ask, _ = members[0]
        attempts = self._attempts(members)
        name = attempts[0].name
        wanted = slurm_script.options(
            self._profile,
            task.priority_class,
            name=name,
            ask=ask,
            cpus=task.cpus,
            tasks=len(attempts),
            root=self._spool.root,
        )
        try:
            slurm_job = self._slurm.submit(wanted, lambda: self._intend(attempts))
        except SlurmError as error:
            if self._spool.newest_attempt(attempts[0].job) < attempts[0].number:
                # It was never meant to be submitted.
                raise
            return Submission(attempts, None, error)
        self._note_taken(attempts, slurm_job, adopted=False)
        return Submission(attempts, slurm_job)

    def _attempts(self, members: Sequence[tuple[Task, Ask, int]]) -> list[Attempt]:
        name = name_of(self._spool.home, [(task.job, number) for task, _, number in members])
        now = datetime.now(UTC)
        return [
            Attempt(
                job=task.job,
                number=number,
                name=name,
                place=place if len(members) > 1 else None,
                priority_class=task.priority_class,
                cpus=task.cpus,
                ask=ask,
                intended_at=now,
                waiting_since=now,
                segments=self._spool.segments(task.job),
                heard_at=self._clock(),
            )
            for place, (task, ask, number) in enumerate(members)
        ]

    def _intend(self, attempts: Sequence[Attempt]) -> str:
        """Write down what is meant, and fence off what is older; the script that does it."""
        reach = self._require_distance(attempts[0].priority_class).reason
        self._ledger.note_each("job_intended", {each.job: {**intention(each), "reach": reach} for each in attempts})
        try:
            for each in attempts:
                self._spool.raise_fence(each.job, each.number)
            batch = self._spool.write_batch(attempts[0].name, [(each.job, each.number) for each in attempts])
        except OSError as error:
            # What else was submitted together is not forgotten for it; this one is found not to be, and tried again.
            raise SlurmError(f"the spool cannot be written: {error}", "unreachable") from error
        return slurm_script.script(self._profile, batch)

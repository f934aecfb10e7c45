"""Keeps track of attempts on Slurm: never twice, never lost, and with few questions.

An attempt is noted in the ledger, and older ones are fenced off, before it is submitted by a name that only it has.
After a crash the name finds what was taken; what was not is submitted as a new attempt, and whatever of an older one
turns up later finds the fence, and is canceled. One query serves all. Jobs ring, and one that left its result and
Slurm's word on where it ran needs no query.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_attempts import Attempt, follow, forgiven, put_off, recall
from hpcretrain.adapters.slurm_judge import Judge
from hpcretrain.adapters.slurm_reach import Reach
from hpcretrain.adapters.slurm_spool import SlurmSpool
from hpcretrain.adapters.slurm_submission import Submitter, Task
from hpcretrain.adapters.slurm_tender import Tender
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import SlurmError, SpoolError
from hpcretrain.policy.poll import LATELY_S, wait_s
from hpcretrain.policy.retry import Ask, Most, anew, interrupted_too_often, retry
from hpcretrain.policy.types import JobRules
from hpcretrain.ports import Ledger
from hpcretrain.records import Finding, Outcome
from hpcretrain.witnesses import Fate


class SlurmJobs:
    """The attempts of one home.

    Args:
        slurm: The door.
        profile: The site.
        rules: When an attempt is followed by another.
        spool: The folder that the nodes share.
        ledger: Gets a note before and after each act.
        clock: Seconds, ever increasing.
        asked: A file whose time tells when Slurm was asked last, for short runs that share it.
    """

    def __init__(
        self,
        slurm: Slurm,
        profile: ClusterProfile,
        rules: JobRules,
        spool: SlurmSpool,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
        asked: Path | None = None,
    ) -> None:
        self._slurm = slurm
        self._profile = profile
        self._rules = rules
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._reach = Reach(slurm, profile, clock)
        self._submitter = Submitter(slurm, profile, spool, ledger, self._reach, clock)
        self._judge = Judge(slurm, spool, ledger, clock, self._submitter.adopt, accounting=profile.status.accounting)
        self.attempts: dict[str, list[Attempt]] = recall(ledger, clock())
        self._tender = Tender(slurm, spool.home, ledger, self._submitter.adopt, self.attempts)
        self._forgiven = forgiven(ledger, self.attempts)
        self._distrusted = {note["serves"]: int(note["attempt"]) for note in ledger.notes("job_unproven")}
        self._asked = asked
        self._looked_at = clock() - _age_s(asked) if asked else -math.inf
        self._looks: deque[float] = deque()
        self._submitted_at = clock()
        self._failures = 0
        self._rung = False
        self._refusals = 0
        self._again_at: float | None = None
        self._lapses = 0
        self._spool_again_at = -float("inf")
        self._noted: Counter[str] = Counter()
        self.trouble = ""
        """Why Slurm's last answer was none; empty when it answered."""
        for each in self._open():
            self._judge.read(each)
            if each.number <= self._forgiven[each.job]:
                each.waiting_since = datetime.now(UTC)

    def look_ahead(self) -> None:
        """Start to ask Slurm what a submission must know, while the caller makes ready for it."""
        self._reach.look_ahead()

    def submit(self, tasks: Sequence[Task]) -> None:
        """Submit an attempt at each task; one that is under way already is left to it.

        What Slurm cannot take now is submitted by `follow_up`.

        Raises:
            SlurmError: Slurm refuses them, or could let them come near inference.
        """
        fresh = [task for task in tasks if not self._under_way(task.job)]
        self._submit([(task, self._ask(task)) for task in fresh])

    def newest(self, job: str) -> Attempt:
        """The attempt that counts."""
        return self.attempts[job][-1]

    def proofs(self, jobs: Iterable[str], *, anew: bool) -> dict[str, Finding] | None:
        """Whether all attempts at jobs, since the last that was distrusted, kept off the nodes that serve.

        Args:
            jobs: Jobs that are finished.
            anew: Ask Slurm which nodes serve, and do not rely on an earlier answer.

        Returns:
            A finding for each; None where Slurm does not answer now.

        Raises:
            SlurmError: Slurm knows nothing of what the cluster profile names.
        """
        if anew:
            if self._again_at is not None and self._clock() < self._again_at:
                return None
            self._reach.forget()
        try:
            return {job: self._reach.after(self._ran_on(job)) for job in jobs}
        except SlurmError as error:
            self._back_off(error)
            return None

    def distrust(self, job: str, found: Finding) -> None:
        """Let the result of a job not count, for want of proof."""
        number = self.newest(job).number
        self._ledger.note("job_unproven", job, attempt=number, outcome=found.outcome.value, reason=found.reason)
        self._distrusted[job] = number

    def look(self, awaited: Collection[str] = ()) -> bool:
        """Learn how the attempts stand: from what they wrote, and from Slurm, if it is time to ask.

        Args:
            awaited: The jobs that somebody waits for.

        Returns:
            Whether there may be something to do: for the caller, or for `follow_up`.
        """
        if self._clock() < self._spool_again_at:
            return False
        try:
            news = self._look(awaited)
        except (OSError, SpoolError) as error:
            self._wait_for_spool(error)
            return False
        self._lapses = 0
        return news

    def _wait_for_spool(self, error: Exception) -> None:
        """A shared file system that is away for a moment is waited out, as Slurm is."""
        self._lapses, self.trouble = self._lapses + 1, f"the spool cannot be used: {error}"
        self._spool_again_at = self._clock() + self._patience_s(self._lapses)

    def _look(self, awaited: Collection[str]) -> bool:
        news = self._listen()
        now = self._clock()
        while self._looks and self._looks[0] < now - LATELY_S:
            self._looks.popleft()
        wait = wait_s(
            every_s=self._profile.status.every_s,
            awaited=bool(awaited),
            rung=self._rung,
            quiet_s=now - max(self._submitted_at, self._judge.news_at),
            failures=self._failures,
            lately=len(self._looks),
        )
        if now - self._looked_at >= wait and (open_ := self._open()):
            self._looked_at, self._rung = now, False
            if self._asked:
                self._asked.touch(mode=0o600)
            self._looks.append(now)
            self._ask_slurm(open_)
            return True
        return news or (self._again_at is not None and now >= self._again_at)

    def follow_up(self, jobs: Collection[str]) -> dict[str, Finding]:
        """Submit a new attempt at each of the jobs that ended without a result; those that are given up, and why.

        Raises:
            SlurmError: Slurm refuses it.
        """
        if self._clock() < self._spool_again_at:
            return {}
        try:
            return self._follow_up(jobs)
        except (OSError, SpoolError) as error:
            self._wait_for_spool(error)
            # With nothing under way, nothing else would lead here again.
            self._again_at = self._spool_again_at
            return {}

    def _follow_up(self, jobs: Collection[str]) -> dict[str, Finding]:
        due = self._again_at is None or self._clock() >= self._again_at
        self._again_at = None if due else self._again_at
        given_up: dict[str, Finding] = {}
        again: list[tuple[Task, Ask]] = []
        for job in jobs:
            last = self.newest(job)
            if last.fate is Fate.FINISHED or self._undisturbed(last) or self._came_late(last):
                continue
            if refusal := self._overdue(last):
                given_up[job] = refusal
            elif not last.open:
                counted = [each.past for each in self._counted(job)] or [last.past]
                decided = retry(counted, self._rules, self._most(), by_us=last.by_us)
                if decided.ask is None:
                    given_up[job] = decided.finding
                else:
                    again.append((Task(job, last.priority_class, last.cpus), decided.ask))
        try:
            self.cancel(given_up)
            if again and due:
                # Whatever is left of the attempt before must not hold nodes beside its successor.
                last_ones = [self.newest(task.job) for task, _ in again]
                self._slurm.cancel({each.key: each.name for each in last_ones if each.key})
                self._submit(again)
        except SlurmError as error:
            self._back_off(error)
            return {}
        for job, finding in given_up.items():
            number = self.newest(job).number
            self._ledger.note("job_given_up", job, attempt=number, check=finding.check, reason=finding.reason)
        return given_up

    def cancel(self, jobs: Collection[str]) -> None:
        """Cancel what is under way of these jobs; each leaves a checkpoint if it can.

        Raises:
            SlurmError: Slurm does not answer.
        """
        under_way = {}
        for job in jobs:
            last = self.newest(job)
            if last.open and last.key:
                if not last.by_us:
                    self._ledger.note("job_canceled", job, attempt=last.number, slurm_job=str(last.key))
                last.by_us = True
                under_way[last.key] = last.name
        self._slurm.cancel(under_way)

    def note_calls(self) -> None:
        """Write down what was asked of Slurm since this was done last."""
        if calls := self._slurm.calls - self._noted:
            self._ledger.note("slurm_calls", self._spool.home, calls=dict(calls))
            self._noted += calls

    def _open(self) -> list[Attempt]:
        return [attempts[-1] for attempts in self.attempts.values() if attempts[-1].open]

    def _ran_on(self, job: str) -> dict[str, str]:
        return {
            f"attempt {each.number}.{life}": each.ran_on.get(life, "")
            for each in self.attempts[job]
            if each.number > self._distrusted.get(job, 0)
            for life in sorted(each.lives)
        }

    def _under_way(self, job: str) -> bool:
        if job not in self.attempts:
            return False
        last = self.newest(job)
        trusted = last.number > self._distrusted.get(job, 0)
        return self._came_late(last) or last.open or (last.fate is Fate.FINISHED and trusted)

    def _came_late(self, last: Attempt) -> bool:
        """Open an attempt again that had ended otherwise and yet has its result, which a new fence would hide."""
        if last.open or last.fate is Fate.FINISHED or last.number <= self._distrusted.get(last.job, 0):
            return False
        if not self._spool.has_result(last.job):
            return False
        last.fate, last.heard_at, self._rung = Fate.UNKNOWN, self._clock(), True
        return True

    def _counted(self, job: str) -> list[Attempt]:
        return [each for each in self.attempts.get(job, ()) if each.number > self._forgiven.get(job, 0)]

    def _ask(self, task: Task) -> Ask:
        """What the last attempt asked for; where a person runs it again, what the profile says now."""
        if self._counted(task.job):
            return self.newest(task.job).ask
        wanted = self._profile.classes.of(task.priority_class)
        past = [each.past for each in self.attempts.get(task.job, ())]
        return anew(Ask(wanted.memory_mb, wanted.time_limit_min), past, self._rules, self._most())

    def _submit(self, asked: Sequence[tuple[Task, Ask]]) -> None:
        numbered = [(task, ask, 1 + self._spool.newest_attempt(task.job)) for task, ask in asked]
        error: SlurmError | None = None
        try:
            for submission in self._submitter.submit(numbered) if numbered else ():
                self._submitted_at = self._clock()
                for each in submission.attempts:
                    before = self.attempts.setdefault(each.job, [])
                    follow(before, each)
                    before.append(each)
                if submission.error is None:
                    self._refusals = 0
                elif error is None or error.trouble != "refused":
                    error = submission.error
                if submission.error is not None:
                    self._not_taken(submission.attempts, submission.error)
        except SlurmError as unasked:
            error = unasked
        for task, ask in asked:
            if task.job not in self.attempts:
                self.attempts[task.job] = [put_off(task.job, task.priority_class, task.cpus, ask, str(error))]
        # A submission that was too large is halved: what counts is whether all were taken in the end.
        if error is not None and not all(self._taken(self.newest(task.job)) for task, _ in asked):
            self._back_off(error)

    @staticmethod
    def _taken(last: Attempt) -> bool:
        return last.open and last.submission is not None

    def _not_taken(self, attempts: Sequence[Attempt], error: SlurmError) -> None:
        """Where Slurm said that it did not take them they have ended; where it said nothing the queue will tell."""
        for each in attempts:
            each.why, each.heard_at = str(error), self._clock()
        if error.trouble != "unreachable":
            self._judge.end([(each, Fate.UNTAKEN, str(error)) for each in attempts])

    def _back_off(self, error: SlurmError) -> None:
        """Wait with the next request to Slurm; raise what would not go better then."""
        if error.trouble == "refused":
            raise error
        self._refusals, self.trouble = self._refusals + 1, str(error)
        self._again_at = self._clock() + self._patience_s(self._refusals)

    def _patience_s(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return wait_s(every_s=self._profile.status.every_s, awaited=True, rung=False, quiet_s=0, failures=failures)

    def _listen(self) -> bool:
        """Learn from the jobs that rang; whether one of them has ended."""
        ended = False
        for job, number in self._spool.rung():
            each = self.newest(job) if job in self.attempts else None
            if each is None or each.number != number:
                # It should not be at work.
                self._rung = True
            elif each.open:
                ended = self._judge.by_its_words(each) or ended
                # That one has begun is no news: it was bound to.
                if each.open and (each.submission is None or each.marker.ended is not None):
                    # News, since Slurm may need longer to requeue it than until the first answer.
                    self._rung, self._judge.news_at = True, self._clock()
        return ended

    def _ask_slurm(self, open_: Sequence[Attempt]) -> None:
        try:
            lines = {line.key: line for line in self._slurm.queue() if line.name.startswith(self._spool.prefix)}
            if self._failures:
                # While Slurm did not answer, it was not that it did not know them.
                for each in open_:
                    each.heard_at = self._clock()
            self._tender.recognize(lines.values())
            self._judge.by_all(open_, lines)
            self._tender.tend(lines)
        except SlurmError as error:
            self._failures, self.trouble = self._failures + 1, str(error)
        else:
            self._failures, self.trouble = 0, self._judge.trouble

    def _undisturbed(self, last: Attempt) -> bool:
        """Whether nothing can be due about a first attempt that goes on: most of a thousand jobs at each look."""
        return last.open and not last.restarts and self._rules.queue_deadline_h is None and last.number == 1

    def _overdue(self, last: Attempt) -> Finding | None:
        """Why a job that may yet go on is to be given up; None while it is not."""
        if last.open:
            interruptions = sum(each.restarts for each in self._counted(last.job))
            if refusal := interrupted_too_often(interruptions, self._rules):
                return refusal
        elif last.fate is not Fate.UNTAKEN:
            return None
        deadline = self._rules.queue_deadline_h
        if deadline is None or last.waiting_since is None:
            return None
        hours = (datetime.now(UTC) - last.waiting_since).total_seconds() / 3600
        if hours < deadline:
            return None
        reason = "in the queue longer than the policy's jobs.queue_deadline_h; it was withdrawn, its checkpoint is kept"
        return Finding(check="queue:deadline", outcome=Outcome.FAIL, reason=reason, observed=hours, limit=deadline)

    def _most(self) -> Most:
        return Most(self._profile.limits.most_memory_mb, self._profile.limits.most_time_min)


def _age_s(path: Path) -> float:
    """Seconds since a file was touched; infinite where there is none."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return math.inf

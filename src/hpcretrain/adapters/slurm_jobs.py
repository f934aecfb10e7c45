"""Keeps track of attempts on Slurm: never twice, never lost, and with few questions.

An attempt is noted in the ledger, and older ones are fenced off, before it is submitted by a name that only it has.
After a crash the name finds what was taken; what was not is submitted as a new attempt, and whatever of an older one
turns up later finds the fence, and is cancelled. One query serves all; jobs ring when there is something to see.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_attempts import Attempt, recall
from hpcretrain.adapters.slurm_output import History, Key, QueueLine
from hpcretrain.adapters.slurm_reach import Reach
from hpcretrain.adapters.slurm_spool import SlurmSpool
from hpcretrain.adapters.slurm_submission import Submitter, Task
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import SlurmError
from hpcretrain.policy.fate import PATIENCE_S, after, fate
from hpcretrain.policy.poll import wait_s
from hpcretrain.policy.retry import Ask, Most, interrupted_too_often, retry
from hpcretrain.policy.types import JobRules
from hpcretrain.ports import Ledger
from hpcretrain.records import Finding, Outcome
from hpcretrain.witnesses import ALIVE, ENDED, Accounted, Fate, Queued, Witnesses

# A clock of the cluster may be behind the controller's.
_CLOCKS_DIFFER = timedelta(minutes=10)


class SlurmJobs:
    """The attempts of one home.

    Args:
        slurm: The door.
        profile: The site.
        rules: When an attempt is followed by another.
        spool: The folder that the nodes share.
        ledger: Gets a note before and after each act.
        clock: Seconds, ever increasing.
    """

    def __init__(
        self,
        slurm: Slurm,
        profile: ClusterProfile,
        rules: JobRules,
        spool: SlurmSpool,
        ledger: Ledger,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slurm = slurm
        self._profile = profile
        self._rules = rules
        self._spool = spool
        self._ledger = ledger
        self._clock = clock
        self._reach = Reach(slurm, profile, clock)
        self._submitter = Submitter(slurm, profile, spool, ledger, self._reach, clock)
        self.attempts: dict[str, list[Attempt]] = recall(ledger, clock())
        # Attempts that ended in an earlier life of the controller do not count against the job: a person ran it again.
        self._forgiven = {job: sum(not each.open for each in attempts) for job, attempts in self.attempts.items()}
        self._distrusted = {note["serves"]: int(note["attempt"]) for note in ledger.notes("job_unproven")}
        self._looked_at = -float("inf")
        self._news_at = clock()
        self._failures = 0
        self._rung = False
        self._submit_again_at = -float("inf")
        self._cancelled: set[Key] = set()
        self.trouble = ""
        """Why Slurm's last answer was none; empty when it answered."""

    def prepare(self) -> None:
        """Hear that something will be submitted soon: what Slurm must be asked beforehand is asked meanwhile."""
        self._reach.ask_ahead()

    def submit(self, tasks: Sequence[Task]) -> None:
        """Submit an attempt at each task; one that is under way already is left to it.

        Raises:
            SlurmError: Slurm refuses them, or could let them come near inference.
        """
        fresh = [task for task in tasks if not self._under_way(task.job)]
        self._submit([(task, self._ask(task)) for task in fresh])

    def newest(self, job: str) -> Attempt:
        """The attempt that counts."""
        return self.attempts[job][-1]

    def proof(self, job: str) -> Finding:
        """Whether all attempts at a job, since the last that was distrusted, kept off the nodes that serve.

        Raises:
            SlurmError: Slurm does not say which nodes serve.
        """
        return self._reach.after(
            {
                f"attempt {each.number}.{life}": each.ran_on.get(life, "")
                for each in self.attempts[job]
                if each.number > self._distrusted.get(job, 0)
                for life in sorted({*each.ran_on, *_lives(each)})
            }
        )

    def distrust(self, job: str, found: Finding) -> None:
        """Let the result of a job not count, for want of proof."""
        number = self.newest(job).number
        self._ledger.note("job_unproven", job, attempt=number, outcome=found.outcome.value, reason=found.reason)
        self._distrusted[job] = number

    def _under_way(self, job: str) -> bool:
        if job not in self.attempts:
            return False
        last = self.newest(job)
        return last.open or (last.fate is Fate.FINISHED and last.number > self._distrusted.get(job, 0))

    def _ask(self, task: Task) -> Ask:
        """What the last attempt asked for, since that was learned; else what the class gives."""
        if task.job in self.attempts:
            return self.newest(task.job).ask
        wanted = self._profile.classes.of(task.priority_class)
        return Ask(wanted.memory_mb, wanted.time_limit_min)

    def _submit(self, asked: Sequence[tuple[Task, Ask]]) -> None:
        numbered = [(task, ask, 1 + self._spool.newest_attempt(task.job)) for task, ask in asked]
        for submission in self._submitter.submit(numbered) if numbered else ():
            for each in submission.attempts:
                self.attempts.setdefault(each.job, []).append(each)
            if submission.error is not None:
                self._not_taken(submission.attempts, submission.error)
            self._news_at = self._clock()

    def _not_taken(self, attempts: Sequence[Attempt], error: SlurmError) -> None:
        """Where Slurm said that it did not take them they have ended; where it said nothing the queue will tell."""
        for each in attempts:
            each.why, each.heard_at = str(error), self._clock()
            if error.trouble != "unreachable":
                self._end(each, Fate.UNTAKEN, str(error))
        if error.trouble == "refused":
            raise error
        self._failures, self.trouble = self._failures + 1, str(error)
        self._looked_at = self._submit_again_at = self._clock()
        self._submit_again_at += wait_s(
            every_s=self._profile.status.every_s, awaited=True, rung=False, quiet_s=0, failures=self._failures
        )

    def look(self, awaited: Collection[str] = ()) -> bool:
        """Ask Slurm how the attempts stand, if it is time to; whether it was.

        Args:
            awaited: The jobs that somebody waits for.
        """
        rung = self._spool.rung()
        self._rung = self._rung or bool(rung)
        for job in rung & set(self.attempts):
            self._read_marker(self.newest(job))
        open_ = [attempts[-1] for attempts in self.attempts.values() if attempts[-1].open]
        now = self._clock()
        wait = wait_s(
            every_s=self._profile.status.every_s,
            awaited=bool(awaited),
            rung=self._rung,
            quiet_s=now - self._news_at,
            failures=self._failures,
        )
        if not open_ or now - self._looked_at < wait:
            return False
        self._looked_at, self._rung = now, False
        try:
            lines = {line.key: line for line in self._slurm.queue() if line.name.startswith(self._spool.prefix)}
            self._recognize(lines.values())
            self._judge(open_, lines)
            self._start_requeued(lines.values())
        except SlurmError as error:
            self._failures, self.trouble = self._failures + 1, str(error)
        else:
            self._failures, self.trouble = 0, ""
        return True

    def _recognize(self, lines: Iterable[QueueLine]) -> None:
        """Adopt what was taken without our knowing, and cancel what is not, or no longer, the attempt that counts."""
        known = {(each.name, each.place): each for attempts in self.attempts.values() for each in attempts}
        superfluous: dict[Key, str] = {}
        for line in sorted(lines, key=lambda line: line.key.submission):
            each = known.get((line.name, line.key.place))
            if each is not None and each.submission is None and each is self.newest(each.job) and each.open:
                mates = [mate for mate in known.values() if mate.name == each.name and mate.submission is None]
                self._submitter.note_taken(mates, line.key.submission, adopted=True)
            current = each is not None and each.key == line.key and each is self.newest(each.job)
            if not current and line.key not in self._cancelled and fate(Witnesses(queued=line.seen))[0] in ALIVE:
                superfluous[line.key] = line.name
                self._ledger.note(
                    "job_duplicate",
                    each.job if each else self._spool.home,
                    slurm_job=str(line.key),
                    name=line.name,
                    attempt=each.number if each else None,
                )
        self._slurm.cancel(superfluous)
        self._cancelled |= set(superfluous)

    def _judge(self, attempts: Sequence[Attempt], lines: Mapping[Key, QueueLine]) -> None:
        seen = {each.job: lines[each.key].seen if each.key in lines else None for each in attempts if each.key}
        for each in attempts:
            queued = seen.get(each.job)
            if queued is None or fate(Witnesses(queued=queued))[0] in ENDED:
                self._read_marker(each)
        histories = self._accounting([each for each in attempts if _asks_accounting(each, seen.get(each.job))])
        for each in attempts:
            history = histories.get(each.key) if histories and each.key else None
            self._judge_one(each, seen.get(each.job), history.lives if history else (), histories is not None)

    def _accounting(self, wanted: Sequence[Attempt]) -> dict[Key, History] | None:
        """What accounting knows of these; None where it does not answer."""
        if not self._profile.status.accounting or not wanted:
            return None
        since = min(each.intended_at for each in wanted) - _CLOCKS_DIFFER
        try:
            return {each.key: each for each in self._slurm.accounting({each.name for each in wanted}, since)}
        except SlurmError as error:
            self.trouble = str(error)
            return None

    def _judge_one(self, each: Attempt, queued: Queued | None, lives: tuple[Accounted, ...], answered: bool) -> None:
        now = self._clock()
        _learn(each, queued, lives)
        told, why = fate(
            Witnesses(
                queued=queued,
                queue_answered=True,
                lives=lives,
                accounting_answered=answered,
                has_accounting=self._profile.status.accounting,
                taken=each.submission is not None,
                marker=each.marker,
                silent_s=now - each.heard_at,
            )
        )
        become = after(each.fate, told)
        if queued is not None:
            each.heard_at = now
        if become is not each.fate:
            self._news_at = now
        if become is Fate.FINISHED and self._lacks_proof(each) and now - each.heard_at < PATIENCE_S:
            each.why = "it has its result; Slurm has not told yet where all its lives ran"
        elif become in ENDED:
            self._end(each, become, why)
        else:
            if become is not Fate.WAITING:
                each.waiting_since = None
            elif each.waiting_since is None:
                each.waiting_since = datetime.now(UTC)
            each.fate, each.why = become, why

    def _lacks_proof(self, each: Attempt) -> bool:
        for life in _lives(each) - set(each.ran_on):
            if nodes := self._spool.nodes_told(each, life):
                each.ran_on[life] = nodes
        return not _lives(each) <= set(each.ran_on)

    def _read_marker(self, each: Attempt) -> None:
        each.marker = self._spool.marker(each)
        each.restarts = max(each.restarts, each.marker.restart)

    def _end(self, each: Attempt, become: Fate, why: str) -> None:
        self._lacks_proof(each)
        each.fate, each.why = become, why
        each.progress = self._spool.segments(each.job) > each.segments
        self._ledger.note(
            "job_ended",
            each.job,
            attempt=each.number,
            fate=become.value,
            why=why,
            restarts=each.restarts,
            progress=each.progress,
            by_us=each.by_us,
            ran_on={str(life): nodes for life, nodes in sorted(each.ran_on.items())},
        )

    def _start_requeued(self, lines: Iterable[QueueLine]) -> None:
        """Slurm lets a requeued job wait until its old credentials have expired; its owner need not."""
        self._slurm.start_now(
            [
                line.key
                for line in lines
                if line.seen.state == "PENDING" and line.seen.reason == "BeginTime" and line.seen.restarts
            ]
        )

    def follow_up(self, jobs: Collection[str]) -> dict[str, Finding]:
        """Submit a new attempt at each of the jobs that ended without a result; those that are given up, and why."""
        given_up: dict[str, Finding] = {}
        again: list[tuple[Task, Ask]] = []
        for job in jobs:
            last = self.newest(job)
            if last.open:
                if refusal := self._overdue(last):
                    self.cancel([job])
                    given_up[job] = refusal
            elif last.fate is not Fate.FINISHED:
                counted = self.attempts[job][self._forgiven.get(job, 0) :]
                decided = retry([each.past for each in counted], self._rules, self._most(), by_us=last.by_us)
                if decided.ask is None:
                    given_up[job] = decided.finding
                else:
                    again.append((Task(job, last.priority_class, last.cpus), decided.ask))
        if again and self._clock() >= self._submit_again_at:
            # Whatever is left of an earlier attempt must not hold nodes beside its successor.
            self._slurm.cancel({each.key for task, _ in again for each in self.attempts[task.job] if each.key})
            self._submit(again)
        for job, finding in given_up.items():
            self._ledger.note("job_given_up", job, check=finding.check, reason=finding.reason)
        return given_up

    def cancel(self, jobs: Collection[str]) -> None:
        """Cancel what is under way of these jobs; each leaves a checkpoint if it can."""
        keys = set()
        for job in jobs:
            last = self.newest(job)
            if last.open and last.key:
                self._ledger.note("job_cancelled", job, attempt=last.number, slurm_job=str(last.key))
                last.by_us = True
                keys.add(last.key)
        self._slurm.cancel(keys)

    def _overdue(self, last: Attempt) -> Finding | None:
        if refusal := interrupted_too_often(sum(each.restarts for each in self.attempts[last.job]), self._rules):
            return refusal
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


def _lives(each: Attempt) -> set[int]:
    """The lives of an attempt that had a node: one before each restart, and the last if it began."""
    return {*range(each.restarts), *([each.restarts] if each.marker.begun else [])}


def _asks_accounting(each: Attempt, queued: Queued | None) -> bool:
    """Whether the queue is not enough: it forgot the job, tells an end without saying why, or only the last life."""
    if queued is None:
        return each.submission is not None
    if each.marker.result:
        return any(life not in each.ran_on for life in range(queued.restarts))
    return fate(Witnesses(queued=queued))[0] in ENDED


def _learn(each: Attempt, queued: Queued | None, lives: Sequence[Accounted]) -> None:
    for life, told in enumerate(lives):
        if told.nodes:
            each.ran_on[life] = told.nodes
    if queued is not None:
        each.restarts = max(each.restarts, queued.restarts)
        if queued.nodes:
            each.ran_on[queued.restarts] = queued.nodes

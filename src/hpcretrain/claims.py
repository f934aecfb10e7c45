"""What one home claims of what is shared: from its records, and from what its jobs used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from hpcretrain.backlog import Entry, Risk, Running, Spent, Waiting
from hpcretrain.history import Cycle, History
from hpcretrain.policy.admit import month_of
from hpcretrain.policy.types import Policy
from hpcretrain.records import Closing, Job, PriorityClass, ReleaseKind

_DURATIONS = 5
"""So many trainings, the newest, tell how long one takes."""
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Home:
    """A home, as far as its claims go.

    Attributes:
        name: A name that no other home has.
        model: Its model.
        team: Whose model it is; None where nobody said.
        threads: Threads of a training.
        after: What must be refreshed before it is trained again.
        policy: Its policy.
        history: Its records.
        cpu_s: What its jobs used that have ended, by their identifiers.
    """

    name: str
    model: str
    team: str | None
    threads: int
    after: tuple[str, ...]
    policy: Policy
    history: History
    cpu_s: Mapping[str, float]

    @property
    def hours(self) -> float:
        """Expected hours from a decision to what comes of it: of the newest trainings, or else the policy's."""
        taken = [
            (ended.at - cycle.run.at) / HOUR
            for cycle in self.history.cycles
            if cycle.run
            and not cycle.broken_off
            and (ended := cycle.release or cycle.review)
            and ended.at > cycle.run.at
        ]
        return median(taken[-_DURATIONS:]) if taken else self.policy.classes.expected_hours

    def cpu_hours(self, cost_mrow_passes: float) -> float:
        """Expected CPU hours of a modeled cost: at the rate of all jobs so far, or else as the policy expects."""
        known = self.history.known
        done = [(known[job], used) for job, used in self.cpu_s.items() if job in known]
        cost = sum(job.cost_mrow_passes for job, _ in done if isinstance(job, Job))
        if cost <= 0:
            return self.policy.classes.expected_hours * self.threads
        return cost_mrow_passes * sum(used for _, used in done) / cost / 3600

    def waiting(
        self, cycle: Cycle, priority_class: PriorityClass, cost_mrow_passes: float, lacks: str | None,
        not_before: datetime | None = None,
    ) -> Waiting:  # fmt: skip
        """The claim of a request that waits."""
        return Waiting(
            request=cycle.request.id,
            model=self.model,
            team=self.team,
            priority_class=priority_class,
            asked_at=self._asked_at(cycle),
            hours=self.hours,
            cpu_hours=self.cpu_hours(cost_mrow_passes),
            deadline=self.history.deadline(cycle),
            by=cycle.in_person,
            lacks=lacks,
            not_before=not_before,
            after=self.after,
            trained_at=self.history.last_run,
        )

    def entry(self, now: datetime, waiting: Waiting | None) -> Entry:
        """All that it claims."""
        running = tuple(
            Running(
                request=cycle.request.id,
                model=self.model,
                team=self.team,
                priority_class=cycle.run.priority_class,
                since=cycle.run.at,
                cpu_hours=self.cpu_hours(cycle.run.cost_mrow_passes),
                ends=cycle.run.at + self.hours * HOUR,
            )
            for cycle in self.history.cycles
            if cycle.under_way and cycle.run
        )
        serving = self.history.releases[-1].at if self.history.releases else None
        return Entry(
            self.name,
            self.model,
            now,
            (waiting,) if waiting else (),
            running,
            self._spent(),
            self._risks(now),
            serving,
        )

    def _asked_at(self, cycle: Cycle) -> datetime:
        """When it was asked first: a request that took the place of one that waited keeps its turn."""
        at, successor = cycle.request.at, cycle.request
        cycles = self.history.cycles
        for before in reversed(cycles[: cycles.index(cycle)]):
            ended = before.review
            if (
                ended is None
                or ended.closing is not Closing.SUPERSEDED
                or not set(ended.answers) & set(successor.answers)
            ):
                break
            at, successor = before.request.at, before.request
        return at

    def _spent(self) -> tuple[Spent, ...]:
        """CPU hours by the month in which they were ordered; a job without an account used what it was expected to."""
        rules = self.policy.admission
        months: dict[str, float] = defaultdict(float)
        if rules is None:
            return ()
        for cycle in self.history.cycles:
            if cycle.run is None or cycle.under_way:
                continue
            for job in cycle.jobs:
                used = self.cpu_s.get(job.id)
                hours = self.cpu_hours(job.cost_mrow_passes) if used is None else used / 3600
                months[month_of(cycle.run.at, rules)] += hours
        return tuple(Spent(self.model, self.team, month, hours) for month, hours in sorted(months.items()))

    def _risks(self, now: datetime) -> tuple[Risk, ...]:
        rules = self.policy.admission
        found: list[Risk] = []
        if rules is None or rules.risk is None:
            return ()
        for cycle in self.history.cycles:
            if cycle.release and cycle.run:
                points = rules.of(cycle.run.priority_class).risk_points
                found.append(Risk(self.model, self.team, cycle.release.at, points))
        back = [each for each in self.history.releases if each.release_kind is ReleaseKind.ROLLBACK]
        found += [Risk(self.model, self.team, each.at, rules.risk.rollback_points) for each in back]
        return tuple(each for each in found if each.at > now - timedelta(days=rules.risk.days))

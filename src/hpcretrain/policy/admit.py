"""In which order requests get what they share, and which of them may begin now; each rule a finding with its numbers.

A request's turn is the time it was asked plus its class's delay, and never changes but forward; so whoever waits is
overtaken only by what was asked within its class's delay after it, and by nothing that is asked later, however much.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, lru_cache

from hpcretrain.backlog import ALL, Entry, Risk, Running, Shared, Spent, Stop, Waiting
from hpcretrain.evidence import Finding, Outcome, PriorityClass
from hpcretrain.policy.types.admission import Admission
from hpcretrain.priority import BUILT_IN


@dataclass(frozen=True)
class State:
    """What is shared, as far as it is known.

    Attributes:
        running: Trainings under way.
        spent: CPU hours of trainings that have ended, by month.
        risks: Releases and roll-backs with their points.
        stops: Stops that stand.
        site: Findings about the site, by class: whether the cluster answers, and what is left for serving.
        refreshed: When what requests wait for was refreshed last, by name; None where nobody knows.
        troubles: What could not be read: what is not known may be in use.
    """

    running: Sequence[Running] = ()
    spent: Sequence[Spent] = ()
    risks: Sequence[Risk] = ()
    stops: Sequence[Stop] = ()
    site: Mapping[PriorityClass, tuple[Finding, ...]] = field(default_factory=dict)
    refreshed: Mapping[str, datetime | None] = field(default_factory=dict)
    troubles: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Admitted:
    """What the rules say of one request: its place in the order, from 1, and the findings."""

    request: Waiting
    place: int
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst of the findings."""
        return Outcome.worst(finding.outcome for finding in self.findings)

    @property
    def runs(self) -> bool:
        """Whether it may begin now: nothing shared is lacking, and nothing of its own."""
        return self.request.lacks is None and _pass(self.findings)


def turn(request: Waiting, rules: Admission) -> datetime:
    """When a request's turn is: the earlier, the sooner it is served.

    A deadline brings it forward to the latest time at which it could begin, but not before it was asked: otherwise
    requests with deadlines could pass one that waits for ever.
    """
    usual = request.asked_at + timedelta(hours=rules.of(request.priority_class).delay_hours)
    if request.deadline is None:
        return usual
    latest = request.deadline - timedelta(hours=request.hours)
    return max(request.asked_at, min(usual, latest))


def ordered(backlog: Iterable[Waiting], rules: Admission) -> list[Waiting]:
    """Requests in the order of their turns."""
    return sorted(backlog, key=lambda each: (turn(each, rules), each.asked_at, each.request))


def merged(backlog: Iterable[Waiting], order: Sequence[PriorityClass] = BUILT_IN) -> list[Waiting]:
    """One request a model: the newest, with the earliest time and deadline and the most urgent class of all.

    Args:
        backlog: The requests.
        order: The classes, most urgent first; what is not among them is as the last.
    """
    of: dict[str, Waiting] = {}
    for each in sorted(backlog, key=lambda one: (one.asked_at, one.request)):
        before = of.get(each.model)
        of[each.model] = each if before is None else _both(before, each, order)
    return list(of.values())


def _both(before: Waiting, newest: Waiting, order: Sequence[PriorityClass]) -> Waiting:
    rank = {each: place for place, each in enumerate(order)}
    return replace(
        newest,
        asked_at=before.asked_at,
        priority_class=min(before.priority_class, newest.priority_class, key=lambda one: rank.get(one, len(rank) - 1)),
        deadline=min((one.deadline for one in (before, newest) if one.deadline), default=None),
        by=newest.by or before.by,
    )


def gather(
    entries: Sequence[Entry], rules: Admission, now: datetime, order: Sequence[PriorityClass] = BUILT_IN
) -> tuple[list[Waiting], State]:
    """The backlog and the state that the entries of all homes come to.

    What a home that fell silent waits for keeps no place, so that it holds up nobody; what it reserved counts on.
    """
    heard = now - timedelta(hours=rules.silent_hours)
    backlog = merged((each for entry in entries for each in entry.waiting if entry.at >= heard), order)
    models = {entry.model: entry.refreshed_at for entry in entries}
    state = State(
        running=tuple(each for entry in entries for each in entry.running),
        spent=tuple(each for entry in entries for each in entry.spent),
        risks=tuple(each for entry in entries for each in entry.risks),
        refreshed=models,
    )
    return backlog, state


def admit(backlog: Sequence[Waiting], state: State, rules: Admission, now: datetime) -> list[Admitted]:
    """What may begin now, in the order of turns.

    Whoever is ahead takes a slot and hours first, if nothing of its own keeps it, though its home may begin only later:
    nobody further back takes them meanwhile.

    Args:
        backlog: Requests that wait, one a model.
        state: What is shared.
        rules: The policy's.
        now: The time.

    Returns:
        One for each request, in order.
    """
    desk = _Admission(state, rules, now)
    return [desk.judge(request, place) for place, request in enumerate(ordered(backlog, rules), start=1)]


def about(
    request: Waiting,
    shared: Shared,
    stops: Sequence[Stop],
    rules: Admission,
    now: datetime,
    order: Sequence[PriorityClass] = BUILT_IN,
) -> Admitted:
    """What the rules say of one request among all that the board tells.

    Args:
        request: The request, as it stands now.
        shared: What is shared.
        stops: Stops that stand for this model.
        rules: The policy's.
        now: The time.
        order: The policy's classes, most urgent first.
    """
    backlog, state = gather(shared.entries, rules, now, order)
    state = replace(
        state,
        stops=(*stops, *((shared.stop,) if shared.stop else ())),
        site={request.priority_class: shared.site},
        refreshed={**state.refreshed, **shared.refreshed},
        troubles=shared.troubles,
    )
    others = [each for each in backlog if each.model != request.model]
    found = admit([*others, request], state, rules, now)
    return next(each for each in found if each.request is request)


def hours_left(request: Waiting, shared: Shared, rules: Admission, now: datetime) -> float | None:
    """CPU hours that the budgets leave for a request; None where they say nothing of it."""
    if rules.hours is None:
        return None
    _, state = gather(shared.entries, rules, now)
    nothing = replace(request, cpu_hours=0.0)
    found = _Admission(state, rules, now).judge(nothing, 1).findings
    left = [
        float(each.limit) - float(each.observed)
        for each in found
        if each.check.startswith("hours:")
        and isinstance(each.limit, int | float)
        and isinstance(each.observed, int | float)
    ]
    return min(left, default=None)


class _Admission:
    """What is left, as one request after the other takes its part."""

    def __init__(self, state: State, rules: Admission, now: datetime) -> None:
        self._state, self._rules, self._now = state, rules, now
        self._month = rules.month_of(now)
        self._in_class: dict[PriorityClass, int] = defaultdict(int)
        self._of_model: dict[str, list[PriorityClass]] = defaultdict(list)
        self._hours: dict[tuple[str, str], float] = defaultdict(float)
        self._reserved: dict[tuple[str, str], float] = defaultdict(float)
        self._risk: dict[tuple[str, str], float] = defaultdict(float)
        for each in state.running:
            self._in_class[each.priority_class] += 1
            self._of_model[each.model].append(each.priority_class)
            if rules.month_of(each.since) == self._month:
                self._add(self._reserved, each.model, each.team, each.cpu_hours)
        self._all = len(state.running)
        for spent in state.spent:
            if spent.month == self._month:
                self._add(self._hours, spent.model, spent.team, spent.cpu_hours)
        if rules.risk:
            since = now - timedelta(days=rules.risk.days)
            for risk in state.risks:
                if risk.at > since:
                    self._add(self._risk, risk.model, risk.team, risk.points)
        # The same for all of a class, so they are made once.
        self._stopped = cache(self._stop)

    def judge(self, request: Waiting, place: int) -> Admitted:
        """The findings about the next request; what it takes is taken."""
        own = (
            *self._stopped(request.priority_class),
            *self._state.troubles,
            *self._state.site.get(request.priority_class, ()),
            *self._deadline(request),
            *self._after(request),
            *self._risks(request),
            *self._budgets(request),
        )
        slots = self._slots(request)
        if request.lacks is None and _pass(own):
            self._take(request, runs=_pass(slots))
        return Admitted(request, place, (*own, *slots))

    def _take(self, request: Waiting, *, runs: bool) -> None:
        self._add(self._reserved, request.model, request.team, request.cpu_hours)
        if not runs:
            return
        lesser = self._of_model.pop(request.model, [])
        for each in lesser:
            self._in_class[each] -= 1
        self._all += 1 - len(lesser)
        self._in_class[request.priority_class] += 1

    def _slots(self, request: Waiting) -> tuple[Finding, ...]:
        """Room under the limits; a lesser training of the same model gives way, so its slot does not count."""
        own, name = self._of_model.get(request.model, ()), request.priority_class.value
        in_class = self._in_class[request.priority_class] - sum(each is request.priority_class for each in own)
        limit = self._rules.of(request.priority_class).most_running
        return (
            _under(f"running:{name}", in_class, limit, f"trainings of class {name} under way or ahead"),
            _under("running:all", self._all - len(own), self._rules.most_running, "trainings under way or ahead"),
        )

    def _stop(self, priority_class: PriorityClass) -> tuple[Finding, ...]:
        scopes = {"", ALL, priority_class.value}
        if priority_class is PriorityClass.BACKGROUND:
            # A class that is no more is taken for the background, and so is a stop of it.
            scopes |= {each.scope for each in self._state.stops} - {*BUILT_IN, *self._rules.further}
        standing = [each for each in self._state.stops if each.scope in scopes]
        if not standing:
            return (Finding(check="stop", outcome=Outcome.PASS, reason="nothing is stopped", observed=0, limit=0),)
        return tuple(stopped(each) for each in standing)

    def _deadline(self, request: Waiting) -> tuple[Finding, ...]:
        if request.deadline is None:
            return ()
        left = (request.deadline - self._now) / timedelta(hours=1)
        if left <= 0:
            outcome, said = Outcome.FAIL, "passed: say whether it is still wanted; request it anew, or cancel it"
        elif left < request.hours:
            outcome, said = Outcome.PASS, "near: hours left are fewer than it is expected to take"
        else:
            outcome, said = Outcome.PASS, "ahead: hours left, and hours that it is expected to take"
        reason = f"the deadline {request.deadline:%Y-%m-%d %H:%M} is {said}"
        return (Finding(check="deadline", outcome=outcome, reason=reason, observed=left, limit=request.hours),)

    def _after(self, request: Waiting) -> tuple[Finding, ...]:
        return tuple(self._newer(name, request) for name in request.after)

    def _newer(self, name: str, request: Waiting) -> Finding:
        check = f"after:{name}"
        at, last = self._state.refreshed.get(name), request.trained_at
        limit = last.isoformat(timespec="seconds") if last else "never trained"
        if at is None:
            reason = f"nobody knows when {name} was refreshed: no home of the board has such a model, and no file is it"
            return Finding(check, Outcome.INSUFFICIENT, reason, "never heard of", limit)
        seen = at.isoformat(timespec="seconds")
        if any(each.model == name for each in self._state.running):
            return Finding(check, Outcome.WAIT, f"{name} is being trained; this one comes after it", seen, limit)
        newer = last is None or at > last
        return Finding(
            check=check,
            outcome=Outcome.PASS if newer else Outcome.WAIT,
            reason=f"{name} must have been refreshed since this model was trained last",
            observed=seen,
            limit=limit,
        )

    def _risks(self, request: Waiting) -> tuple[Finding, ...]:
        rules = self._rules.risk
        if rules is None:
            return ()
        points = self._rules.of(request.priority_class).risk_points
        found = []
        for what, name, limit in (("model", request.model, rules.model), ("team", request.team, rules.team)):
            if limit is None:
                continue
            if name is None:
                found.append(_no_team("risk:team", limit, f"points in {rules.days:g} days"))
                continue
            spent = self._risk[what, name]
            found.append(
                Finding(
                    check=f"risk:{what}",
                    outcome=Outcome.PASS if spent + points <= limit else Outcome.WAIT,
                    reason=f"{name} spent {spent:.4g} points in {rules.days:g} days; this would spend {points:.4g}",
                    observed=spent + points,
                    limit=limit,
                )
            )
        return tuple(found)

    def _budgets(self, request: Waiting) -> tuple[Finding, ...]:
        rules = self._rules.hours
        if rules is None:
            return ()
        found = []
        for what, name, limit in (
            ("model", request.model, rules.model),
            ("team", request.team, rules.team),
            ("all", "", rules.all),
        ):
            if limit is None:
                continue
            if name is None:
                found.append(_no_team("hours:team", limit, "CPU hours a month"))
                continue
            settled, reserved = self._hours[what, name], self._reserved[what, name]
            total = settled + reserved + request.cpu_hours
            found.append(
                Finding(
                    check=f"hours:{what}",
                    outcome=Outcome.PASS if total <= limit else Outcome.WAIT,
                    reason=f"CPU hours of {name or 'all homes'} in {self._month}: {settled:.4g} used, "
                    f"{reserved:.4g} reserved, {request.cpu_hours:.4g} asked",
                    observed=total,
                    limit=limit,
                )
            )
        return tuple(found)

    @staticmethod
    def _add(tally: dict[tuple[str, str], float], model: str, team: str | None, amount: float) -> None:
        tally["model", model] += amount
        tally["all", ""] += amount
        if team is not None:
            tally["team", team] += amount


def _pass(findings: Iterable[Finding]) -> bool:
    return all(finding.outcome is Outcome.PASS for finding in findings)


@lru_cache(maxsize=1024)
def _under(check: str, seen: int, limit: int, what: str) -> Finding:
    outcome = Outcome.PASS if seen < limit else Outcome.WAIT
    return Finding(check=check, outcome=outcome, reason=f"{seen} {what}", observed=seen, limit=limit)


def _no_team(check: str, limit: float, unit: str) -> Finding:
    return Finding(
        check=check,
        outcome=Outcome.INSUFFICIENT,
        reason=f"the policy gives a team {limit:.4g} {unit}, and nobody said whose model this is: set model.team",
        observed="no team",
        limit=limit,
    )


def stopped(stop: Stop) -> Finding:
    """The finding about a stop that stands."""
    return Finding(
        check="stop",
        outcome=Outcome.WAIT,
        reason=f"{stop.by} stopped {_scope(stop.scope)} at {stop.at:%Y-%m-%d %H:%M}Z: {stop.reason}; "
        "`hpcretrain resume` lifts it",
        observed=1,
        limit=0,
    )


def _scope(scope: str) -> str:
    return {"": "this model", ALL: "every model"}.get(scope, f"class {scope}")

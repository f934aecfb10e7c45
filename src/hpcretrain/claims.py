"""What a home claims of what is shared, and what the rules on sharing make of a decision: pure functions of records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from hpcretrain.backlog import MODEL, Entry, Means, Risk, Running, Shared, Spent, Stop, Waiting
from hpcretrain.cycle import Cycle
from hpcretrain.history import History
from hpcretrain.policy import admit, endanger, pay
from hpcretrain.policy import decide as choices
from hpcretrain.policy import scope as scopes
from hpcretrain.policy.types import Admission, Policy, Training
from hpcretrain.records import (
    Action,
    Closing,
    Facts,
    Finding,
    Job,
    Outcome,
    PriorityClass,
    ReleaseKind,
)

_DURATIONS = 5
"""So many trainings, the newest, tell how long one takes."""
SHARED = ("running:", "hours:", "risk:", "board")
"""Checks about what is shared; every other is a home's own, and what lacks it keeps nobody from his slot."""
_PASSING = (*SHARED, "stop", "window", "cluster", "headroom:", endanger.CHECK)
"""Checks that may pass at any time, not only with new rows."""
_HOUR = timedelta(hours=1)


def means(
    history: History, cpu_s: Mapping[str, float], policy: Policy, threads: int, team: str | None, after: tuple[str, ...]
) -> Means:
    """What a home reckons with.

    Args:
        history: Its records.
        cpu_s: What its jobs used that have ended, by their identifiers.
        policy: Its policy, which says what is expected before anything is known.
        threads: Threads of a training.
        team: Whose model it is.
        after: What must be refreshed before it is trained again.
    """
    taken = [
        (ended.at - cycle.run.at) / _HOUR
        for cycle in history.cycles
        if cycle.run and not cycle.broken_off and (ended := cycle.release or cycle.review) and ended.at > cycle.run.at
    ]
    expected = policy.classes.expected_hours
    return Means(
        team=team,
        after=after,
        hours=median(taken[-_DURATIONS:]) if taken else expected,
        cpu_s_per_mrow_pass=cpu_s_per_mrow_pass(history, cpu_s),
        cpu_hours=expected * threads,
    )


def cpu_s_per_mrow_pass(history: History, cpu_s: Mapping[str, float]) -> float | None:
    """CPU seconds that a modeled cost comes to, by the jobs that have ended; None before any has."""
    jobs = [(job, used) for each, used in cpu_s.items() if isinstance(job := history.known.get(each), Job)]
    cost = sum(job.cost_mrow_passes for job, _ in jobs)
    return sum(used for _, used in jobs) / cost if cost > 0 else None


@dataclass(frozen=True)
class Scope:
    """The rung that is taken: the rules of training on it, and why."""

    training: Training
    finding: Finding


def scope(
    history: History, cycle: Cycle, priority_class: PriorityClass, facts: Facts, policy: Policy, now: datetime
) -> Scope | None:
    """The rung of the scope ladder; None where the policy has no ladder."""
    rungs, shared, rules = policy.training.rungs, facts.shared, policy.admission
    if rungs is None:
        return None
    costs = [choices.cost_of_training(facts, scopes.on(policy.training, rung)) for rung in rungs]
    ends = [each for each in (history.deadline(cycle), shared.window_ends if shared else None) if each is not None]
    left = None
    if shared is not None and rules is not None:
        request = waiting(history, cycle, priority_class, costs[0], None, shared.means)
        left = admit.hours_left(request, shared, rules, now)
    load = next((each for each in shared.site if each.check == "headroom:load"), None) if shared else None
    room = scopes.Room(
        hours=shared.means.hours if shared else policy.classes.expected_hours,
        hours_left=(min(ends) - now) / _HOUR if ends else None,
        cpu_hours_left=left,
        load=float(load.observed) if load is not None and isinstance(load.observed, int | float) else None,
        asked_load=shared is not None,
        warm_starts=history.warm_starts,
    )
    expected = [shared.means.of(cost) if shared else 0.0 for cost in costs]
    rung, finding = scopes.choose(rungs, expected, room)
    return Scope(scopes.on(policy.training, rung), finding)


def scoped(choice: choices.Choice, taken: Scope | None) -> choices.Choice:
    """The choice, with the rung that it takes."""
    return choice if taken is None else replace(choice, findings=(*choice.findings, taken.finding))


def worthwhile(
    history: History,
    priority_class: PriorityClass,
    choice: choices.Choice,
    points: int,
    asked_by: str | None,
    facts: Facts,
    policy: Policy,
    training: Training,
) -> choices.Choice:
    """The choice, with what the retraining is worth, and what it may do to serving, as the policy asks.

    Args:
        history: The state before.
        priority_class: The class of the request.
        choice: The choice.
        points: The score of decline, or of new rows.
        asked_by: Who asked for it; None where decline did.
        facts: What no record holds.
        policy: The policy.
        training: The rules of training on the rung that is taken.
    """
    rules, shared = policy.admission, facts.shared
    if rules is None or shared is None or choice.action is Action.DROP:
        return choice
    limits = rules.of(priority_class)
    closings = [cycle.review.closing for cycle in history.cycles if cycle.review]
    kept, back, no = (closings.count(each) for each in (Closing.KEPT, Closing.ROLLED_BACK, Closing.REJECTED))
    said: list[Finding] = []
    if rules.worth is not None:
        hours, measured = shared.means.of(choice.cost_mrow_passes), shared.means.cpu_s_per_mrow_pass is not None
        outlay = pay.Outlay(points, kept, kept + back + no, hours, measured, asked_by)
        said.append(pay.pays(outlay, limits, rules.worth))
    if rules.operational_risk is not None:
        # A policy with such rules has the limit of each class, or it is refused.
        assert limits.most_operational_risk is not None
        sizes = [history.size(fit, facts.passes) for fit in history.fits]
        fresh = 1.0 if training.warm_share is None else sizes[0] + training.warm_share
        after = fresh + min(training.average_with, len(history.releases)) * max(sizes)
        serving = next((each for each in shared.site if each.check == "headroom:serving"), None)
        unheard = Finding("headroom:serving", Outcome.INSUFFICIENT, "nobody was asked how serving does")
        stakes = endanger.Stakes(serving or unheard, sum(sizes), after, back, kept + back)
        said.append(endanger.operational_risk(stakes, rules.operational_risk, limits.most_operational_risk))
    if not said:
        return choice
    return choices.choose(choice.cost_mrow_passes, (*choice.findings, *said), at_best=choice.outcome)


def admitted(
    history: History,
    cycle: Cycle,
    priority_class: PriorityClass,
    choice: choices.Choice,
    shared: Shared | None,
    policy: Policy,
    now: datetime,
) -> choices.Choice:
    """The choice, once stops and the rules on what is shared have their say."""
    stops, rules = stopped(history, priority_class, policy), policy.admission
    if choice.action is Action.DROP:
        return choice
    if rules is None or shared is None:
        everywhere = (shared.stop,) if shared and shared.stop else ()
        said = tuple(admit.stopped(each) for each in (*stops, *everywhere))
    else:
        lacks = lacking(choice.findings)
        request = waiting(history, cycle, priority_class, choice.cost_mrow_passes, lacks, shared.means)
        said = admit.about(request, shared, stops, rules, now, policy.classes.order).findings
    if not said:
        return choice
    return choices.choose(choice.cost_mrow_passes, (*choice.findings, *said), at_best=choice.outcome)


def stopped(history: History, priority_class: PriorityClass, policy: Policy) -> tuple[Stop, ...]:
    """The stops that stand here for a class; that of a class which the policy has no more holds the background."""
    known = policy.classes.known
    return tuple(
        replace(stop, scope="") if stop.scope == MODEL else stop
        for stop in history.standing_stops
        if stop.scope == MODEL or known(PriorityClass(stop.scope)) == known(priority_class)
    )


def lacking(findings: Iterable[Finding]) -> str | None:
    """The first check of a home's own that does not pass; None where only what is shared is lacking."""
    missing = (each for each in findings if each.outcome is not Outcome.PASS and not each.check.startswith(SHARED))
    return next((each.check for each in missing), None)


def restless(history: History) -> Cycle | None:
    """The open request, if all that it lacks may be there at any time, and not only with the next batch."""
    cycle = history.open_cycle
    if cycle is None or not cycle.decisions:
        return None
    lacks = [each for each in cycle.decisions[-1].findings if each.outcome is not Outcome.PASS]
    return cycle if lacks and all(each.check.startswith(_PASSING) for each in lacks) else None


def waiting(
    history: History,
    cycle: Cycle,
    priority_class: PriorityClass,
    cost_mrow_passes: float,
    lacks: str | None,
    reckoned: Means,
) -> Waiting:
    """The claim of a request."""
    return Waiting(
        request=cycle.request.id,
        model=cycle.request.model,
        team=reckoned.team,
        priority_class=priority_class,
        asked_at=_asked_at(history, cycle),
        hours=reckoned.hours,
        cpu_hours=reckoned.of(cost_mrow_passes),
        deadline=history.deadline(cycle),
        by=cycle.in_person,
        lacks=lacks,
        after=reckoned.after,
        trained_at=history.last_run,
    )


def entry(
    home: str, history: History, cpu_s: Mapping[str, float], reckoned: Means, rules: Admission | None, now: datetime
) -> Entry:
    """All that a home claims, with its open request as its last decision left it."""
    cycle = history.open_cycle
    open_: tuple[Waiting, ...] = ()
    if cycle is not None and cycle.decisions:
        last = cycle.decisions[-1]
        cost, lacks = last.cost_mrow_passes, lacking(last.findings)
        open_ = (waiting(history, cycle, last.priority_class, cost, lacks, reckoned).alone,)
    running = tuple(
        Running(
            request=each.request.id,
            model=each.request.model,
            team=reckoned.team,
            priority_class=each.run.priority_class,
            since=each.run.at,
            cpu_hours=reckoned.of(each.run.cost_mrow_passes),
            ends=each.run.at + reckoned.hours * _HOUR,
        )
        for each in history.going
        if each.under_way and each.run
    )
    champion = history.champion
    return Entry(
        home=home,
        model=champion.model,
        at=now,
        waiting=open_,
        running=running,
        spent=_spent(history, cpu_s, reckoned, rules) if rules else (),
        risks=_risks(history, reckoned, rules, now) if rules else (),
        refreshed_at=champion.at,
    )


def _asked_at(history: History, cycle: Cycle) -> datetime:
    """When it was asked first: a request that took the place of one that waited keeps its turn."""
    at, successor = cycle.request.at, cycle.request
    for before in reversed(history.cycles[: history.cycles.index(cycle)]):
        ended = before.review
        if ended is None or ended.closing is not Closing.SUPERSEDED or not set(ended.answers) & set(successor.answers):
            break
        at, successor = before.request.at, before.request
    return at


def _spent(
    history: History, cpu_s: Mapping[str, float], reckoned: Means, rules: Admission
) -> tuple[Spent, ...]:  # fmt: skip
    """CPU hours by the month in which they were ordered; a job without an account used what it was expected to."""
    months: dict[str, float] = defaultdict(float)
    for cycle in history.cycles:
        if cycle.run is None or cycle.under_way:
            continue
        for job in cycle.jobs:
            used = cpu_s.get(job.id)
            hours = reckoned.of(job.cost_mrow_passes) if used is None else used / 3600
            months[rules.month_of(cycle.run.at)] += hours
    model = history.champion.model
    return tuple(Spent(model, reckoned.team, month, hours) for month, hours in sorted(months.items()))


def _risks(history: History, reckoned: Means, rules: Admission, now: datetime) -> tuple[Risk, ...]:
    if rules.risk is None:
        return ()
    points = {
        cycle.release.id: rules.of(cycle.run.priority_class).risk_points
        for cycle in history.cycles
        if cycle.release and cycle.run
    }
    since = now - timedelta(days=rules.risk.days)
    return tuple(
        Risk(
            each.model,
            reckoned.team,
            each.at,
            rules.risk.rollback_points if each.release_kind is ReleaseKind.ROLLBACK else points.get(each.id, 0.0),
        )
        for each in history.releases[1:]
        if each.at > since
    )

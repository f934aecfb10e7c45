"""Weigh what the records say: assessment, request and decision, as pure functions of history, facts and policy.

The steps record what comes out; a replay makes it again and compares. `CODE` keeps the functions of every version of
the rules, so that what an earlier version decided can be made again after an upgrade.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hpcretrain import claims
from hpcretrain.appraise import Subject, appraise, batches, placed
from hpcretrain.cycle import Cycle
from hpcretrain.errors import LedgerError
from hpcretrain.history import History
from hpcretrain.policy import approve, emergency, select, watch
from hpcretrain.policy import decide as choices
from hpcretrain.policy.classify import Case
from hpcretrain.policy.classify import classify as classified
from hpcretrain.policy.observe import structural
from hpcretrain.policy.request import Wish, wish
from hpcretrain.policy.types import Policy
from hpcretrain.records import (
    RULE_VERSION,
    Action,
    Advice,
    Asked,
    Assessment,
    Decision,
    Facts,
    Family,
    Finding,
    Outcome,
    PriorityClass,
    ReleaseKind,
    RetrainRequest,
    Signal,
    Stage,
    Verdict,
    Watch,
)

_LONGEST = 400


@dataclass(frozen=True)
class Weighed:
    """A decision; the checks that an approval which is to be asked for now would set aside, None where none is."""

    decision: Decision
    asks: tuple[str, ...] | None = None


def assess(history: History, policy: Policy, now: datetime) -> Assessment:
    """The assessment of the model that serves."""
    if history.baseline is None:
        raise LedgerError("nothing can be assessed before there is a baseline")
    step, champion = timedelta(seconds=history.baseline.batch_s), history.champion
    newest = max((signal.at for signal in history.signals_after(None)), default=now)
    signals = history.signals_since(newest - step * policy.score.memory_slots)
    grid = batches(signals, step, now, policy.score.memory_slots)
    outside = [*history.heard, *history.standing]
    found = appraise(
        [signal.measure for signal in signals] + [placed(signal.measure, grid, now) for signal in outside],
        policy,
        grid,
        # Only a promotion can be taken back: before the first model there was none.
        Subject(now, champion.at if champion.release_kind is ReleaseKind.PROMOTION else None),
    )
    return Assessment(
        model=history.baseline.model,
        at=now,
        answers=tuple(signal.id for signal in (*signals, *history.heard, *history.outside) if signal.at == now),
        score=found.scored.score,
        decline=found.scored.decline,
        fresh=found.scored.fresh,
        action=found.action,
        priority_class=found.priority_class,
        contributions=found.scored.contributions,
        levels=found.scored.levels,
        findings=found.findings,
    )


def request(history: History, assessment: Assessment, policy: Policy) -> RetrainRequest | None:
    """The request that an assessment gives rise to: none while one is open, or a training runs that is as urgent."""
    asked, under_way = wanted(history, assessment, policy), history.training
    if asked is None or history.open_cycle is not None:
        return None
    if under_way is not None and not more_urgent(asked.priority_class, under_way, policy):
        return None
    return RetrainRequest(
        model=assessment.model,
        at=assessment.at,
        answers=(assessment.id,),
        priority_class=asked.priority_class,
        score=assessment.score,
        contributions=assessment.contributions,
        triggers=asked.triggers,
        reason=asked.reason,
    )


def wanted(history: History, assessment: Assessment, policy: Policy) -> Wish | None:
    """What an assessment asks for, or somebody outside does; the more urgent of the two."""
    return wished(assessment, asking(history, assessment.at), policy)


def wished(assessment: Assessment, outside: Sequence[Signal], policy: Policy) -> Wish | None:
    """The same, given who asks from outside."""
    asked = wish(assessment, policy.score)
    if not outside or assessment.action is not Advice.RETRAIN:
        return asked
    until = min((each.deadline for each in outside if each.deadline), default=None)
    reason = "; ".join(dict.fromkeys(each.finding.reason for each in outside))[:_LONGEST]
    pressing = f", needed until {until:%Y-%m-%d %H:%M}Z" if until else ""
    made = Wish(assessment.priority_class, (Family.EXTERNAL.value,), f"asked for from outside{pressing}: {reason}")
    return min((each for each in (asked, made) if each), key=lambda each: policy.classes.rank(each.priority_class))


def asking(history: History, now: datetime) -> list[Signal]:
    """Those who ask from outside for a retraining that is not under way: until a deadline, or as soon as can be."""
    ordered = history.training.run if history.training else None
    return [each for each in history.standing if asks(each, now) and (ordered is None or each.at > ordered.at)]


def asks(signal: Signal, now: datetime) -> bool:
    """Whether what was told from outside asks for a retraining: until a deadline, or as soon as can be."""
    told = signal.told_by is not None and signal.finding.outcome is not Outcome.ERROR
    return told and (signal.deadline > now if signal.deadline else signal.effect is None)


def decide(
    history: History, cycle: Cycle, assessment: Assessment, facts: Facts, policy: Policy, now: datetime
) -> Weighed:
    """What is to be done about an open request.

    Args:
        history: The state before.
        cycle: The cycle of the request.
        assessment: The newest one.
        facts: What no record holds.
        policy: The policy in force.
        now: The time of the decision.
    """
    due = pressed(history, cycle, assessment, policy, now)
    priority_class = classify(history, cycle, assessment, policy, now)
    # What was asked for in person stands until that person withdraws it, and while somebody outside waits for it.
    outside = asking(history, now)
    asked_by, points = (
        cycle.in_person or (outside[0].told_by if outside else None),
        max(assessment.decline, assessment.fresh),
    )
    gone = None if asked_by else choices.withdraw(points, policy)
    scope = claims.scope(history, cycle, priority_class, facts, policy, now)
    training = scope.training if scope else policy.training
    seen = situation(history, assessment, facts, policy, now, cycle.in_person)
    choice = gone or claims.scoped(choices.decide(priority_class, seen, policy, training), scope)
    if due is not None:
        choice = replace(choice, findings=(*choice.findings, due.finding))
    choice = claims.worthwhile(history, priority_class, choice, points, asked_by, facts, policy, training)
    choice = claims.admitted(history, cycle, priority_class, choice, facts.shared, policy, now)
    digest = history.activation.policy_digest if history.activation else ""
    asks = facts.attended or bool(cycle.broken)
    permitted = permit(cycle, priority_class, choice, (policy, digest), now) if asks else Permitted(choice)
    decision = Decision(
        model=assessment.model,
        at=now,
        answers=tuple(dict.fromkeys((cycle.request.id, assessment.id, *permitted.by))),
        policy_digest=digest,
        rule_version=RULE_VERSION,
        action=permitted.choice.action,
        outcome=permitted.choice.outcome,
        priority_class=priority_class,
        cost_mrow_passes=permitted.choice.cost_mrow_passes,
        facts=facts,
        findings=permitted.choice.findings,
    )
    return Weighed(decision, permitted.asks)


def classify(history: History, cycle: Cycle, assessment: Assessment, policy: Policy, now: datetime) -> PriorityClass:
    """The class of the request, or a more urgent one for the newest assessment, a deadline or an emergency."""
    if emergency.holding(cycle.broken, now) is not None:
        return PriorityClass.URGENT
    asked = wanted(history, assessment, policy)
    due = pressed(history, cycle, assessment, policy, now)
    classes = [cycle.request.priority_class, *(each.priority_class for each in (asked, due) if each)]
    return policy.classes.known(min(classes, key=policy.classes.rank))


@dataclass(frozen=True)
class Pressed:
    """What the rules make of the deadline of who asked: a class, that of the request at least; and why."""

    priority_class: PriorityClass
    finding: Finding


def pressed(history: History, cycle: Cycle, assessment: Assessment, policy: Policy, now: datetime) -> Pressed | None:
    """How urgent the deadline that somebody gave with a request makes it; None where nobody gave one.

    Of a deadline that was told the newest assessment knows.
    """
    until = history.deadline(cycle) if cycle.in_person else None
    if until is None:
        return None
    impact = policy.score.business.impact if policy.score.business else 1.0
    case = Case(assessment.score, impact, until, policy.classes.expected_hours, now)
    (by_it, why), (without, _) = (classified(each, policy.classes) for each in (case, replace(case, deadline=None)))
    asked = cycle.request.priority_class
    if policy.classes.rank(by_it) < min(policy.classes.rank(without), policy.classes.rank(asked)):
        return Pressed(by_it, why)
    hours = (until - now) / timedelta(hours=1)
    reason = f"{asked.value}, as it was asked for: its deadline, in {hours:.4g} hours, makes it no more urgent"
    return Pressed(asked, Finding("class", Outcome.PASS, reason, round(hours, 3)))


def more_urgent(priority_class: PriorityClass, cycle: Cycle, policy: Policy) -> bool:
    """Whether a class is more urgent than what a cycle was decided, or asked, to be."""
    now = cycle.decisions[-1].priority_class if cycle.decisions else cycle.request.priority_class
    return policy.classes.rank(priority_class) < policy.classes.rank(now)


@dataclass(frozen=True)
class Permitted:
    """A choice, as far as people have a say in it.

    Attributes:
        choice: The choice.
        by: Identifiers of what people said that it goes by.
        asks: The checks that an approval, which is to be asked for now, would set aside; None where none is.
    """

    choice: choices.Choice
    by: tuple[str, ...] = ()
    asks: tuple[str, ...] | None = None


def permit(
    cycle: Cycle, priority_class: PriorityClass, choice: choices.Choice, policy: tuple[Policy, str], now: datetime
) -> Permitted:
    """What becomes of a choice where a person must approve it, or may set aside what speaks against it.

    Args:
        cycle: The cycle.
        priority_class: Its class now.
        choice: The choice.
        policy: The policy in force, and its digest: what was asked under another is asked anew.
        now: The time.
    """
    rules = policy[0].approvals
    broken = emergency.holding(cycle.broken, now)
    if broken is not None and choice.outcome in (Outcome.PASS, Outcome.WAIT):
        findings = emergency.set_aside(choice.findings, broken)
        return Permitted(choices.choose(choice.cost_mrow_passes, findings), (broken.id,))
    if rules is None:
        return Permitted(choice)
    ask, approval = cycle.asked(Asked.RUN) or (None, None)
    if ask is not None and ask.policy_digest != policy[1]:
        ask, approval = None, None
    if ask is not None and approval is not None and approve.denied(approval):
        return Permitted(_dropped(choice, choice.findings, approve.awaited(ask, approval, now)), (approval.id,))
    if choice.outcome not in (Outcome.PASS, Outcome.WAIT):
        return Permitted(choice)
    findings, given = choice.findings, None
    if ask is not None and approval is not None and approve.holds(ask, priority_class, now):
        findings, given = approve.overrule(findings, ask, approval), approval
    said_so_far = cycle.approvals.get(ask.id, []) if ask else []
    used = tuple(each.id for each in said_so_far) if given else ()
    needs = approve.overrulable(priority_class, findings, rules, in_person=cycle.in_person is not None)
    if needs is None:
        return Permitted(choices.choose(choice.cost_mrow_passes, findings), used)
    spent = approval is not None and given is None
    if ask is None or spent or not set(needs) <= set(ask.overrules) or ask.priority_class != priority_class:
        said = approve.needed(Asked.RUN, approve.expiry(now, rules), rules.people(priority_class))
        return Permitted(choices.choose(choice.cost_mrow_passes, (*findings, said)), used, needs)
    if given is None and now >= ask.expires_at:
        return Permitted(_dropped(choice, findings, approve.awaited(ask, None, now)))
    said = approve.awaited(ask, given, now, said_so_far)
    return Permitted(choices.choose(choice.cost_mrow_passes, (*findings, said)), used)


def _dropped(choice: choices.Choice, findings: tuple[Finding, ...], said: Finding) -> choices.Choice:
    """What was denied, or asked in vain, is not waited for."""
    return replace(choices.choose(choice.cost_mrow_passes, (*findings, said)), action=Action.DROP)


def situation(
    history: History,
    assessment: Assessment,
    facts: Facts,
    policy: Policy,
    now: datetime,
    in_person: str | None = None,
) -> choices.Situation:
    """What a decision sees; `in_person` is who asked for the retraining, None where decline did."""
    if history.baseline is None:
        raise LedgerError("nothing can be decided before there is a baseline")
    return choices.Situation(
        now=now,
        batch=timedelta(seconds=history.baseline.batch_s),
        last_run=history.last_run,
        rejections=history.rejections,
        looks=history.watched.looks if history.watched else None,
        spent=history.costs,
        facts=facts,
        data=_data_gate(history, policy),
        action=_advice(assessment, in_person),
    )


def _advice(assessment: Assessment, in_person: str | None) -> Finding:
    """Whether retraining is what helps; whoever asks in person has looked."""
    said = next(finding for finding in assessment.findings if finding.check == "action")
    helps = in_person is not None or assessment.action in (Advice.RETRAIN, Advice.NOTHING)
    return Finding(
        check="action",
        outcome=Outcome.PASS if helps else Outcome.FAIL,
        reason=said.reason + (f"; {in_person} asks for a retraining all the same" if in_person else ""),
        observed=assessment.action.value,
        limit=Advice.RETRAIN.value,
    )


def _data_gate(history: History, policy: Policy) -> tuple[Finding, ...]:
    gate = policy.data_gate
    # Between ticks, what the last of them saw.
    latest = history.signals_after(None)
    quality = tuple(signal.finding for signal in latest if signal.family is Family.DATA_QUALITY)
    return (*quality, structural(latest, gate.structural_psi, gate.structural_share))


def conclude(record: Verdict | Watch, policy: Policy) -> Outcome:
    """What a verdict, or a look at a release, comes to by what it measured; rows are in no ledger."""
    if isinstance(record, Watch):
        return watch.conclude(record.findings, record.look, policy.watch)
    if record.stage is Stage.SELECTION:
        return select.outcome(record.findings)
    return Outcome.worst(finding.outcome for finding in record.findings)


@dataclass(frozen=True)
class Code:
    """The functions of one version of the rules."""

    assess: Callable[[History, Policy, datetime], Assessment]
    request: Callable[[History, Assessment, Policy], RetrainRequest | None]
    decide: Callable[[History, Cycle, Assessment, Facts, Policy, datetime], Weighed]
    conclude: Callable[[Verdict | Watch, Policy], Outcome]


CODE: Mapping[str, Code] = {RULE_VERSION: Code(assess, request, decide, conclude)}
"""By version. Whoever changes a rule so that a past decision would come out otherwise keeps the old one here."""

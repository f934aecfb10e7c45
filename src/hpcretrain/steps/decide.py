"""Decide: what to do now about the open request, and whom to ask first."""

from __future__ import annotations

from hpcretrain.history import Cycle
from hpcretrain.policy import decide as policy
from hpcretrain.policy.emergency import holding
from hpcretrain.policy.observe import structural
from hpcretrain.ports import Rows
from hpcretrain.records import (
    Action,
    Advice,
    Assessment,
    Closing,
    Decision,
    Family,
    Finding,
    Outcome,
    PriorityClass,
)
from hpcretrain.stats import metrics
from hpcretrain.steps.ask import ask_to_run, permit
from hpcretrain.steps.assess import wanted
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.plan import Plan
from hpcretrain.steps.review import close


def decide(desk: Desk, cycle: Cycle, assessment: Assessment, plan: Plan) -> Decision:
    """Record the decision about an open request; a dropped request is reviewed at once."""
    priority_class = _class(desk, cycle, assessment)
    choice = _withdrawn(desk, cycle, assessment) or policy.decide(
        priority_class, _facts(desk, plan, _advice(cycle, assessment)), desk.terms.policy
    )
    permission = permit(desk, cycle, priority_class, choice)
    choice = permission.choice
    answers = dict.fromkeys((cycle.request.id, assessment.id, *(each.id for each in permission.by)))
    decision = Decision(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=tuple(answers),
        action=choice.action,
        outcome=choice.outcome,
        priority_class=priority_class,
        cost_mrow_passes=choice.cost_mrow_passes,
        findings=choice.findings,
    )
    desk.book.enter(decision)
    if permission.asks is not None:
        ask_to_run(desk, cycle, decision, permission.asks)
    if decision.action is Action.DROP:
        close(desk, cycle, Closing.DROPPED, decision.id)
    return decision


def _withdrawn(desk: Desk, cycle: Cycle, assessment: Assessment) -> policy.Choice | None:
    """What was asked for in person stands until that person withdraws it."""
    return (
        None
        if cycle.in_person is not None
        else policy.withdraw(max(assessment.decline, assessment.fresh), desk.terms.policy)
    )


def _class(desk: Desk, cycle: Cycle, assessment: Assessment) -> PriorityClass:
    """The class of the request, or a more urgent one that the newest assessment, or an emergency, asks for."""
    if holding(cycle.broken, desk.now) is not None:
        return PriorityClass.URGENT
    asked = wanted(desk, assessment)
    order = list(PriorityClass)
    classes = [cycle.request.priority_class] + ([asked.priority_class] if asked else [])
    return min(classes, key=order.index)


def _facts(desk: Desk, plan: Plan, action: Finding) -> policy.Facts:
    history = desk.history
    return policy.Facts(
        now=desk.now,
        batch=desk.terms.config.backtest.observe_every,
        last_run=history.last_run,
        rejections=history.rejections,
        watching=history.watched is not None,
        spent=history.costs,
        training_rows=len(plan.training),
        selection_rows=len(plan.selection),
        holdout_rows=len(plan.holdout),
        fresh_rows=plan.fresh,
        class_rows=min(_rarer(desk, plan.selection), _rarer(desk, plan.holdout)),
        passes=desk.trainer.passes(),
        data=_data_gate(desk),
        action=action,
    )


def _advice(cycle: Cycle, assessment: Assessment) -> Finding:
    """Whether retraining is what helps; whoever asks in person has looked."""
    said = next(finding for finding in assessment.findings if finding.check == "action")
    helps = cycle.in_person is not None or assessment.action in (Advice.RETRAIN, Advice.NOTHING)
    return Finding(
        check="action",
        outcome=Outcome.PASS if helps else Outcome.FAIL,
        reason=said.reason + (f"; {cycle.in_person} asks for a retraining all the same" if cycle.in_person else ""),
        observed=assessment.action.value,
        limit=Advice.RETRAIN.value,
    )


def _rarer(desk: Desk, rows: Rows) -> int:
    return metrics.rarer(desk.table.labels(rows), desk.terms.config.model.task)


def _data_gate(desk: Desk) -> tuple[Finding, ...]:
    gate = desk.terms.policy.data_gate
    # Between ticks, what the last of them saw.
    newest = max((signal.at for signal in desk.history.signals), default=desk.now)
    latest = [signal for signal in desk.history.signals if signal.at == newest]
    quality = tuple(signal.finding for signal in latest if signal.family is Family.DATA_QUALITY)
    return (*quality, structural(latest, gate.structural_psi, gate.structural_share))

"""Decide: what to do now about the open request, and whom to ask first."""

from __future__ import annotations

from hpcretrain import weigh
from hpcretrain.backlog import Shared
from hpcretrain.cycle import Cycle
from hpcretrain.ports import Rows
from hpcretrain.records import Action, Assessment, Closing, Decision, Facts
from hpcretrain.stats import metrics
from hpcretrain.steps.ask import ask_to_run
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.plan import Plan
from hpcretrain.steps.review import close
from hpcretrain.steps.share import sharing, tell


def decide(desk: Desk, cycle: Cycle, assessment: Assessment, plan: Plan) -> Decision:
    """Record the decision about an open request; a dropped request is reviewed at once."""
    with sharing(desk, weigh.classify(desk.history, cycle, assessment, desk.terms.policy, desk.now)) as shared:
        facts = _facts(desk, plan, shared)
        weighed = weigh.decide(desk.history, cycle, assessment, facts, desk.terms.policy, desk.now)
        decision = weighed.decision
        desk.book.enter(decision)
        tell(desk)
    if weighed.asks is not None:
        ask_to_run(desk, cycle, decision, weighed.asks)
    if decision.action is Action.DROP:
        close(desk, cycle, Closing.DROPPED, decision.id)
    return decision


def would_run(desk: Desk, cycle: Cycle, assessment: Assessment, plan: Plan) -> bool:
    """Whether the decision would be to run now; nothing is recorded."""
    with sharing(desk, weigh.classify(desk.history, cycle, assessment, desk.terms.policy, desk.now)) as shared:
        facts = _facts(desk, plan, shared)
    made = weigh.decide(desk.history, cycle, assessment, facts, desk.terms.policy, desk.now).decision
    return made.action is Action.RUN


def _facts(desk: Desk, plan: Plan, shared: Shared | None) -> Facts:
    return Facts(
        # Where nothing is to be approved it makes no difference: a home that lives decides as its replay does.
        attended=desk.attended and desk.terms.policy.approvals is not None,
        training_rows=len(plan.training),
        selection_rows=len(plan.selection),
        holdout_rows=len(plan.holdout),
        fresh_rows=plan.fresh,
        class_rows=min(_rarer(desk, plan.selection), _rarer(desk, plan.holdout)),
        passes=desk.trainer.passes(),
        shared=shared,
    )


def _rarer(desk: Desk, rows: Rows) -> int:
    return metrics.rarer(desk.table.labels(rows), desk.terms.config.model.task)

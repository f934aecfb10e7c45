"""What an approver needs to know: gain, load, slack, risk, cost, and what would be preempted."""

from __future__ import annotations

from hpcretrain.cycle import Cycle
from hpcretrain.records import Candidate, Closing, Decision, Finding, Outcome, PriorityClass, Verdict
from hpcretrain.steps.desk import Desk

_WEIGHED = ("worth", "operational_risk")
"""Checks of the decision that an approver sees as they came out."""


def to_run(desk: Desk, cycle: Cycle, decision: Decision) -> tuple[Finding, ...]:
    """For who approves that a training begins."""
    request = cycle.request
    led = ", ".join(f"{name} {points}" for name, points in request.contributions.items() if points)
    gain = Finding(
        check="gain",
        outcome=Outcome.INSUFFICIENT,
        reason="nothing is measured before the training; what is to be regained speaks by the score of the decline"
        + (f" ({led})" if led else ""),
        observed=request.score,
        limit=desk.terms.policy.score.threshold,
    )
    return (gain, *_circumstances(desk, decision.priority_class, decision))


def to_release(desk: Desk, cycle: Cycle, judged: Verdict, candidate: Candidate) -> tuple[Finding, ...]:
    """For who approves that a candidate serves."""
    measured = tuple(finding for finding in judged.findings if finding.observed is not None)
    return (*measured, *_circumstances(desk, cycle.decisions[-1].priority_class, cycle.decisions[-1]))


def _circumstances(desk: Desk, priority_class: PriorityClass, decision: Decision) -> tuple[Finding, ...]:
    weighed = (each for each in decision.findings if each.check in _WEIGHED)
    return (*desk.trainer.outlook(priority_class), _slack(decision), _risk(desk), _cost(decision), *weighed)


def _slack(decision: Decision) -> Finding:
    """What is left of the budget."""
    budget = next((finding for finding in decision.findings if finding.check == "budget"), None)
    seen, limit = (budget.observed, budget.limit) if budget else (None, None)
    if not isinstance(seen, int | float) or not isinstance(limit, int | float):
        return Finding(check="slack", outcome=Outcome.INSUFFICIENT, reason="the budget could not be compared")
    return Finding(
        check="slack",
        outcome=Outcome.PASS if seen <= limit else Outcome.WAIT,
        reason=f"{max(limit - seen, 0):.3g} full fits are left of the class's budget of 30 days after this one",
        observed=seen,
        limit=limit,
    )


def _risk(desk: Desk) -> Finding:
    """How often what was released had to be taken back, and what was trained came to nothing."""
    closings = [cycle.review.closing for cycle in desk.history.cycles if cycle.review]
    back, kept, no = (closings.count(each) for each in (Closing.ROLLED_BACK, Closing.KEPT, Closing.REJECTED))
    return Finding(
        check="risk",
        outcome=Outcome.INSUFFICIENT if not back + kept else Outcome.PASS if back <= kept else Outcome.WAIT,
        reason=f"of {back + kept} releases that were watched to the end {back} were rolled back; {no} candidates "
        "were rejected",
        observed=back,
        limit=back + kept,
    )


def _cost(decision: Decision) -> Finding:
    return Finding(
        check="cost",
        outcome=Outcome.PASS,
        reason="million row-passes at most, for pilots and full fit",
        observed=decision.cost_mrow_passes,
    )

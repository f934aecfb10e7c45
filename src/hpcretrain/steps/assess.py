"""Assess: one score from all signals about the champion; and from it, perhaps, a request to retrain."""

from __future__ import annotations

from hpcretrain.history import Cycle
from hpcretrain.policy import assess as scoring
from hpcretrain.policy.request import Wish, wish
from hpcretrain.records import Assessment, PriorityClass, RetrainRequest
from hpcretrain.steps.desk import Desk


def assess(desk: Desk) -> Assessment:
    """Record the assessment of the model that serves."""
    scored = scoring.assess(desk.history.signals, desk.terms.policy.score)
    assessment = Assessment(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=tuple(signal.id for signal in (*desk.history.signals, *desk.history.outside) if signal.at == desk.now),
        score=scored.score,
        contributions=scored.contributions,
        levels=scored.levels,
        findings=scored.findings,
    )
    desk.book.enter(assessment)
    return assessment


def wanted(desk: Desk, assessment: Assessment) -> Wish | None:
    """What the assessment asks for, if anything."""
    policy = desk.terms.policy
    return wish(assessment, scoring.decline(assessment.levels, policy.score), policy.score, policy.classes)


def request(desk: Desk, assessment: Assessment) -> None:
    """Record a request if one is called for, none is open, and no training is under way that is as urgent."""
    asked = wanted(desk, assessment)
    under_way = desk.history.training
    if asked is None or desk.history.open_cycle is not None:
        return
    if under_way is not None and not more_urgent(asked.priority_class, under_way):
        return
    desk.book.enter(
        RetrainRequest(
            model=desk.terms.config.model.name,
            at=desk.now,
            answers=(assessment.id,),
            priority_class=asked.priority_class,
            score=assessment.score,
            contributions=assessment.contributions,
            triggers=asked.triggers,
            reason=asked.reason,
        )
    )


def more_urgent(priority_class: PriorityClass, cycle: Cycle) -> bool:
    """Whether a class is more urgent than what a cycle was decided, or asked, to be."""
    now = cycle.decisions[-1].priority_class if cycle.decisions else cycle.request.priority_class
    order = list(PriorityClass)
    return order.index(priority_class) < order.index(now)

"""Assess: one score from all signals about the champion; and from it, perhaps, a request to retrain."""

from __future__ import annotations

from hpcretrain.history import Cycle
from hpcretrain.policy import assess as scoring
from hpcretrain.policy.request import Wish, wish
from hpcretrain.records import Assessment, Closing, PriorityClass, RetrainRequest
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.review import close


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
    """Record a request if one is called for and none is open; a more urgent one takes the place of a training."""
    asked = wanted(desk, assessment)
    if asked is None or desk.history.open_cycle is not None:
        return
    under_way = desk.history.training
    if under_way is not None and not more_urgent(asked.priority_class, under_way):
        return
    made = RetrainRequest(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=(assessment.id,),
        priority_class=asked.priority_class,
        score=assessment.score,
        contributions=assessment.contributions,
        triggers=asked.triggers,
        reason=asked.reason,
    )
    enter(desk, made, under_way)


def more_urgent(priority_class: PriorityClass, cycle: Cycle) -> bool:
    """Whether a class is more urgent than what a cycle was decided, or asked, to be."""
    now = cycle.decisions[-1].priority_class if cycle.decisions else cycle.request.priority_class
    order = list(PriorityClass)
    return order.index(priority_class) < order.index(now)


def enter(desk: Desk, made: RetrainRequest, instead_of: Cycle | None) -> None:
    """Record a request; the cycle that it takes the place of is closed first, by what gave rise to the request."""
    if instead_of is not None:
        close(desk, instead_of, Closing.SUPERSEDED, made.answers[-1])
    desk.book.enter(made)

"""Assess: one score from all signals about the champion; and from it, perhaps, a request to retrain."""

from __future__ import annotations

from hpcretrain.policy import assess as scoring
from hpcretrain.policy.request import Wish, wish
from hpcretrain.records import Assessment, RetrainRequest
from hpcretrain.steps.desk import Desk


def assess(desk: Desk) -> Assessment:
    """Record the assessment of the model that serves."""
    scored = scoring.assess(desk.history.signals, desk.terms.policy.score)
    assessment = Assessment(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=tuple(signal.id for signal in desk.history.signals if signal.at == desk.now),
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
    """Record a request if one is called for, none is open, and no training is under way."""
    asked = wanted(desk, assessment)
    if asked is None or desk.history.open_cycle is not None or desk.history.training is not None:
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

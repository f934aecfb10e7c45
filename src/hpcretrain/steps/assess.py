"""Assess: one score from all signals about the champion; and from it, perhaps, a request to retrain."""

from __future__ import annotations

from hpcretrain.appraise import Subject, appraise, batches, measure_of
from hpcretrain.history import Cycle
from hpcretrain.policy.request import Wish, wish
from hpcretrain.records import Assessment, PriorityClass, RetrainRequest
from hpcretrain.steps.desk import Desk


def assess(desk: Desk) -> Assessment:
    """Record the assessment of the model that serves."""
    signals, step = desk.history.signals, desk.terms.config.backtest.observe_every
    found = appraise(
        [measure_of(signal) for signal in signals],
        desk.terms.policy,
        batches(signals, step, desk.now),
        Subject(desk.now, desk.history.champion.at),
    )
    scored = found.scored
    assessment = Assessment(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=tuple(signal.id for signal in (*desk.history.signals, *desk.history.outside) if signal.at == desk.now),
        score=scored.score,
        decline=scored.decline,
        fresh=scored.fresh,
        action=found.action,
        priority_class=found.priority_class,
        contributions=scored.contributions,
        levels=scored.levels,
        findings=found.findings,
    )
    desk.book.enter(assessment)
    return assessment


def wanted(desk: Desk, assessment: Assessment) -> Wish | None:
    """What the assessment asks for, if anything."""
    return wish(assessment, desk.terms.policy.score)


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

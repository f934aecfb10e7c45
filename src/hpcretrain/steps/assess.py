"""Assess: one score from all signals about the champion; and from it, perhaps, a request to retrain."""

from __future__ import annotations

from hpcretrain import weigh
from hpcretrain.records import Assessment
from hpcretrain.steps.desk import Desk


def assess(desk: Desk) -> Assessment:
    """Record the assessment of the model that serves."""
    assessment = weigh.assess(desk.history, desk.terms.policy, desk.now)
    desk.book.enter(assessment)
    return assessment


def request(desk: Desk, assessment: Assessment) -> None:
    """Record a request if one is called for, none is open, and no training is under way that is as urgent."""
    made = weigh.request(desk.history, assessment, desk.terms.policy)
    if made is not None:
        desk.book.enter(made)

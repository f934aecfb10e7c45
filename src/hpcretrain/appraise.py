"""Appraise a model: from what was measured of it to score, action and class. Pure; the policies do the reckoning."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcretrain.evidence import Advice, Family, Finding, Measure, PriorityClass
from hpcretrain.policy.advise import State, advise
from hpcretrain.policy.assess import Grid, Scored, assess
from hpcretrain.policy.classify import Case, classify
from hpcretrain.policy.types import Policy
from hpcretrain.records import Signal


@dataclass(frozen=True)
class Subject:
    """A model, and what is known of it beside its signals.

    Attributes:
        now: The time.
        released: When what serves was released; None where that is not known.
        retrain_hours: Expected hours from request to release; None where none was measured.
    """

    now: datetime
    released: datetime | None = None
    retrain_hours: float | None = None


@dataclass(frozen=True)
class Appraisal:
    """Score, action and class of a model, with the findings that led to them."""

    scored: Scored
    action: Advice
    priority_class: PriorityClass
    findings: tuple[Finding, ...]


def appraise(measures: Iterable[Measure], policy: Policy, grid: Grid, subject: Subject) -> Appraisal:
    """What all measures of one model since its release come to."""
    measures = list(measures)
    hours = policy.classes.expected_hours if subject.retrain_hours is None else subject.retrain_hours
    scored = assess(measures, policy.score, grid, hours)
    due = _due(measures, grid)
    asked = {m.name for m in measures if m.family is Family.EXTERNAL and _at_once(m) and _counts(m, grid)}
    released = None if subject.released is None else max(0.0, (grid.end - subject.released) / grid.length)
    advised = advise(
        State(
            decline=scored.decline,
            fresh=scored.fresh,
            levels=scored.levels,
            newest=scored.newest,
            sustained=scored.sustained,
            jumps=scored.jumps,
            labeled=scored.labeled,
            broken=scored.broken,
            released=released,
            asked=sorted(asked),
            due=None if due is None else (due[1], (due[0] - subject.now) / timedelta(hours=1)),
        ),
        policy.score,
    )
    impact = policy.score.business.impact if policy.score.business else 1.0
    retrains = advised.action is Advice.RETRAIN
    worse = scored.sustained or scored.decline >= policy.score.threshold
    learns = retrains and not worse and not asked and due is None
    case = Case(scored.score, impact, due[0] if due else None, hours, subject.now, retrains, learns)
    priority_class, why = classify(case, policy.classes)
    return Appraisal(scored, advised.action, priority_class, (*scored.findings, advised.finding, why))


def _at_once(measure: Measure) -> bool:
    """Whether it asks for a retraining as soon as can be, and says nothing of how bad it is."""
    return measure.lower_bound is None and measure.deadline is None


def _counts(measure: Measure, grid: Grid) -> bool:
    slot = grid.slot(measure.at)
    return slot >= 0 and (grid.most is None or slot < grid.most)


def placed(measure: Measure, grid: Grid, now: datetime) -> Measure:
    """A measure of after the newest batch, which counts in that batch's slot until the next batch has one."""
    return measure._replace(at=grid.end) if grid.end < measure.at <= now else measure


def _due(measures: Iterable[Measure], grid: Grid) -> tuple[datetime, str] | None:
    """The next deadline that somebody named, and what for; one that has passed presses on for a slot."""
    ends = [(m.deadline, m.name) for m in measures if m.deadline is not None and grid.slot(m.at) >= 0]
    return min((end for end in ends if end[0] > grid.end - grid.length), default=None)


def batches(signals: Iterable[Signal], step: timedelta, now: datetime, most: int | None = None) -> Grid:
    """The slots of a home: a batch each, the newest as it was last observed; at most `most` are looked back on."""
    return Grid(max((signal.at for signal in signals), default=now), step, most)

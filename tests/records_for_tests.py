"""Small records for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hpcretrain.appraise import Appraisal, Subject, appraise, batches
from hpcretrain.config.load import shipped_policy
from hpcretrain.evidence import Measure
from hpcretrain.policy.types import Policy
from hpcretrain.records import Assessment, Family, Finding, Outcome, Signal, Slice

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
POLICY = shipped_policy()
PASSED = Finding(check="x", outcome=Outcome.PASS, reason="fine")


def signal(family: Family, week: int, bound: float | None, name: str = "s") -> Signal:
    """A signal of the given week whose lower bound (and effect) is `bound`."""
    at = START + week * WEEK
    return Signal(
        model="m",
        at=at,
        answers=("release-1",),
        family=family,
        name=name,
        slot=Slice(at - WEEK, at, 100, "d"),
        effect=bound,
        lower_bound=bound,
        n=1000,
        reference=None,
        unit="u",
        finding=PASSED if bound is not None else Finding(check="x", outcome=Outcome.INSUFFICIENT, reason="few"),
    )


def measure(family: Family, week: int, bound: float | None, name: str = "s", n: int = 1000) -> Measure:
    """What is measured in the given week; lower bound and effect are `bound`."""
    return Measure("m", family, name, START + week * WEEK, bound, bound, n)


def appraised(signals: list[Signal], policy: Policy = POLICY) -> Appraisal:
    """What signals come to, by weeks."""
    now = max(signal.at for signal in signals)
    return appraise([each.measure for each in signals], policy, batches(signals, WEEK, now), Subject(now))


def assessment(signals: list[Signal], policy: Policy = POLICY) -> Assessment:
    """The assessment that a home would record."""
    found = appraised(signals, policy)
    return Assessment(
        model="m",
        at=max(signal.at for signal in signals),
        answers=("signal-1",),
        score=found.scored.score,
        decline=found.scored.decline,
        fresh=found.scored.fresh,
        action=found.action,
        priority_class=found.priority_class,
        contributions=found.scored.contributions,
        levels=found.scored.levels,
        findings=found.findings,
    )

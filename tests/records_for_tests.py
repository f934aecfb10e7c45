"""Small records for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hpcretrain.config.load import shipped_policy
from hpcretrain.records import Family, Finding, Outcome, Signal, Slice

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
        n=100,
        reference=None,
        unit="u",
        finding=PASSED if bound is not None else Finding(check="x", outcome=Outcome.INSUFFICIENT, reason="few"),
    )

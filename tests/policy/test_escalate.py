"""Which stage takes too long, and which tier is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whole_cycle import position, whole_cycle

from hpcretrain.config.load import shipped_policy
from hpcretrain.history import History
from hpcretrain.policy.escalate import StageName, Stretch, escalate, tier
from hpcretrain.policy.types import Deadlines
from hpcretrain.records import Approval, Ask, BreakGlass, Decision, Record, Release, RetrainRequest, Review

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
RULES = Deadlines(
    waiting_h=2, approval_h=4, queue_h=1, training_h=8, watch_h=24, tier_factor=2, tiers=3
)  # fmt: skip
POLICY = shipped_policy().model_copy(update={"deadlines": RULES})


@pytest.mark.parametrize(
    ("hours", "told"), [(-5, None), (0, None), (3.99, None), (4, 1), (7.9, 1), (8, 2), (15.9, 2), (16, 3), (9999, 3)]
)
def test_each_tier_is_told_when_so_many_times_more_has_passed(hours: float, told: int | None) -> None:
    stretch = Stretch(StageName.APPROVAL, "ask-1", SINCE, 4.0)
    assert tier(stretch, RULES, SINCE + hours * HOUR) == told
    assert tier(Stretch(StageName.APPROVAL, "ask-1", SINCE, None), RULES, SINCE + hours * HOUR) is None


@given(
    st.floats(0.01, 1e4), st.floats(1.01, 10), st.integers(1, 5), st.floats(0, 1e6), st.floats(0, 1e6)
)  # fmt: skip
def test_as_time_passes_no_tier_is_taken_back(limit: float, factor: float, tiers: int, one: float, two: float) -> None:
    rules = Deadlines(tier_factor=factor, tiers=tiers)
    stretch = Stretch(StageName.QUEUE, "request-1", SINCE, limit)
    early, late = (tier(stretch, rules, SINCE + hours * HOUR) or 0 for hours in sorted((one, two)))
    assert early <= late <= tiers


def stages(until: type[Record], occurrence: int = 0, hours: float = 1_000, queued: bool = False) -> dict[str, int]:
    """What escalates so long after the so-manieth record of a kind was the last of a whole cycle."""
    records = whole_cycle()[: position(until, occurrence) + 1]
    now = records[-1].at + hours * HOUR
    found = escalate(History.fold(records), POLICY, now, queued=queued)
    return {each.stretch.stage.value: each.tier for each in found}


def test_every_stage_that_something_hangs_in_escalates() -> None:
    assert stages(RetrainRequest) == {"waiting": 3}
    assert stages(RetrainRequest, hours=3) == {"waiting": 1}
    assert stages(Decision) == {"training": 3}
    assert stages(Decision, hours=3, queued=True) == {"queue": 2}
    assert stages(Ask, hours=5) == {"approval": 1}
    assert stages(Approval, hours=9) == {"training": 1}
    assert stages(BreakGlass, hours=49) == {"training": 3, "review": 1}
    assert stages(Release, 1, hours=25) == {"watch": 1}
    assert stages(Review) == {}


def test_an_ask_that_has_expired_hangs_no_more_in_approval() -> None:
    assert "approval" not in stages(Ask, hours=24 * 30)


def test_without_deadlines_nothing_escalates_but_a_review() -> None:
    records = whole_cycle()[: position(BreakGlass) + 1]
    found = escalate(History.fold(records), shipped_policy(), records[-1].at + 1_000 * HOUR)
    assert [each.stretch.stage for each in found] == [StageName.REVIEW]
    assert found[0].id == f"overrun:review:{records[-1].id}:3"

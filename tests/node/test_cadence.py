from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.node.cadence import FIRST_S, LONGEST_S, interval_s

SECONDS = st.floats(0, 1e7)


@pytest.mark.parametrize(
    ("cost_s", "interrupted_every_s", "expected"),
    [
        (1.0, 3600.0, 84.85),
        (0.05, 3600.0, 18.97),
        (60.0, 86_400.0, LONGEST_S),
        (10.0, 15.0, 15.0),
        (20.0, 15.0, 20.0),
        (0.004, 0.0, 0.004),
        (0.0, 3600.0, 0.0),
    ],
)
def test_the_interval_is_youngs_within_its_bounds(cost_s: float, interrupted_every_s: float, expected: float) -> None:
    assert interval_s(cost_s, interrupted_every_s) == pytest.approx(expected, rel=1e-3)


def test_the_first_checkpoint_comes_early_and_earlier_where_interruptions_are_frequent() -> None:
    assert interval_s(None, 3600.0) == FIRST_S
    assert interval_s(None, 60.0) == 0.6
    assert interval_s(None, 0.0) == 0.0


@settings(deadline=None)
@given(SECONDS, SECONDS, st.floats(1, 10))
def test_dearer_checkpoints_and_rarer_interruptions_make_it_longer_but_work_never_takes_less_than_saving(
    cost_s: float, interrupted_every_s: float, factor: float
) -> None:
    interval = interval_s(cost_s, interrupted_every_s)
    assert cost_s <= interval <= max(cost_s, min(interrupted_every_s, LONGEST_S))
    assert interval <= interval_s(cost_s * factor, interrupted_every_s)
    assert interval <= interval_s(cost_s, interrupted_every_s * factor)


def test_the_interval_wastes_less_than_half_or_twice_of_it_would() -> None:
    cost_s, every_s = 2.0, 3600.0
    best = interval_s(cost_s, every_s)

    def wasted(interval: float) -> float:
        """The share of the time that goes into saving, and into work that is lost: half an interval at a time."""
        return cost_s / interval + interval / 2 / every_s

    assert wasted(best) < min(wasted(best / 2), wasted(best * 2))
    assert wasted(best) == pytest.approx(math.sqrt(2 * cost_s / every_s))

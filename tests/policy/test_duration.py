from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.policy.duration import Need, Run, fits, need, upper
from hpcretrain.policy.types import Windows
from hpcretrain.records import Outcome

RULES = Windows()


def test_few_durations_are_taken_with_caution() -> None:
    assert upper([], 0.9) is None
    assert upper([1.0], 0.9) == pytest.approx(1 + 8 / 9)
    assert upper([1.0] * 8, 0.9) == pytest.approx(1 + 1 / 9)
    assert upper(list(np.arange(9.0)), 0.9) == 8
    assert upper(list(np.arange(19.0)), 0.9) == 17


@pytest.mark.parametrize("count", [3, 9, 30])
def test_the_next_duration_is_below_as_often_as_is_asked(count: int) -> None:
    draws = np.random.default_rng(1).lognormal(0, 0.3, (2_000, count + 1))
    below = np.mean([draw[-1] <= (upper(list(draw[:-1]), 0.9) or 0) for draw in draws])
    assert below >= 0.88


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=40), st.floats(0.5, 0.99))
def test_the_bound_grows_with_the_level_and_is_no_less_than_the_middle(samples: list[float], level: float) -> None:
    bound = upper(samples, level)
    assert bound is not None
    assert bound >= np.median(samples) or bound == pytest.approx(np.median(samples)) or len(samples) % 2 == 0
    assert bound <= (upper(samples, (level + 1) / 2) or 0)


def test_training_is_scaled_by_rows_and_rounds() -> None:
    runs = [Run(queue_wait_h=0.5, training_h=1.0, cost_mrow_passes=10.0)] * 20
    assert need(runs, RULES).training_h == pytest.approx(1.0)
    found = need(runs, RULES, cost_mrow_passes=30.0)
    assert found.training_h == pytest.approx(3.0)
    assert found.total_h == pytest.approx(0.5 + 3.0 + 0.25 + 0.5 + 0.25)


def test_measured_validation_takes_the_place_of_the_policys() -> None:
    runs = [Run(0.0, 1.0, 1.0, validation_h=0.1)] * 20
    assert need(runs, RULES).validation_h == pytest.approx(0.1)
    assert need([], RULES).validation_h == RULES.validation_h


@pytest.mark.parametrize(
    ("training_h", "hours", "outcome", "said"),
    [
        (1.0, 3.0, Outcome.PASS, "1.5 h are left for training"),
        (1.5, 3.0, Outcome.PASS, "1.5 h are left"),
        (2.0, 3.0, Outcome.FAIL, "it takes 2 h; name longer windows"),
        (None, 3.0, Outcome.INSUFFICIENT, "not known before the first"),
        (None, 1.0, Outcome.FAIL, "nothing is left for training"),
    ],
)
def test_a_window_must_hold_all_that_belongs_to_a_training(
    training_h: float | None, hours: float, outcome: Outcome, said: str
) -> None:
    found = fits(hours, Need(0.5, training_h, 0.25, 0.5, 0.25, 5))
    assert found.outcome is outcome
    assert said in found.reason

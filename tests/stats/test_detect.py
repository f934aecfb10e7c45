from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.stats.detect import page_hinkley


def test_a_rise_begins_with_the_first_value_that_is_above_what_is_tolerated() -> None:
    assert page_hinkley([0, 0.1, 0, 0.3, 0.4], slack=0.1, threshold=0.4, mean=0) == 3
    assert page_hinkley([0.9], slack=0.1, threshold=0.4, mean=0) == 0


def test_as_much_as_is_tolerated_is_no_rise_however_long() -> None:
    assert page_hinkley([0.125] * 500, slack=0.125, threshold=0.01, mean=0) is None


def test_a_rise_that_was_made_up_for_is_none() -> None:
    values = [0, 1, 1, -1, -1]
    assert page_hinkley(values[:3], slack=0.1, threshold=1, mean=0) == 1
    assert page_hinkley(values, slack=0.1, threshold=1, mean=0) is None


def test_a_second_rise_is_dated_by_itself() -> None:
    assert page_hinkley([1, 1, -3, 0, 1, 1], slack=0.1, threshold=1, mean=0) == 4


def test_without_a_mean_values_are_measured_by_those_before() -> None:
    assert page_hinkley([5.0] * 20, slack=0.1, threshold=1) is None
    assert page_hinkley([5.0] * 20 + [7.0] * 3, slack=0.1, threshold=1) == 20


@given(st.lists(st.integers(-64, 64), max_size=40), st.integers(-64, 64))
@settings(deadline=None)
def test_where_zero_lies_does_not_matter(whole: list[int], shift: int) -> None:
    values = np.array(whole, dtype=np.float64) / 8
    by_mean = page_hinkley(values, slack=0.25, threshold=2, mean=1)
    assert page_hinkley(values + shift, slack=0.25, threshold=2, mean=1 + shift) == by_mean


@given(st.lists(st.floats(-1, 1), max_size=40), st.floats(0, 1), st.floats(0.01, 3))
@settings(deadline=None)
def test_a_rise_begins_above_its_mean_and_lies_within_the_values(
    values: list[float], slack: float, threshold: float
) -> None:
    since = page_hinkley(values, slack=slack, threshold=threshold, mean=0)
    if since is not None:
        assert 0 <= since < len(values)
        assert values[since] > slack
        assert math.fsum(value - slack for value in values[since:]) > threshold - 1e-9


@pytest.mark.parametrize(
    ("values", "slack", "threshold", "mean", "seen"),
    [
        ([1, math.nan], 0.1, 1, None, "finite values"),
        ([[1, 2]], 0.1, 1, None, r"\(1, 2\)"),
        ([1, 2], -0.1, 1, None, "slack is -0.1"),
        ([1, 2], 0.1, 0, None, "threshold 0"),
        ([1, 2], 0.1, math.nan, None, "threshold nan"),
        ([1, 2], 0.1, 1, math.nan, "mean is nan"),
    ],
)
def test_what_cannot_be_dated_is_refused(
    values: list[float], slack: float, threshold: float, mean: float | None, seen: str
) -> None:
    with pytest.raises(ValueError, match=seen):
        page_hinkley(values, slack=slack, threshold=threshold, mean=mean)

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.stats.detect import Cut, adwin, page_hinkley


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


def around(*means: float, each: int = 150, seed: int = 1, offset: float = 0.0) -> list[float]:
    """Values of so many stretches, 0.05 around a mean each."""
    random = np.random.default_rng(seed)
    values: list[float] = np.concatenate([random.uniform(-0.05, 0.05, each) + mean + offset for mean in means]).tolist()
    return values


def last(values: Sequence[float], span: float, delta: float = 0.002) -> Cut:
    [cut] = adwin(values, span=span, delta=delta, ends=[len(values)])
    return cut


@pytest.mark.parametrize("offset", [0.0, -1e6])
def test_a_window_begins_where_the_mean_changed_last_and_knows_the_one_before(offset: float) -> None:
    cut = last(around(0.75, 0.6, 0.7, offset=offset), 0.3)
    assert abs(cut.before - 150) <= 3
    assert abs(cut.begin - 300) <= 3
    assert cut.margin is not None
    assert 0 < cut.margin < 0.1


def test_where_nothing_changed_nothing_is_cut_off() -> None:
    cuts = [last(around(0.7, each=400, seed=seed), 1.0) for seed in range(50)]
    assert [cut for cut in cuts if cut.begin] == []
    assert all(cut.margin and 0 < cut.margin < 0.2 for cut in cuts), "what would have been a change"


@pytest.mark.parametrize("count", [0, 1, 9])
def test_a_handful_of_values_is_too_few(count: int) -> None:
    values = [0.0] * (count // 2) + [1.0] * (count - count // 2)
    assert last(values, 1.0, 0.5) == Cut(0, 0, None)


@given(st.lists(st.floats(0, 1), max_size=60), st.floats(0.01, 0.9))
def test_no_two_parts_of_what_is_left_differ_beyond_the_bound(values: list[float], delta: float) -> None:
    left = np.array(values[last(values, 1.0, delta).begin :])
    for old in range(5, len(left) - 4):
        m, log = 1 / (1 / old + 1 / (len(left) - old)), math.log(2 * len(left) / delta)
        bound = math.sqrt(2 / m * float(left.var()) * log) + 2 / (3 * m) * log
        assert abs(left[:old].mean() - left[old:].mean()) <= bound + 1e-6


def test_what_comes_later_changes_nothing_of_what_was_told() -> None:
    values = around(0.7, 0.5, 0.65, each=900)
    ends = [0, 5, 700, 1000, 1400, 2700]
    assert adwin(values, span=0.5, delta=0.01, ends=ends) == [last(values[:end], 0.5, 0.01) for end in ends]


def test_ten_thousands_of_values_are_looked_at_now_and_then() -> None:
    assert abs(last(around(0.7, 0.69, each=15_000), 1.0).begin - 15_000) <= 300


def test_what_adwin_cannot_use_is_refused() -> None:
    for values, span, delta in (([math.nan], 1.0, 0.1), ([0.0, 2.0], 1.0, 0.1), ([0.0], 0.0, 0.1), ([0.0], 1.0, 1.0)):
        with pytest.raises(ValueError, match=r"give|apart"):
            last(values, span, delta)

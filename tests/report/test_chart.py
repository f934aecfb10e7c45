from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.report.chart import MOST_TICKS, Mark, Times, apart, axis, condensed, line, sparse, steps

START = datetime(2024, 1, 1, tzinfo=UTC)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=20), st.booleans())
def test_an_axis_holds_all_values_between_a_few_ticks_that_read_differently(values: list[float], zero: bool) -> None:
    made = axis(values, 10.0, 210.0, zero=zero)
    slack = 1e-6 * (made.scale.high - made.scale.low)
    assert made.scale.low - slack <= min(values) <= max(values) <= made.scale.high + slack
    assert not zero or made.scale.low <= 0
    assert 2 <= len(made.ticks) <= 9
    assert len({tick.label for tick in made.ticks}) == len(made.ticks)
    assert [made.ticks[0].at, made.ticks[-1].at] == [210.0, 10.0]


def test_ticks_are_round_numbers() -> None:
    assert [tick.label for tick in axis([0.632, 0.757], 0, 100).ticks] == ["0.60", "0.65", "0.70", "0.75", "0.80"]
    assert [tick.label for tick in axis([-12.0, 70.0], 0, 100).ticks] == [
        "\N{MINUS SIGN}20",
        "0",
        "20",
        "40",
        "60",
        "80",
    ]


@pytest.mark.parametrize("days", [1, 3, 20, 80, 300, 800, 4_000, 30_000])
def test_a_time_axis_has_a_few_ticks_from_left_to_right_and_says_the_year(days: int) -> None:
    ticks = Times(START, START + timedelta(days=days), ZoneInfo("UTC")).ticks()
    places = [tick.at for tick in ticks]
    assert 1 <= len(ticks) <= MOST_TICKS
    assert places == sorted(set(places))
    assert 0 <= places[0] <= places[-1] <= 100
    assert re.search(r"\d{4}", ticks[0].label)


def test_months_begin_where_the_table_is_from() -> None:
    zone = ZoneInfo("America/New_York")
    times = Times(datetime(2024, 1, 1, 5, tzinfo=UTC), datetime(2024, 6, 1, 4, tzinfo=UTC), zone)
    assert [tick.label for tick in times.ticks()] == ["Jan 2024", "Feb", "Mar", "Apr", "May", "Jun"]
    assert (times.ticks()[0].at, times.ticks()[-1].at) == (0.0, 100.0)


@settings(deadline=None)
@given(st.lists(st.floats(0, 200, allow_nan=False), min_size=1, max_size=8, unique=True))
def test_labels_keep_their_order_and_do_not_overlap(heights: list[float]) -> None:
    placed = apart(heights, 0.0, 200.0)
    ordered = sorted(zip(heights, placed, strict=True))
    assert all(below[1] - above[1] >= 15.0 - 1e-9 for above, below in pairwise(ordered))
    assert 0.0 <= min(placed) <= max(placed) <= 200.0


def test_labels_that_have_room_stay_where_they_belong() -> None:
    assert apart([100.0, 10.0, 60.0], 0.0, 200.0) == [100.0, 10.0, 60.0]


@settings(deadline=None)
@given(st.lists(st.floats(0, 1, allow_nan=False), max_size=60), st.integers(1, 20))
def test_what_is_condensed_covers_the_same_time_and_keeps_the_peak(values: list[float], most: int) -> None:
    pieces = [(float(index), float(index + 1), value) for index, value in enumerate(values)]
    made = condensed(pieces, most)
    assert len(made) <= most
    if pieces:
        assert (made[0][0], made[-1][1]) == (0.0, float(len(values)))
        assert max(value for *_, value in made) == max(values)


def test_a_line_breaks_where_there_is_no_value() -> None:
    assert line([(0, 1.0), (50, None), (100, 2.0)]) == "M0.0 1.0M1000.0 2.0"


def test_steps_are_level_and_an_area_returns_to_its_base() -> None:
    assert steps([(0, 50, 10.0), (50, 100, 20.0)]) == "M0.0 10.0V10.0H500.0V20.0H1000.0"
    assert steps([(0, 100, 10.0)], 90.0) == "M0.0 90.0V10.0H1000.0V90.0Z"
    assert steps([]) == ""


def test_marks_that_would_hide_behind_another_of_their_kind_are_left_out() -> None:
    marks = [Mark(10.0, 5.0, "asked", "a"), Mark(10.1, 5.0, "asked", "b"), Mark(10.1, 5.0, "stopped", "c")]
    marks += [Mark(10.2, 9.0, "asked", "d"), Mark(10.6, 5.0, "asked", "e")]
    assert [mark.text for mark in sparse(marks)] == ["a", "c", "d", "e"]

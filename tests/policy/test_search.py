"""Tuned search: what is tried lies in the space, is spread over it, and is the same at every time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpcretrain.canonical import canonical
from hpcretrain.policy.search import found, said, trials
from hpcretrain.policy.types import Dimension

SPACE = {
    "rate": Dimension(low=0.01, high=1.0, log=True),
    "leaves": Dimension(low=2, high=40),
    "share": Dimension(low=-1.0, high=1.0),
    "kind": Dimension(choices=("a", "b")),
}
whole = st.integers(-(10**6), 10**6)
real = st.floats(-1e6, 1e6)
ranges = st.tuples(whole, whole) | st.tuples(real, real)
dimensions = ranges.filter(lambda pair: pair[0] < pair[1]).map(lambda pair: Dimension(low=pair[0], high=pair[1]))
scales = st.tuples(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6)).filter(lambda pair: pair[0] < pair[1])
logs = scales.map(lambda pair: Dimension(low=pair[0], high=pair[1], log=True))


def test_each_part_of_each_range_is_tried_once() -> None:
    drawn = trials(SPACE, 10, 7)
    assert len(drawn) == 10
    shares = sorted((float(each["share"]) + 1) / 2 for each in drawn)
    assert [int(share * 10 - 1e-9) for share in shares] == list(range(10))
    rates = sorted(float(each["rate"]) for each in drawn)
    assert rates[4] < 0.101 <= rates[5] * 1.02, "half of the trials of a rate lie below its geometric middle"
    assert sum(each["kind"] == "a" for each in drawn) == 5
    assert {type(each["leaves"]) for each in drawn} == {int}


@given(st.dictionaries(st.sampled_from("abcd"), dimensions | logs, min_size=1), st.integers(1, 20), st.integers(0, 99))
def test_what_is_tried_lies_in_the_space_and_is_the_same_for_a_seed(
    space: dict[str, Dimension], count: int, seed: int
) -> None:
    drawn = trials(space, count, seed)
    assert all(space[name].holds(value) for each in drawn for name, value in each.items())
    assert 1 <= len(drawn) <= count
    assert len({canonical(each) for each in drawn}) == len(drawn), "nothing is tried twice"
    assert drawn == trials(dict(reversed(space.items())), count, seed)
    served = {name: canonical(value) for name, value in drawn[0].items()}
    assert found(space, served) == drawn[0], "what won is found again"


@given(dimensions | logs, st.floats(0, 1), st.floats(0, 1))
def test_values_grow_with_their_place(dimension: Dimension, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert dimension.at(low) <= dimension.at(high)  # type: ignore[operator]
    assert dimension.corners == (dimension.low, dimension.high)


def test_whole_numbers_have_the_same_room_and_narrow_ranges_their_digits() -> None:
    for seed in range(20):
        assert sorted(int(each["n"]) for each in trials({"n": Dimension(low=1, high=6)}, 6, seed)) == [1, 2, 3, 4, 5, 6]
    places = [Dimension(low=1, high=1000, log=True).at((each + 0.5) / 300) for each in range(300)]
    assert 95 < sum(int(each) < 10 for each in places) < 105, "a third in each power of ten"
    for narrow in (
        Dimension(low=0.999, high=0.9999),
        Dimension(low=1000.0, high=1009.0),
        Dimension(low=0.999, high=0.9999, log=True),
    ):
        assert len({narrow.at(each / 8) for each in range(9)}) == 9
    assert Dimension(low=0.01, high=1.0, log=True).at(0.5) == 0.1


def test_a_small_space_is_tried_through_once() -> None:
    drawn = trials({"kind": Dimension(choices=(1, 2, 3))}, 12, 0)
    assert sorted(int(each["kind"]) for each in drawn) == [1, 2, 3]


def test_what_was_found_outside_of_the_space_is_not_kept() -> None:
    served = {"rate": "2.0", "leaves": "7", "kind": '"c"', "other": "1"}
    assert found(SPACE, served) == {"leaves": 7}
    assert said({"kind": "a", "rate": 0.1, "on": True}) == 'kind="a", rate=0.1, on=true'
    assert not Dimension(choices=(1, 2)).holds(True)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({}, "give low and high, or choices"),
        ({"low": 1}, "give low and high, or choices"),
        ({"low": 1, "high": 2, "choices": (1, 2)}, "not both"),
        ({"choices": (1, 2), "log": True}, "not both"),
        ({"low": 2, "high": 2}, "low must be less"),
        ({"low": 0.0, "high": 2.0, "log": True}, "above 0"),
        ({"low": float("nan"), "high": 2.0}, "must be a number"),
        ({"low": 0.0, "high": float("inf")}, "must be a number"),
        ({"low": True, "high": 2}, "must be a number"),
        ({"low": "1", "high": 2}, "must be a number"),
        ({"choices": (1.0, float("nan"))}, "not finite"),
        ({"choices": (1,)}, "at least 2"),
        ({"choices": ("a", "b", "a")}, "there twice"),
    ],
)
def test_a_range_that_says_nothing_is_refused(content: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Dimension.model_validate(content)


def test_more_trials_spread_finer() -> None:
    for few, many in pairwise((2, 4, 8, 16)):
        widest = []
        for count in (few, many):
            values = sorted(float(each["share"]) for each in trials(SPACE, count, 3))
            widest.append(max(after - before for before, after in pairwise((-1.0, *values, 1.0))))
        assert widest[1] < widest[0] * 1.1

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.evidence import Family, Measure
from hpcretrain.report.signals import MEANINGS, printable, state, text
from hpcretrain.signallines import line_of, parse_signals

NOW = datetime(2026, 3, 12, tzinfo=UTC)


def measure(family: Family = Family.SERVING, effect: float | None = 1.0, bound: float | None = 0.5) -> Measure:
    return Measure("flights", family, "latency", NOW, effect, bound, 60, 100.0, reason="150 against 100")


@given(st.text(), st.text(), st.text())
def test_whatever_another_tool_calls_things_the_line_can_be_read(model: str, name: str, reason: str) -> None:
    odd = Measure(model, Family.INPUT_DRIFT, name, NOW, 1.0, 0.5, 1, None, reason=reason)
    (found,) = parse_signals([line_of(printable(odd)).encode()], "f")
    assert (found.effect, found.lower_bound) == (1.0, 0.5)


def test_what_can_be_printed_stays_as_it_is() -> None:
    assert printable(measure()) == measure()


@pytest.mark.parametrize(
    ("family", "effect", "bound", "said"),
    [
        (Family.SERVING, 1.0, 0.5, "worse"),
        (Family.SERVING, 1.0, 0.0, "not surely worse"),
        (Family.SERVING, 0.0, 0.0, "not worse"),
        (Family.SERVING, None, None, "not measured"),
        (Family.SERVING, math.nan, math.nan, "investigate"),
        (Family.SERVING, math.inf, 1.0, "investigate"),
        (Family.EXTERNAL, None, None, "reported"),
        (Family.BLIND, 1.0, 1.0, "blind"),
    ],
)
def test_a_signal_comes_to_a_word(family: Family, effect: float | None, bound: float | None, said: str) -> None:
    assert state(measure(family, effect, bound)) == said


def test_every_family_has_a_meaning_which_is_told_once() -> None:
    told = text([measure(family) for family in Family for _ in range(2)])
    assert [told.count(meaning) for meaning in MEANINGS.values()] == [1] * len(Family)


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([(1.0, 0.5), (math.nan, math.nan)], MEANINGS[Family.PERFORMANCE]),
        ([(0.0, 0.0), (0.5, 0.0)], "nothing worse"),
        ([(0.0, 0.0), (math.nan, math.nan)], "broken: a number is none; mend what measures it"),
        ([(0.0, 0.0), (None, None)], "nothing worse where it was measured"),
        ([(None, None)], "nothing measured; not a sign of health"),
    ],
)
def test_a_family_says_what_it_means_only_where_something_of_it_counts(
    effects: list[tuple[float | None, float | None]], said: str
) -> None:
    told = text([measure(Family.PERFORMANCE, *each) for each in effects])
    assert told.splitlines()[1] == f"  performance: {said}"


def test_no_signal_is_said_to_be_none() -> None:
    assert "no signal" in text([])

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.adapters.outsideevents import parse, read
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family

RECORDED = Path(__file__).with_name("signals_recorded") / "prefect-3.8.8.jsonl"


def test_events_that_count_are_outside_signals_with_their_deadlines() -> None:
    launch, rules = read(RECORDED, ["regulator.*", "product.launch"], ["flights"])
    assert {each.family for each in (launch, rules)} == {Family.EXTERNAL}
    assert (launch.model, launch.effect) == ("rides", None)
    assert launch.deadline == datetime(2026, 4, 15, 6, tzinfo=UTC)
    assert (rules.model, rules.name, rules.effect, rules.lower_bound) == ("flights", "regulator.deadline", 0.5, 0.5)
    assert rules.at == datetime(2026, 3, 1, 6, tzinfo=UTC)
    assert rules.reason == "new reporting rules take effect"


def test_an_event_that_comes_twice_is_one_and_in_any_order() -> None:
    lines = RECORDED.read_bytes().splitlines()
    once = parse(lines, ["*"], ["flights"], "f")
    assert parse([*reversed(lines), *lines], ["*"], ["flights"], "f") == once
    assert len(once) == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"occurred": "2026-03-01"}, "occurred is a time with an offset"),
        ({"occurred": None}, "occurred is a time"),
        ({"event": 1}, "event is a word"),
        ({"payload": []}, None),
        ({"payload": [1]}, "payload is no JSON object"),
        ({"payload": {"deadline": "soon"}}, "deadline is a time"),
        ({"payload": {"effect": 2}}, "effect is a number from 0 to 1"),
        ({"payload": {"effect": float("nan")}}, "effect is a number from 0 to 1"),
        ({"payload": {"reason": "a\nb"}}, "reason is one line"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_its_number(change: dict[str, object], why: str | None) -> None:
    event = {"event": "e", "occurred": "2026-03-01T00:00Z", "payload": {}, **change}
    lines = [b"\n", json.dumps(event).encode()]
    if why is None:
        assert len(parse(lines, ["*"], ["m"], "f")) == 1
        return
    with pytest.raises(InputError, match=f"^f, line 2: {why}"):
        parse(lines, ["*"], ["m"], "f")


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_read_or_refused(lines: list[bytes]) -> None:
    problems: tuple[str, ...] = ()
    try:
        parse(lines, ["*"], ["m"], "f")
    except InputError as error:
        problems = error.problems
    assert all(problem.startswith("f, line ") for problem in problems)

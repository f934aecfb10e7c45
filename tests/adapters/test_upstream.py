from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.adapters.upstream import Rules, measures, parse
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family

NOW = datetime(2026, 3, 2, tzinfo=UTC)
RULES = Rules(("flights",), (), None, fine_hours=1, broken_hours=10)


def line(source: str = "weather", at: str = "2026-03-01T06:00Z", ok: bool = True, **more: object) -> bytes:
    return json.dumps({"source": source, "at": at, "ok": ok, **more}).encode()


@pytest.mark.parametrize(
    ("more", "effect"),
    [
        ({}, 0.0),
        ({"late_hours": 0.5}, 0.0),
        ({"late_hours": 6}, 0.5),
        ({"late_hours": 400}, 1.0),
        ({"ok": False}, 1.0),
        ({"ok": False, "late_hours": 2}, 1.0),
    ],
)
def test_lateness_counts_beyond_what_is_fine_and_broken_counts_in_full(more: dict[str, object], effect: float) -> None:
    (found,) = measures(parse([line(**more)], "f"), RULES, NOW)  # type: ignore[arg-type]
    assert (found.family, found.name, found.effect, found.lower_bound) == (Family.UPSTREAM, "weather", effect, effect)


def test_lateness_that_nobody_knows_is_evidence() -> None:
    (found,) = measures(parse([line(late_hours=math.nan)], "f"), RULES, NOW)
    assert found.effect is not None
    assert math.isnan(found.effect)


def test_every_model_that_depends_on_a_source_is_told() -> None:
    found = measures(parse([line()], "f"), replace(RULES, models=("a", "b")), NOW)
    assert [each.model for each in found] == ["a", "b"]


def test_a_source_that_does_not_report_is_blind() -> None:
    rules = replace(RULES, sources=("weather", "planes"), expect_every=timedelta(hours=20))
    found = measures(parse([line(), line("other")], "f"), rules, NOW - timedelta(hours=1))
    assert [(each.family, each.name, each.effect) for each in found] == [
        (Family.UPSTREAM, "weather", 0.0),
        (Family.BLIND, "planes", 0.5),
    ]
    assert "never heard of, and should report every 20 h" in found[1].reason
    assert measures(parse([line()], "f"), rules, NOW + timedelta(days=1))[-1].effect == 1.0


def test_what_is_not_yet_is_not_heeded() -> None:
    assert measures(parse([line(at="2026-03-03T00:00Z")], "f"), RULES, NOW) == []


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 23), st.booleans())), st.randoms())
def test_the_order_of_lines_and_repetitions_do_not_matter(
    rows: list[tuple[str, int, bool]], chance: random.Random
) -> None:
    lines = [line(source, f"2026-03-01T{hour:02}:00Z", ok) for source, hour, ok in rows]
    assert parse(lines, "f") == parse([*chance.sample(lines, len(lines)), *lines[:1]], "f")


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"\xff",
        line(at="2026-03-01"),
        line(at="soon"),
        line(source=""),
        line(ok=1),  # type: ignore[arg-type]
        line(late_hours=-1),
        line(late_hours="x"),
        line(extra=1),
        line(reason="two\nlines"),
        b'{"ok": true}',
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_its_number(bad: bytes) -> None:
    with pytest.raises(InputError, match=r"^f, line 3: "):
        parse([line(), b"\n", bad], "f")


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_bytes_are_read_or_refused(lines: list[bytes]) -> None:
    problems: tuple[str, ...] = ()
    try:
        parse(lines, "f")
    except InputError as error:
        problems = error.problems
    assert all(problem.startswith("f, line ") for problem in problems)

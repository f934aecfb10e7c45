from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.adapters.signalfile import line_of, parse_signals, read_signals
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family, Measure

LINE = {
    "model": "m",
    "family": "performance",
    "name": "auc",
    "at": "2026-03-01T12:00:00Z",
    "effect": 0.1,
    "lower_bound": 0.05,
    "n": 1000,
    "reference": 0.7,
}


def parsed(*lines: object) -> list[Measure]:
    return parse_signals([json.dumps(line).encode() for line in lines], "s.jsonl")


def test_a_line_is_a_signal() -> None:
    [found] = parsed({**LINE, "at": "2026-03-01T13:00:00+01:00", "deadline": "2026-04-01T00:00:00Z", "reason": "law"})
    assert found == Measure(
        "m", Family.PERFORMANCE, "auc", datetime(2026, 3, 1, 12, tzinfo=UTC), 0.1, 0.05, 1000, 0.7,
        datetime(2026, 4, 1, tzinfo=UTC), "law",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": ""}, "model must be printable text"),
        ({"model": "a\x1b[2J"}, "model must be printable text"),
        ({"family": "mood"}, "family must be one of performance"),
        ({"at": "2026-03-01T12:00:00"}, "at must say its time zone"),
        ({"at": "yesterday"}, "at must be a time in ISO 8601"),
        ({"at": 5}, "at must be a time in ISO 8601"),
        ({"effect": -0.1, "lower_bound": -0.2}, "effect must not be negative"),
        ({"effect": "much"}, "effect must be a number or null"),
        ({"effect": True}, "effect must be a number or null"),
        ({"lower_bound": 0.2}, r"lower_bound 0\.2 is above the effect 0\.1"),
        ({"effect": None}, "lower_bound is given without an effect"),
        ({"lower_bound": None}, "effect is given without its lower_bound"),
        ({"n": -1}, "n must be a whole number"),
        ({"n": 1.5}, "n must be a whole number"),
        ({"deadline": "soon"}, "deadline must be a time"),
        ({"severity": 3}, "'severity' is unknown"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_with_its_number(change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=rf"s\.jsonl: line 2: .*{words}"):
        parsed(LINE, {**LINE, **change})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "is no JSON object"),
        (b'"x"', "is no JSON object"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"[" * 100_000, "is nested too deeply|is not JSON"),
        (b'{"model": "m", "model": "n"}', "names a key twice"),
        (b"{}", "model is missing; family is missing"),
        (b'"' + b"x" * 2_000_000 + b'"', "is longer than"),
    ],
)
def test_what_is_no_line_is_refused_with_its_number(line: bytes, words: str) -> None:
    with pytest.raises(InputError, match=rf"s\.jsonl: line 3: ({words})"):
        parse_signals([json.dumps(LINE).encode(), b"\n", line], "s.jsonl")


def test_all_lines_that_are_wrong_are_named_at_once() -> None:
    with pytest.raises(InputError) as refused:
        parsed({**LINE, "n": -1}, LINE, {**LINE, "at": "x"})
    assert len(refused.value.problems) == 2
    with pytest.raises(InputError) as refused:
        parsed(*[{**LINE, "n": -1}] * 100)
    assert len(refused.value.problems) == 21
    assert "and 80 lines more" in refused.value.problems[-1]


def test_numbers_that_are_not_finite_are_kept_as_evidence() -> None:
    found = parse_signals(
        [json.dumps({**LINE, "effect": each}).encode() for each in (math.nan, math.inf, "NaN", "-Infinity")], "s"
    )
    assert [math.isfinite(each.effect or 0.0) for each in found] == [False] * 4


def test_a_file_without_a_signal_and_one_that_is_not_there_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(InputError, match="holds no signal"):
        read_signals(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_signals(tmp_path / "none.jsonl")


@given(st.binary(max_size=200).filter(bytes.strip))
def test_any_bytes_are_refused_by_their_number(line: bytes) -> None:
    with pytest.raises(InputError, match=r"^s: line 1: "):
        parse_signals([line], "s")


measures = st.builds(
    Measure,
    model=st.sampled_from(["m", "long name", "é"]),
    family=st.sampled_from(Family),
    name=st.sampled_from(["auc", "x1"]),
    at=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    effect=st.floats(1, 2),
    lower_bound=st.floats(-1, 1),
    n=st.integers(0, 10**9),
    reference=st.one_of(st.none(), st.floats(allow_nan=False)),
    deadline=st.one_of(st.none(), st.just(datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2))))),
    reason=st.sampled_from(["", "why"]),
)


@given(measures)
def test_what_is_written_as_a_line_is_read_back(measure: Measure) -> None:
    assert parse_signals([line_of(measure).encode()], "s") == [measure]

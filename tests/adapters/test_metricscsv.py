from __future__ import annotations

import random
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.adapters.metricscsv import Form, parse, read
from hpcretrain.errors import InputError

WIDE = Form("time", ZoneInfo("UTC"))
LONG = Form("time", ZoneInfo("UTC"), "metric", "value")


def test_a_wide_file_has_a_series_for_each_column() -> None:
    found = parse(
        ["time,auc,psi,other", "1970-01-01T00:01,0.7,,x", "1970-01-01T00:00:30Z,0.8,nan,y"], WIDE, ["auc", "psi"], "f"
    )
    assert found["auc"].times.tolist() == [30, 60]
    assert found["auc"].values.tolist() == [0.8, 0.7]
    np.testing.assert_array_equal(found["psi"].values, [np.nan])


def test_a_long_file_has_a_series_for_each_wanted_name() -> None:
    lines = ["metric,time,value", "auc,1970-01-01,0.7", "psi,1970-01-01,1e999", "noise,1970-01-01,no number"]
    found = parse(lines, LONG, ["auc", "psi", "silent"], "f")
    assert {name: each.values.tolist() for name, each in found.items()} == {"auc": [0.7], "psi": [np.inf], "silent": []}


def test_times_without_an_offset_are_in_the_time_zone() -> None:
    form = Form("time", ZoneInfo("Europe/Berlin"))
    assert parse(["time,x", "1970-01-01T01:00,1", "1970-01-01T01:00Z,1"], form, ["x"], "f")["x"].times.tolist() == [
        0,
        3600,
    ]


def test_everything_that_is_wrong_is_told_with_its_line() -> None:
    lines = ["time,x", "soon,1", "1970-01-01,much", "1970-01-01,1,2", "1970-01-02,1", "1970-01-02,2"]
    with pytest.raises(InputError) as refused:
        parse(lines, WIDE, ["x"], "f")
    assert [problem.split(":")[0] for problem in refused.value.problems] == [f"f, line {line}" for line in (2, 3, 4, 6)]


def test_columns_that_are_missing_or_twice_there_are_told() -> None:
    with pytest.raises(InputError, match='no column "time"') as refused:
        parse(["x,x", "1,2"], WIDE, ["x"], "f")
    assert len(refused.value.problems) == 2


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("none", "binary"):
        with pytest.raises(InputError, match="cannot be read"):
            read(tmp_path / name, WIDE, ["x"])


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(-1e9, 1e9)), unique_by=lambda row: row[0]), st.randoms())
def test_the_order_of_lines_does_not_matter(rows: list[tuple[int, float]], chance: random.Random) -> None:
    lines = [f"{np.datetime64(time, 's')}Z,{value!r}" for time, value in rows]
    mixed = chance.sample(lines, len(lines))
    first, second = (parse(["time,x", *each], WIDE, ["x"], "f")["x"] for each in (lines, mixed))
    assert first.times.tolist() == second.times.tolist()
    assert first.values.tolist() == second.values.tolist()


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for form in (WIDE, LONG):
        problems: tuple[str, ...] = ()
        try:
            parse(["time,metric,value,x\n", *text.splitlines(keepends=True)], form, ["x"], "f")
        except InputError as error:
            problems = error.problems
        assert all(problem.startswith("f") for problem in problems)

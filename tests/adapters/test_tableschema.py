"""What the columns and the target of a table are taken for, and what is refused."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_tables import (
    HOURS,
    MICROSECOND,
    START,
    UNTIL,
    everything,
    frame,
    kinds,
    late,
    lines,
    only,
    problem,
    to_parquet,
)


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    return to_parquet(tmp_path / "table.parquet", frame())


class TestColumns:
    def test_missing_columns_are_refused_with_those_that_exist(self, parquet: Path) -> None:
        for changes in ({"target": "z"}, {"features": ("z",)}, {"categorical": ("z",)}, {"time_column": "z"}):
            found = problem(parquet, **changes)
            assert '"z"' in found
            assert "time, number, count, word, code, y" in found

    @pytest.mark.parametrize("name", ["y", "time"])
    def test_target_and_time_cannot_be_features(self, parquet: Path, name: str) -> None:
        assert f'"{name}" is the t' in problem(parquet, features=("number", name))
        assert f'"{name}" is the t' in problem(parquet, categorical=(name,))

    def test_a_feature_cannot_stand_twice(self, parquet: Path) -> None:
        assert "more than once" in problem(parquet, features=("number", "number"))

    def test_a_category_must_be_a_feature(self, parquet: Path) -> None:
        assert "not among model.features" in problem(parquet, features=("number",), categorical=("word",))

    def test_a_table_without_features_is_refused(self, tmp_path: Path) -> None:
        for cells in ({}, {"a": ["", "", "", "x"]}):
            assert "no column but target and time" in problem(lines(tmp_path / "t.csv", y=[0, 1, 0, 1], **cells))

    def test_the_name_of_the_label_is_taken(self, tmp_path: Path) -> None:
        assert "__label__" in problem(to_parquet(tmp_path / "t.parquet", frame().assign(__label__=1)))

    @pytest.mark.parametrize(
        ("cells", "kind"),
        [
            (["1", "2.5", "-3e2", " 4 ", "+.5", "1.", "", "x"], "number"),
            (["a", "b", "1", "c", "d", "2", "", "5"], "category"),
            (["True", "False", "True", "True", "False", "True", "False", "1"], "category"),
            (["1_000", "0x1F", "1,5", "nan?", "1e", "-", "٣", "1"], "category"),
        ],
    )
    def test_kinds_in_csv_follow_the_reference(self, tmp_path: Path, cells: list[str], kind: str) -> None:
        assert kinds(late(lines(tmp_path / "t.csv", a=cells))) == {"a": kind}

    def test_text_among_numbers_is_refused_with_the_way_out(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", a=["1", "", "?", "2", "n.a.", "1"])
        found = problem(path)
        for what in ('"a"', "2 of 4", '"?"', f"{path}, row 3", "model.categorical"):
            assert what in found
        assert kinds(late(path, categorical=("a",))) == {"a": "category"}

    def test_text_among_numbers_is_found_over_files(self, tmp_path: Path) -> None:
        content = frame()
        first = to_parquet(tmp_path / "1.parquet", content[:60])
        second = to_parquet(tmp_path / "2.parquet", content[60:].assign(count=content["count"].astype(str)))
        assert "40 of 100 values in the reference are text among numbers, the first " in problem(first, second)
        assert f"{second}, row 1" in problem(first, second)

    @pytest.mark.parametrize("cell", ["inf", "-Infinity", "1e999"])
    def test_infinite_cells_in_the_reference_are_refused(self, tmp_path: Path, cell: str) -> None:
        path = lines(tmp_path / "t.csv", a=["1", "2", cell, "4"])
        assert f"infinite in the reference ({path}, row 3)" in problem(path)

    def test_infinite_cells_after_the_reference_are_kept(self, tmp_path: Path) -> None:
        assert only(late(lines(tmp_path / "t.csv", a=["1", "2", "3", "-inf"])), "a") == [1, 2, 3, -np.inf]

    @pytest.mark.parametrize("changes", [{"features": ("a",)}, {"features": ("a", "b")}, {"categorical": ("a",)}])
    def test_a_feature_that_is_asked_for_must_have_a_value_in_the_reference(
        self, tmp_path: Path, changes: dict[str, tuple[str, ...]]
    ) -> None:
        text = lines(tmp_path / "t.csv", a=["", "", "", "4"], b=[1, 2, 3, 4])
        typed = frame().assign(a=pd.Series([None] * 100 + [1] * 200, dtype="Int64"), b=1)
        for path in (text, to_parquet(tmp_path / "t.parquet", typed)):
            assert '"a" has no value in the reference' in problem(path, **changes)

    def test_a_column_without_a_value_in_the_reference_is_no_feature_by_default(self, tmp_path: Path) -> None:
        assert list(kinds(late(lines(tmp_path / "t.csv", a=["", "", "", "4"], b=[1, 2, 3, 4])))) == ["b"]
        content = frame().assign(never=None, later=[None] * 100 + [[1]] * 200)
        assert list(kinds(late(to_parquet(tmp_path / "t.parquet", content)))) == ["number", "count", "word", "code"]

    @pytest.mark.parametrize(
        "cells",
        [
            pd.Series(pd.date_range(START, periods=HOURS)),
            pd.Series([[1]] * HOURS),
            pd.Series([{"a": 1}] * HOURS),
            pd.Series([b"1"] * HOURS),
            pd.Series([date(2020, 1, 1)] * HOURS),
        ],
        ids=["timestamp", "list", "struct", "bytes", "date"],
    )
    def test_types_that_are_no_features_are_refused_unless_left_out(self, tmp_path: Path, cells: pd.Series) -> None:
        path = to_parquet(tmp_path / "t.parquet", frame().assign(odd=cells))
        assert '"odd"' in problem(path)
        assert "leave it out" in problem(path)
        late(path, features=("number",))

    def test_booleans_in_parquet_are_numbers(self, tmp_path: Path) -> None:
        path = to_parquet(tmp_path / "t.parquet", frame().assign(flag=[True, False, True] * 100))
        assert only(late(path), "flag")[:3] == [1.0, 0.0, 1.0]
        assert only(late(path, categorical=("flag",)), "flag")[:3] == ["1", "0", "1"]

    def test_dictionaries_in_parquet_are_text(self, tmp_path: Path) -> None:
        path = to_parquet(tmp_path / "t.parquet", frame().assign(word=frame()["word"].astype("category")))
        assert pa.types.is_dictionary(pq.read_schema(path).field("word").type)
        assert late(path).fingerprint == late(to_parquet(tmp_path / "p.parquet", frame())).fingerprint

    def test_digits_that_are_text_in_parquet_are_text(self, tmp_path: Path) -> None:
        path = to_parquet(tmp_path / "t.parquet", frame().assign(code=frame()["code"].astype(str)))
        assert kinds(late(path))["code"] == "category"

    def test_whole_numbers_in_a_category_have_no_point(self, tmp_path: Path) -> None:
        wanted = ["1", "0", "-2", "2.5", None, "7"]
        floats = [1.0, -0.0, -2.0, 2.5, None, 7.0] * 50
        typed = to_parquet(tmp_path / "t.parquet", frame().assign(code=floats))
        assert only(late(typed, categorical=("code",)), "code")[:6] == wanted
        text = lines(tmp_path / "t.csv", a=["1.0", "0.0", "-2", "2.5", "", "7.000", "007", "1.0.0"])
        assert only(late(text, categorical=("a",)), "a") == [*wanted, "007", "1.0.0"]

    def test_large_whole_numbers_stay_apart_in_a_category(self, tmp_path: Path) -> None:
        path = to_parquet(tmp_path / "t.parquet", frame().assign(code=2**53 + np.arange(HOURS)))
        assert only(late(path, categorical=("code",)), "code")[:2] == [str(2**53), str(2**53 + 1)]

    def test_every_width_of_number_is_read(self, tmp_path: Path) -> None:
        arrays = {
            "time": pa.array(frame()["time"].dt.tz_convert(None)),
            "y": pa.array(frame()["y"]),
            "int8": pa.array([1, None, 3] * 100, pa.int8()),
            "uint64": pa.array([1, None, 3] * 100, pa.uint64()),
            "float32": pa.array([1, None, 3] * 100, pa.float32()),
            "half": pa.array(np.array([1, np.nan, 3] * 100, dtype=np.float16)),
            "decimal": pa.array([1, None, 3] * 100, pa.decimal128(5, 2)),
        }
        pq.write_table(pa.table(arrays), tmp_path / "t.parquet")
        table = late(tmp_path / "t.parquet")
        for column in table.columns:
            np.testing.assert_array_equal(only(table, column.name), [1, np.nan, 3] * 100)
        asked = tuple(column.name for column in table.columns)
        for name in asked:
            assert only(late(tmp_path / "t.parquet", categorical=asked), name)[:3] == ["1", None, "3"]


class TestTarget:
    @pytest.mark.parametrize(
        "labels", [["0", "1"] * 4, ["0.0", "1.0"] * 4, ["False", "True"] * 4, ["false", " TRUE"] * 4, ["0", "true"] * 4]
    )
    def test_binary_labels_in_csv(self, tmp_path: Path, labels: list[str]) -> None:
        table = late(lines(tmp_path / "t.csv", y=labels, a=range(8)))
        np.testing.assert_array_equal(table.labels(everything(table)), [0, 1] * 4)

    @pytest.mark.parametrize("labels", [[0, 1], [0.0, 1.0], [False, True], ["0", "1"], ["False", "True"]])
    def test_binary_labels_in_parquet(self, tmp_path: Path, labels: list[Any]) -> None:
        table = late(to_parquet(tmp_path / "t.parquet", frame().assign(y=labels * (HOURS // 2))))
        np.testing.assert_array_equal(table.labels(everything(table)), [0, 1] * (HOURS // 2))

    def test_labels_that_are_no_class_are_refused(self, tmp_path: Path) -> None:
        found = problem(lines(tmp_path / "t.csv", y=["yes", "no", "2", "yes", "1", "0"], a=range(6)))
        for what in ("binary", '"y"', 'found "yes", "no", "2" in 4 rows', '"regression"'):
            assert what in found

    def test_text_labels_are_refused_for_regression(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", y=["1", "2", "3", "four", "inf", "True", "0"], a=range(7))
        assert 'found "four", "inf", "True" in 3 rows' in problem(path, task="regression")

    def test_labels_of_another_type_are_refused(self, tmp_path: Path) -> None:
        content = frame().assign(y=frame()["time"])
        assert "does not fit" in problem(to_parquet(tmp_path / "t.parquet", content))

    @pytest.mark.parametrize("labels", [["1"] * 5 + ["0"], [""] * 5 + ["1"]])
    def test_both_classes_must_be_in_the_reference(self, tmp_path: Path, labels: list[str]) -> None:
        assert "both are needed" in problem(lines(tmp_path / "t.csv", y=labels, a=range(6)))

    def test_regression_needs_more_than_two_values_in_the_reference(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", y=["0", "1", "0", "1", "2"], a=range(5))
        assert 'task "binary"' in problem(path, task="regression")
        late(lines(tmp_path / "3.csv", y=["0", "1", "2", "1", "2"], a=range(5)), task="regression")

    @pytest.mark.parametrize(
        ("task", "unreadable"), [("binary", ["2", "yes", "", "inf"]), ("regression", ["?", "", "-inf"])]
    )
    def test_a_label_that_cannot_be_read_after_the_reference_is_missing(
        self, tmp_path: Path, task: str, unreadable: list[str]
    ) -> None:
        known = ["0", "1", "0"] if task == "binary" else ["0", "1.5", "-2e1"]
        table = late(
            lines(tmp_path / "t.csv", y=[*known, *unreadable], a=range(3 + len(unreadable))),
            task=task,
            reference_until=UNTIL - timedelta(hours=len(unreadable) - 1),
        )
        rows = table.matured(table.first_time, UNTIL + MICROSECOND)
        assert np.isnan(table.labels(rows)).tolist() == [False] * 3 + [True] * len(unreadable)
        assert len(table.labeled(table.first_time, UNTIL + MICROSECOND)) == 3

    def test_a_missing_label_in_the_reference_is_missing(self, tmp_path: Path) -> None:
        table = late(lines(tmp_path / "t.csv", y=["0", "", "1", "0"], a=range(4)))
        assert table.labeled(table.first_time, UNTIL).index.tolist() == [0, 2]
        assert table.matured(table.first_time, UNTIL).index.tolist() == [0, 1, 2]

    def test_labels_not_known_by_the_end_of_the_reference_do_not_count(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", y=["0", "1", "0", "many", "0"], a=range(5))
        late(path, label_delay=timedelta(hours=1, microseconds=1))
        assert '"many"' in problem(path, label_delay=timedelta(hours=1))

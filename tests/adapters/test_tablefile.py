"""Which files and which times are read, and which are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from small_tables import (
    END,
    HOURS,
    MICROSECOND,
    START,
    everything,
    frame,
    kinds,
    late,
    lines,
    only,
    problem,
    problems,
    to_csv,
    to_parquet,
)

from hpcretrain.adapters.table import Column
from hpcretrain.adapters.tablefile import MISSING


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    return to_parquet(tmp_path / "table.parquet", frame())


class TestFiles:
    def test_csv_and_parquet_of_one_table_are_the_same_table(self, tmp_path: Path, parquet: Path) -> None:
        typed, text = late(parquet), late(to_csv(tmp_path / "table.csv", frame()))
        assert typed.columns == text.columns
        rows = everything(typed)
        pd.testing.assert_frame_equal(typed.frame(rows, labels=True), text.frame(rows, labels=True))
        assert typed.digest(rows, labels=True) == text.digest(rows, labels=True)
        assert typed.fingerprint == text.fingerprint
        np.testing.assert_array_equal(
            typed.hashes(rows, times=True, labels=True), text.hashes(rows, times=True, labels=True)
        )

    def test_a_table_keeps_the_cells_that_it_was_given(self, parquet: Path) -> None:
        table, content = late(parquet), frame()
        shown = table.frame(everything(table), labels=True)
        assert list(shown) == ["number", "count", "word", "code", "__label__"]
        np.testing.assert_array_equal(shown["number"], content["number"])
        assert shown["word"].to_list() == content["word"].astype(object).where(content["word"].notna(), None).to_list()
        np.testing.assert_array_equal(shown["__label__"], content["y"])
        assert [str(kind) for kind in shown.dtypes] == ["float64", "float64", "object", "float64", "float64"]

    def test_columns_default_to_all_but_target_and_time_in_order(self, parquet: Path) -> None:
        assert late(parquet).columns == (
            Column("number", "number"),
            Column("count", "number"),
            Column("word", "category"),
            Column("code", "number"),
        )

    def test_features_are_those_asked_for_in_that_order(self, tmp_path: Path, parquet: Path) -> None:
        for path in (parquet, to_csv(tmp_path / "table.csv", frame())):
            assert [column.name for column in late(path, features=("word", "count")).columns] == ["word", "count"]

    @pytest.mark.parametrize("marker", MISSING)
    def test_every_marker_is_missing_in_csv(self, tmp_path: Path, marker: str) -> None:
        path = lines(tmp_path / "t.csv", a=[1, marker, 3, 4], b=["x", marker, "z", "x"])
        table = late(path)
        assert np.isnan(only(table, "a")[1])
        assert only(table, "b") == ["x", None, "z", "x"]

    def test_an_index_that_pandas_left_is_not_a_feature(self, tmp_path: Path) -> None:
        content = frame()
        content.index = pd.Index(np.arange(HOURS)[::-1])
        content.to_parquet(tmp_path / "t.parquet")
        content.to_csv(tmp_path / "t.csv")
        for name in ("t.parquet", "t.csv"):
            assert list(kinds(late(tmp_path / name))) == ["number", "count", "word", "code"]

    def test_folders_named_like_partitions_add_no_column(self, tmp_path: Path) -> None:
        folder = tmp_path / "region=north"
        folder.mkdir()
        assert "region" not in kinds(late(to_parquet(folder / "t.parquet", frame())))

    def test_many_files_are_one_table(self, tmp_path: Path, parquet: Path) -> None:
        content = frame()
        parts = [
            to_csv(tmp_path / "1.csv", content[150:]),
            to_parquet(tmp_path / "2.parquet", content[:90]),
            to_csv(tmp_path / "3.csv", content[90:150]),
        ]
        assert late(*parts).fingerprint == late(parquet).fingerprint

    def test_rows_of_one_time_keep_the_order_of_files_and_rows(self, tmp_path: Path) -> None:
        first = lines(tmp_path / "1.csv", a=[1, 2, 3, 4])
        second = lines(tmp_path / "2.csv", a=[5, 6, 7, 8])
        assert only(late(first, second), "a") == [1, 5, 2, 6, 3, 7, 4, 8]

    def test_a_later_file_may_lack_columns_have_others_and_other_types(self, tmp_path: Path) -> None:
        content = frame()
        later = content[200:].drop(columns=["word", "y"]).assign(extra=1.0)
        later["count"] = later["count"].astype(str)
        later["code"] = later["time"]
        table = late(to_parquet(tmp_path / "1.parquet", content[:200]), to_parquet(tmp_path / "2.parquet", later))
        assert list(kinds(table)) == ["number", "count", "word", "code"]
        rows = table.rows(START + timedelta(hours=200), END)
        shown = table.frame(rows)
        assert shown["count"].to_list() == later["count"].to_list()
        assert shown["word"].to_list() == [None] * 100
        assert all(isinstance(cell, str) for cell in shown["code"])
        assert np.isnan(table.labels(rows)).all()
        assert len(table.labeled(START, END)) == 200
        assert len(table.matured(START, END)) == 300

    def test_a_file_before_the_others_in_time_decides_whatever_its_place(self, tmp_path: Path) -> None:
        content = frame()
        later = content[200:].assign(count="many")
        table = late(to_parquet(tmp_path / "1.parquet", later), to_parquet(tmp_path / "2.parquet", content[:200]))
        assert kinds(table)["count"] == "number"
        assert table.frame(table.rows(START + timedelta(hours=200), END))["count"].to_list() == ["many"] * 100

    def test_quoted_commas_lines_and_a_byte_order_mark_are_read(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", a=["x,y", "x\ny", 'x"y', "x"])
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert only(late(path), "a") == ["x,y", "x\ny", 'x"y', "x"]

    def test_long_cells_of_many_lines_are_read(self, tmp_path: Path) -> None:
        long = "line\n" * 2_000
        assert only(late(lines(tmp_path / "t.csv", a=[long] * 300)), "a") == [long] * 300

    def test_columns_have_the_order_of_the_reference(self, tmp_path: Path) -> None:
        content = frame()
        later = to_parquet(tmp_path / "1.parquet", content.loc[200:, ::-1])
        assert list(kinds(late(later, to_parquet(tmp_path / "2.parquet", content[:200])))) == [
            *("number", "count", "word", "code")
        ]

    def test_text_that_is_not_utf_8_in_parquet_is_refused(self, tmp_path: Path) -> None:
        damaged = pa.array([b"\xff"] * HOURS).view(pa.string())
        path = to_parquet(tmp_path / "t.parquet", frame())
        pq.write_table(pq.read_table(path).set_column(3, "word", damaged), path)
        assert "cannot be read" in problem(path)

    def test_a_file_without_rows_adds_none(self, tmp_path: Path, parquet: Path) -> None:
        for empty in (to_csv(tmp_path / "e.csv", frame(0)), to_parquet(tmp_path / "e.parquet", frame(0))):
            assert late(empty, parquet, empty).fingerprint == late(parquet).fingerprint
            assert "no row is before" in problem(empty)

    def test_no_files_are_refused(self) -> None:
        assert "no files" in problem()

    def test_an_unknown_suffix_is_refused(self, tmp_path: Path) -> None:
        assert '".xlsx"' in problem(tmp_path / "table.xlsx")

    @pytest.mark.parametrize(
        "content", [b"", b"time,a,y", b"time,a,y\n1,2\n", b"time,a,y\n2020-01-01,\xff,1\n", b"PAR1 no PAR1"]
    )
    def test_a_damaged_file_is_refused_by_name(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / ("t.parquet" if content.startswith(b"PAR1") else "t.csv")
        path.write_bytes(content)
        assert str(path) in problems(path)[0]

    def test_a_file_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        assert "cannot be read" in problem(tmp_path / "t.csv")
        assert "cannot be read" in problem(tmp_path / "t.parquet")

    def test_two_columns_of_one_name_are_refused(self, tmp_path: Path) -> None:
        assert "named a" in problem(lines(tmp_path / "t.csv", "time", "y", "a", "a", a=[1, 2, 3], b=[1, 2, 3]))

    def test_all_problems_are_told_at_once(self, tmp_path: Path, parquet: Path) -> None:
        found = problems(
            parquet, tmp_path / "gone.csv", target="nothing", features=("word", "absent", "time"), timezone="Moon/Base"
        )
        told = "\n".join(found)
        for what in ("gone.csv", '"nothing"', '"absent"', '"time" is the time column', "Moon/Base"):
            assert what in told
        assert len(found) == 5

    def test_problems_of_columns_and_target_are_told_at_once(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", a=["inf", "", "", 1], b=[1, "x", 2, 3], y=[2, 0, 1, 1])
        assert len(problems(path)) == 3


class TestTimes:
    def moments(self, path: Path, **changes: Any) -> list[datetime]:
        table = late(path, **changes)
        return [table.newest(everything(table), count) for count in range(len(everything(table)), 0, -1)]

    def test_iso_times_with_and_without_offset_mix(self, tmp_path: Path) -> None:
        stamps = {
            "2020-01-01": "2020-01-01T05:00:00Z",
            "2020-01-02T03": "2020-01-02T08:00:00Z",
            "2020-01-03 04:05": "2020-01-03T09:05:00Z",
            "2020-01-04T04:05:06.5Z": "2020-01-04T04:05:06.5Z",
            "2020-01-05T04:05:06+02:00": "2020-01-05T02:05:06Z",
            "2020-01-06 04:05:06 -0530": "2020-01-06T09:35:06Z",
            "20200107T040506": "2020-01-07T09:05:06Z",
            " 2020-01-08T00:00:00-05 ": "2020-01-08T05:00:00Z",
        }
        path = lines(tmp_path / "t.csv", time=list(stamps), a=range(8))
        found = self.moments(path, timezone="America/New_York", reference_until=datetime(2020, 1, 8, tzinfo=UTC))
        assert found == [datetime.fromisoformat(stamp) for stamp in stamps.values()]

    def test_a_time_that_reads_alike_twice_is_the_first(self, tmp_path: Path) -> None:
        stamps = ["2013-11-03T01:00", "2013-11-03T01:30", "2013-11-03T01:30-05:00", "2013-11-03T02:00"]
        path = lines(tmp_path / "t.csv", time=stamps, a=range(4))
        found = self.moments(
            path, timezone="America/New_York", reference_until=datetime(2013, 11, 3, 6, 31, tzinfo=UTC)
        )
        assert [moment.hour + moment.minute / 60 for moment in found] == [5, 5.5, 6.5, 7]

    def test_a_time_that_never_was_is_the_end_of_the_gap(self, tmp_path: Path) -> None:
        stamps = ["2013-03-10T01:59", "2013-03-10T02:30", "2013-03-10T03:01"]
        for path in (
            lines(tmp_path / "t.csv", time=stamps, a=range(3)),
            to_parquet(
                tmp_path / "t.parquet", pd.DataFrame({"time": pd.to_datetime(stamps), "a": range(3), "y": [0, 1, 0]})
            ),
        ):
            found = self.moments(
                path, timezone="America/New_York", reference_until=datetime(2013, 3, 10, 7, 1, tzinfo=UTC)
            )
            assert [(moment.hour, moment.minute) for moment in found] == [(6, 59), (7, 0), (7, 1)]

    @given(
        st.sampled_from(
            [
                ("Europe/Dublin", datetime(2013, 10, 27)),
                ("Europe/Dublin", datetime(2013, 3, 31)),
                ("Europe/Moscow", datetime(2014, 10, 26)),
                ("Australia/Lord_Howe", datetime(2013, 4, 7)),
                ("Africa/Casablanca", datetime(2019, 5, 5)),
                ("UTC", datetime(2020, 1, 1)),
            ]
        ),
        st.lists(st.integers(0, 240), min_size=4, max_size=20, unique=True),
    )
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_local_times_agree_with_the_standard_library(
        self, tmp_path: Path, place: tuple[str, datetime], minutes: list[int]
    ) -> None:
        zone, day = ZoneInfo(place[0]), place[1]
        # Read as the first of two; one that never was becomes another on the way to UTC and back.
        there = [(day + timedelta(minutes=minute)).replace(tzinfo=zone).astimezone(UTC) for minute in minutes]
        local = {moment.astimezone(zone).replace(tzinfo=None, fold=0) for moment in there}
        moments = sorted(moment.replace(tzinfo=zone).astimezone(UTC) for moment in local)
        assume(len(moments) >= 4)
        path = lines(tmp_path / "t.csv", time=[moment.isoformat() for moment in sorted(local)], a=range(len(local)))
        assert self.moments(path, timezone=place[0], reference_until=moments[-1]) == moments

    def test_times_in_a_given_format(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", time=["01.02.2020 06:30", "02.02.2020 06:30", "03.02.2020 06:30"], a=range(3))
        found = self.moments(
            path,
            time_format="%d.%m.%Y %H:%M",
            timezone="Europe/Berlin",
            reference_until=datetime(2020, 2, 3, tzinfo=UTC),
        )
        assert found[0] == datetime(2020, 2, 1, 5, 30, tzinfo=UTC)

    def test_a_format_may_hold_the_offset(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", time=["2020 1 +0100", "2020 2 -0200", "2020 3 +0000"], a=range(3))
        found = self.moments(
            path, time_format="%Y %m %z", timezone="Europe/Berlin", reference_until=datetime(2020, 3, 1, tzinfo=UTC)
        )
        assert found[:2] == [datetime(2019, 12, 31, 23, tzinfo=UTC), datetime(2020, 2, 1, 2, tzinfo=UTC)]

    def test_whole_numbers_are_times_in_a_given_format_only(self, tmp_path: Path) -> None:
        content = pd.DataFrame({"time": [2015, 2016, 2017], "a": range(3), "y": [0, 1, 0]})
        paths = (to_parquet(tmp_path / "t.parquet", content), to_csv(tmp_path / "t.csv", content))
        until = datetime(2017, 1, 1, tzinfo=UTC)
        for path in paths:
            assert [m.year for m in self.moments(path, time_format="%Y", reference_until=until)] == [2015, 2016, 2017]
            assert str(path) in problem(path, reference_until=until)

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    @pytest.mark.parametrize("aware", [True, False])
    def test_the_unit_of_timestamps_does_not_matter(
        self, tmp_path: Path, parquet: Path, unit: str, aware: bool
    ) -> None:
        times = frame()["time"].dt.as_unit(unit)
        times = times.dt.tz_convert("Asia/Tokyo") if aware else times.dt.tz_localize(None)
        path = to_parquet(tmp_path / "u.parquet", frame().assign(time=times))
        assert late(path).fingerprint == late(parquet).fingerprint

    def test_times_may_be_dates_or_text_in_parquet(self, tmp_path: Path) -> None:
        days = [date(2020, 1, day) for day in (1, 2, 3)]
        content = pd.DataFrame({"time": days, "a": [1, 2, 3], "y": [0, 1, 0]})
        until = datetime(2020, 1, 3, tzinfo=UTC)
        dates = late(to_parquet(tmp_path / "d.parquet", content), reference_until=until)
        text = late(to_parquet(tmp_path / "t.parquet", content.astype({"time": str})), reference_until=until)
        assert dates.fingerprint == text.fingerprint
        assert dates.first_time == START

    @pytest.mark.parametrize(
        "cell",
        ["", "yesterday", "now", "today", "2020", "20200101", "1577836800", "2020-13-01", "01.02.2020", "9999-01-01"],
    )
    def test_a_time_that_cannot_be_read_is_refused_with_its_place(self, tmp_path: Path, cell: str) -> None:
        path = lines(tmp_path / "t.csv", time=["2020-01-01", "2020-01-02", cell, "2020-02-01"], a=range(4))
        found = problem(path)
        assert f"{path}: row 3:" in found
        assert (f'"{cell}"' if cell else "is missing") in found

    @pytest.mark.parametrize("cell", ["now", "today", "2020-01-01", ""])
    def test_a_time_not_in_the_given_format_is_refused(self, tmp_path: Path, cell: str) -> None:
        path = lines(tmp_path / "t.csv", time=["1/1/2020", "1/2/2020", cell], a=range(3))
        assert "row 3" in problem(path, time_format="%d/%m/%Y")

    def test_a_time_missing_or_out_of_range_in_parquet_is_refused_with_its_place(self, tmp_path: Path) -> None:
        times = pa.array([0, 3600, None, 10**12], pa.timestamp("s"))
        table = pa.table({"time": times, "a": [1, 2, 3, 4], "y": [0, 1, 0, 1]})
        pq.write_table(table, tmp_path / "1.parquet")
        pq.write_table(table.take([0, 1, 3]), tmp_path / "2.parquet")
        first, second = problems(tmp_path / "1.parquet", tmp_path / "2.parquet")
        assert "row 3" in first
        assert "is missing (2 of 4 rows)" in first
        assert "row 3" in second
        assert "33658-09-27T01:46:40.000 is out of range" in second

    def test_types_that_are_no_time_are_refused(self, tmp_path: Path) -> None:
        for times in (np.arange(HOURS, dtype=float), np.arange(HOURS), [True] * HOURS):
            assert "no time" in problem(to_parquet(tmp_path / "t.parquet", frame().assign(time=times)))

    def test_a_file_without_the_time_column_is_refused(self, tmp_path: Path, parquet: Path) -> None:
        other = to_parquet(tmp_path / "other.parquet", frame().drop(columns="time"))
        assert f'{other}: there is no time column "time"; it has: number' in problem(parquet, other)

    @pytest.mark.parametrize("zone", ["Moon/Base", "", "../etc"])
    def test_an_unknown_time_zone_is_refused(self, parquet: Path, zone: str) -> None:
        assert f'"{zone}"' in problem(parquet, timezone=zone)

    @pytest.mark.parametrize("time_format", ["%Q", "mixed", "ISO8601"])
    def test_what_is_no_format_is_refused(self, parquet: Path, time_format: str) -> None:
        assert "no strptime format" in problem(parquet, time_format=time_format)

    def test_there_must_be_rows_before_and_after_the_end_of_the_reference(self, parquet: Path) -> None:
        assert "no row is before" in problem(parquet, reference_until=START)
        late(parquet, reference_until=START + timedelta(hours=10))
        late(parquet, reference_until=END - timedelta(hours=1))
        assert "no row is at or after" in problem(parquet, reference_until=END - timedelta(hours=1) + MICROSECOND)

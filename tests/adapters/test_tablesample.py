"""What is seen of a table when it is looked at: whole, or in pieces, by its own reader."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hpcretrain.adapters import tablesample
from hpcretrain.adapters.tablesample import Sample, look
from hpcretrain.config.guess import ColumnSummary
from hpcretrain.config.load import shipped_policy
from hpcretrain.config.outlook import Calendar
from hpcretrain.errors import InputError

GATE = shipped_policy().data_gate
HOURS = pd.date_range("2024-01-01", periods=300, freq="h")


@contextmanager
def looked(path: Path, **columns: object) -> Iterator[dict[str, ColumnSummary]]:
    frame = pd.DataFrame(columns)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path)
    with look(path) as sample:
        yield {summary.name: summary for summary in sample.summaries()}


def formats(cells: list[str], folder: Path) -> list[str | None]:
    with looked(folder / "t.csv", t=cells, a=range(len(cells))) as seen:
        return [reading.time_format for reading in seen["t"].readings]


class TestTimes:
    @pytest.mark.parametrize(
        "written",
        [
            *("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S+02:00"),
            *("%Y-%m-%d %H:%M:%S.%f", "%Y%m%dT%H%M%S"),
        ],
    )
    def test_iso_8601_needs_no_format(self, written: str, tmp_path: Path) -> None:
        assert formats(HOURS.strftime(written).tolist(), tmp_path) == [None]

    @pytest.mark.parametrize(
        "written",
        [
            *("%d.%m.%Y %H:%M", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%Y/%m/%d %H:%M"),
            *("%d-%b-%Y %H:%M", "%d-%m-%Y %H:%M", "%d/%m/%y %H:%M", "%b %d, %Y", "%Y%m%d", "%Y%m%d%H%M", "%d.%m.%Y"),
        ],
    )
    def test_usual_formats_are_found(self, written: str, tmp_path: Path) -> None:
        assert formats(HOURS.strftime(written).tolist(), tmp_path) == [written]

    def test_day_and_month_that_could_be_either_give_both(self, tmp_path: Path) -> None:
        cells = pd.date_range("2023-01-01", periods=24, freq="MS").strftime("%d/%m/%Y").tolist()
        assert set(formats(cells, tmp_path)) == {"%d/%m/%Y", "%m/%d/%Y"}

    @pytest.mark.parametrize(
        "cells",
        [
            ["4", "20", "7"],
            ["1700000000", "1700003600"],
            ["10:30", "11:30"],
            ["2013", "2014"],
            ["12345678", "99999999"],
            ["1.2.3", "4.5.6"],
            ["flat 7", "flat 9"],
            ["0001-01-01", "0002-01-01"],
            ["", ""],
        ],
        ids=["numbers", "epoch", "clock", "years", "digits", "versions", "words", "antiquity", "nothing"],
    )
    def test_what_is_no_time_is_none(self, cells: list[str], tmp_path: Path) -> None:
        assert formats(cells, tmp_path) == []

    @pytest.mark.parametrize("row", [1, 2, 151, 299, 300])
    @pytest.mark.parametrize("written", ["%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M"])
    def test_a_column_that_nearly_reads_as_times_is_told_with_the_row_where_it_fails(
        self, written: str, row: int, tmp_path: Path
    ) -> None:
        cells = pd.date_range("2024-01-01", periods=300, freq="D").strftime(written).tolist()
        cells[row - 1] = "soon"
        with looked(tmp_path / "t.csv", t=cells) as seen:
            assert seen["t"].readings == ()
            assert f'{tmp_path}/t.csv: row {row}: the time in "t" "soon"' in str(seen["t"].trouble)
            assert "(1 of 300 rows)" in str(seen["t"].trouble)

    def test_a_column_with_many_cells_that_are_no_times_is_not_nearly_one(self, tmp_path: Path) -> None:
        cells = [str(time) if hour % 5 else "soon" for hour, time in enumerate(HOURS)]
        with looked(tmp_path / "t.csv", t=cells) as seen:
            assert (seen["t"].readings, seen["t"].trouble) == ((), None)

    def test_gaps_do_not_hide_times(self, tmp_path: Path) -> None:
        cells = [None if hour % 3 else str(time) for hour, time in enumerate(HOURS)]
        with looked(tmp_path / "t.csv", t=cells) as seen:
            assert len(seen["t"].readings) == 1
            assert seen["t"].missing == 200

    @pytest.mark.parametrize(
        ("cells", "zone", "aware"),
        [
            (HOURS, None, False),
            (HOURS.tz_localize("UTC"), "UTC", True),
            (HOURS.tz_localize("America/New_York"), "America/New_York", True),
            (HOURS.tz_localize("Etc/GMT-2").astype(str), None, True),
            (HOURS.astype(str), None, False),
        ],
    )
    def test_zones_are_those_of_the_file(self, cells: object, zone: str | None, aware: bool, tmp_path: Path) -> None:
        with looked(tmp_path / "t.parquet", t=cells) as seen:
            reading = seen["t"].readings[0]
            assert (reading.zone, reading.aware) == (zone, aware)

    def test_order_and_range_are_told(self, tmp_path: Path) -> None:
        cells = [*HOURS[150:], *HOURS[:150]]
        with looked(tmp_path / "t.parquet", t=cells) as seen:
            reading = seen["t"].readings[0]
            assert reading.order == pytest.approx(298 / 299)
            assert f"{reading.first:%Y-%m-%d %H} {reading.last:%Y-%m-%d %H}" == "2024-01-01 00 2024-01-13 11"
            assert reading.clock


class TestCells:
    @pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
    def test_columns_are_counted(self, name: str, tmp_path: Path) -> None:
        words = ["a", "b", None, "a"]
        with looked(tmp_path / name, n=[1.5, np.inf, np.nan, -2], w=words, i=[3, 3, 4, 5]) as seen:
            n, w, i = seen["n"], seen["w"], seen["i"]
        assert (n.numbers, n.texts, n.missing, n.infinite, n.distinct, n.whole) == (3, 0, 1, 1, 3, False)
        assert (w.numbers, w.texts, w.missing, w.distinct, w.values) == (0, 3, 1, 2, {"a": 2, "b": 1})
        assert (i.numbers, i.distinct, i.low, i.high, i.whole, i.values) == (4, 3, 3, 5, True, {"3": 2, "4": 1, "5": 1})

    def test_text_among_numbers_is_counted_as_text(self, tmp_path: Path) -> None:
        with looked(tmp_path / "t.csv", x=["1", "2", "?", "4"]) as seen:
            assert (seen["x"].numbers, seen["x"].texts) == (3, 1)

    def test_types_that_are_neither_number_nor_text_are_named(self, tmp_path: Path) -> None:
        pq.write_table(pa.table({"x": [[1], [2, 3]]}), tmp_path / "t.parquet")
        with look(tmp_path / "t.parquet") as sample:
            assert "list" in str(sample.summaries()[0].type_name)

    @pytest.mark.parametrize("cells", [["True", "False", ""], ["true", "FALSE", ""], ["1", "0.0", ""]])
    def test_labels_are_0_and_1(self, cells: list[str], tmp_path: Path) -> None:
        with looked(tmp_path / "t.csv", y=cells, a=[1, 2, 3]), look(tmp_path / "t.csv") as sample:
            np.testing.assert_array_equal(sample.labels("y"), [1.0, 0.0, np.nan])

    def test_facts_are_of_the_reference(self, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        pd.DataFrame(
            {
                "new": ["a"] * 100 + ["a", "b"] * 100,
                "late": [np.nan] * 100 + list(range(200)),
                "grows": range(300),
                "unit": [1, 2] * 50 + [7] * 100 + [7.1] * 100,
                "y": [0, 1, 1] * 100,
            }
        ).to_csv(path, index=False)
        calendar = Calendar(np.arange(300, dtype=np.int64), until=100, length=20)
        with look(path) as sample:
            labels = sample.labels("y")
            new, late, grows, unit, y = (
                sample.facts(column, calendar, labels, GATE, binary=True) for column in sample.summaries()
            )
        assert (new.texts, new.distinct) == (100, 1)
        assert new.stops is not None
        assert (new.stops.stopped, new.stops.batches) == (9, 9)
        assert (late.numbers, late.distinct, late.stops) == (0, 0, None)
        assert unit.stops is not None
        assert (unit.stops.stopped, unit.stops.batches) == (4, 9)
        assert (grows.numbers, grows.follows_time) == (100, True)
        assert y.relation.leak


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"a;b\n1;2\n", "separated by semicolons; only commas are read"),
            (b"a\tb\n1\t2\n", "separated by tabs"),
            (b"", "has no columns"),
            (b"a,b\n", "has no rows"),
            (b"a,a\n1,2\n", "more than one column is named a"),
            (b"a,b\n1\n", "cannot be read"),
            (b"a,b\n\xff\xfe,2\n", "a CSV file must be UTF-8"),
            ("a,\u00fc\n1,2\n".encode("latin-1"), "a CSV file must be UTF-8"),
            (b"\x00\x01\x02", "cannot be read"),
        ],
    )
    def test_a_file_that_cannot_be_used_is_refused_by_name(self, content: bytes, words: str, tmp_path: Path) -> None:
        path = tmp_path / "t.csv"
        path.write_bytes(content)
        with pytest.raises(InputError) as caught, look(path):
            pass
        assert words in str(caught.value)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("name", ["t.parquet", "t.xlsx"])
    def test_what_is_no_table_is_refused(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(b"no table")
        with pytest.raises(InputError), look(tmp_path / name):
            pass


ROWS = 20_000


def large(notes: str = "plain") -> pd.DataFrame:
    return pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=ROWS, freq="h"),
            "number": np.arange(ROWS) % 97,
            "note": [notes] * ROWS,
        }
    )


class TestLargeFiles:
    @pytest.fixture(autouse=True)
    def _small_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tablesample, "WHOLE_BYTES", 10_000)
        monkeypatch.setattr(tablesample, "_PIECE_BYTES", 5_000)
        monkeypatch.setattr(tablesample, "WHOLE_CELLS", 10_000)
        monkeypatch.setattr(tablesample, "_PIECE_ROWS", 100)

    @staticmethod
    def check(sample: Sample) -> None:
        assert not sample.whole
        assert 1_000 < sample.sheet.rows < 6_000
        assert sample.rows == pytest.approx(ROWS, rel=0.05)
        time, number = sample.summaries()[:2]
        assert time.readings[0].order == 1
        assert f"{time.readings[0].first:%Y-%m-%d}" == "2024-01-01"
        assert time.readings[0].last >= pd.Timestamp("2026-04-13", tz="UTC")
        assert (number.low, number.high) == (0, 96)

    @pytest.mark.parametrize("notes", ["plain", 'two\nlines, "quoted"', "a,b\n1,2\n,"])
    def test_a_large_csv_is_read_in_pieces_from_beginning_to_end(self, notes: str, tmp_path: Path) -> None:
        large(notes).to_csv(tmp_path / "t.csv", index=False, quoting=csv.QUOTE_NONNUMERIC)
        with look(tmp_path / "t.csv") as sample:
            self.check(sample)
            assert set(sample.summaries()[2].values) == {notes}

    @pytest.mark.parametrize("group", [ROWS, 1_000, 90])
    def test_a_large_parquet_file_is_read_in_pieces_from_beginning_to_end(self, group: int, tmp_path: Path) -> None:
        large().to_parquet(tmp_path / "t.parquet", row_group_size=group)
        with look(tmp_path / "t.parquet") as sample:
            self.check(sample)

    def test_what_is_wrong_in_a_sample_is_said_to_be_of_a_sample(self, tmp_path: Path) -> None:
        frame = large().astype({"time": str})
        frame.loc[10::50, "time"] = "soon"
        frame.to_csv(tmp_path / "t.csv", index=False)
        with look(tmp_path / "t.csv") as sample:
            assert str(sample.summaries()[0].trouble).startswith(f"sample of {tmp_path}/t.csv: row")

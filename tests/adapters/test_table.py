"""The table of a backtest shows nothing before its time."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_tables import (
    DELAY,
    END,
    MICROSECOND,
    START,
    UNTIL,
    at,
    everything,
    frame,
    late,
    lines,
    spec,
    to_csv,
    to_parquet,
)

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.table import MemoryTable, read
from hpcretrain.errors import PeekError
from hpcretrain.ports import Rows, Table


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    return to_parquet(tmp_path / "table.parquet", frame())


class TestView:
    def test_it_is_a_table(self, parquet: Path) -> None:
        table: Table = late(parquet, label_delay=DELAY)
        assert table.label_delay == DELAY

    def test_rows_are_known_after_their_time(self, parquet: Path) -> None:
        now = START + timedelta(hours=120)
        table = at(now, parquet)
        assert table.rows(START, now).index.tolist() == list(range(120))
        assert table.rows(START + timedelta(hours=5), START + timedelta(hours=7)).index.tolist() == [5, 6]
        with pytest.raises(PeekError, match="rows until"):
            table.rows(START, now + MICROSECOND)

    def test_a_label_is_known_at_its_exact_nanosecond(self, tmp_path: Path) -> None:
        stamp = pd.Timestamp(START) + pd.Timedelta(hours=150, nanoseconds=700)
        times = [*frame()["time"].dt.as_unit("ns")[:150], stamp, *frame()["time"].dt.as_unit("ns")[151:]]
        path = to_parquet(tmp_path / "t.parquet", frame().assign(time=pd.Series(times)))
        moment = START + timedelta(hours=150)
        clock = VirtualClock(moment + DELAY)
        table = read(spec(path, label_delay=DELAY), clock)
        row = table.rows(moment, moment + timedelta(hours=1))
        assert row.index.tolist() == [150]
        assert table.matured(moment, END).index.tolist() == []
        with pytest.raises(PeekError):
            table.labels(row)
        clock.moment += MICROSECOND
        assert table.matured(moment, END).index.tolist() == [150]
        assert len(table.labels(row)) == 1

    def test_a_label_is_known_when_its_time_has_come_and_not_before(self, parquet: Path) -> None:
        clock = VirtualClock(UNTIL)
        table = read(spec(parquet, label_delay=DELAY), clock)
        row = table.rows(UNTIL - timedelta(hours=1), UNTIL)
        clock.moment = UNTIL - timedelta(hours=1) + DELAY
        assert table.labels(row) == frame()["y"][99]
        assert table.labeled(START, END).index[-1] == 99
        clock.moment -= MICROSECOND
        assert table.labeled(START, END).index[-1] == 98
        with pytest.raises(PeekError, match="label"):
            table.labels(row)

    def test_without_a_delay_a_label_is_known_with_its_row(self, parquet: Path) -> None:
        clock = VirtualClock(UNTIL)
        table = read(spec(parquet), clock)
        assert table.labeled(START, END).index[-1] == 99
        clock.moment += MICROSECOND
        assert table.labeled(START, END).index[-1] == 100

    def test_labeled_rows_end_where_labels_end(self, parquet: Path) -> None:
        table = at(UNTIL, parquet, label_delay=DELAY)
        for rows in (table.labeled(START, END), table.matured(START, END)):
            assert rows.start == START
            assert rows.end == UNTIL - DELAY + MICROSECOND
            assert rows.index.tolist() == list(range(95))
        assert table.matured(START, UNTIL - DELAY).end == UNTIL - DELAY
        nothing = table.matured(UNTIL, END)
        assert len(nothing) == 0
        assert nothing.start == nothing.end == UNTIL

    def test_excluded_spans_are_left_out(self, parquet: Path) -> None:
        table = late(parquet)
        hours = [START + timedelta(hours=hour) for hour in range(20)]
        excluded = [(hours[2], hours[4]), (hours[3], hours[5]), (hours[9], hours[15]), (hours[0], hours[0])]
        for select in (table.rows, table.labeled, table.matured):
            assert select(hours[1], hours[10], excluded).index.tolist() == [1, 5, 6, 7, 8]

    def test_newest_gives_the_latest_start_of_so_many_rows(self, tmp_path: Path) -> None:
        content = frame()
        content.loc[50:52, "time"] = content.loc[50, "time"]
        table = late(to_parquet(tmp_path / "t.parquet", content))
        rows = table.rows(START, START + timedelta(hours=60))
        for count, hour in ((1, 59), (7, 53), (8, 50), (10, 50), (11, 49), (60, 0)):
            start = table.newest(rows, count)
            assert start == START + timedelta(hours=hour)
            assert len(table.rows(start, rows.end)) >= count
        assert table.newest(table.rows(START - DELAY, UNTIL), 101) == START - DELAY
        assert table.newest(rows, 0) == rows.end

    @pytest.mark.parametrize(
        "use",
        [
            lambda table, rows, path: table.frame(rows),
            lambda table, rows, path: table.digest(rows, labels=False),
            lambda table, rows, path: table.hashes(rows, times=False, labels=False),
            lambda table, rows, path: table.newest(rows, 1),
            lambda table, rows, path: table.labels(rows),
            lambda table, rows, path: table.snapshot(rows, path),
        ],
    )
    def test_rows_are_of_no_use_before_they_are_known(
        self, tmp_path: Path, parquet: Path, use: Callable[[MemoryTable, Rows, Path], object]
    ) -> None:
        clock = VirtualClock(END)
        table = read(spec(parquet), clock)
        rows = table.rows(START, UNTIL)
        use(table, rows, tmp_path / "s.parquet")
        clock.moment = UNTIL - timedelta(hours=1)
        with pytest.raises(PeekError, match="a row of"):
            use(table, rows, tmp_path / "s.parquet")

    @pytest.mark.parametrize(
        "use",
        [
            lambda table, rows, path: table.frame(rows, labels=True),
            lambda table, rows, path: table.digest(rows, labels=True),
            lambda table, rows, path: table.hashes(rows, times=False, labels=True),
            lambda table, rows, path: table.snapshot(rows, path),
        ],
    )
    def test_labels_are_of_no_use_before_they_are_known(
        self, tmp_path: Path, parquet: Path, use: Callable[[MemoryTable, Rows, Path], object]
    ) -> None:
        table = at(UNTIL, parquet, label_delay=DELAY)
        rows = table.rows(START, UNTIL)
        table.digest(rows, labels=False)
        with pytest.raises(PeekError, match="label"):
            use(table, rows, tmp_path / "s.parquet")
        assert not (tmp_path / "s.parquet").exists()

    def test_no_rows_have_no_cells(self, tmp_path: Path, parquet: Path) -> None:
        table = at(UNTIL, parquet)
        rows = table.rows(START, START)
        assert table.frame(rows, labels=True).shape == (0, 5)
        assert len(table.labels(rows)) == len(table.hashes(rows, times=True, labels=True)) == 0
        assert len(table.digest(rows, labels=True)) == 64
        table.snapshot(rows, tmp_path / "s.parquet")
        assert pq.read_table(tmp_path / "s.parquet").num_rows == 0

    def test_the_ends_of_the_table(self, parquet: Path) -> None:
        table = late(parquet)
        assert table.first_time == START
        assert table.last_time == END - timedelta(hours=1)


class TestDigests:
    @pytest.mark.parametrize(
        ("column", "value"),
        [("number", 0.5), ("number", None), ("number", "?"), ("word", "elm"), ("word", None), ("count", 99)],
    )
    def test_one_other_cell_is_another_digest_and_one_other_hash(
        self, tmp_path: Path, column: str, value: object
    ) -> None:
        content = frame().astype({"number": object, "word": object})
        content.loc[200, "number"], content.loc[200, "word"], content.loc[200, "count"] = 1.5, "ash", 3
        before = late(to_csv(tmp_path / "1.csv", content))
        content.loc[200, column] = value
        after = late(to_csv(tmp_path / "2.csv", content))
        rows = everything(before)
        assert before.digest(rows, labels=False) != after.digest(rows, labels=False)
        assert before.fingerprint != after.fingerprint
        differ = before.hashes(rows, times=False, labels=False) != after.hashes(rows, times=False, labels=False)
        assert np.flatnonzero(differ).tolist() == [200]

    def test_labels_count_when_asked(self, tmp_path: Path) -> None:
        content = frame()
        before = late(to_parquet(tmp_path / "1.parquet", content))
        content.loc[200, "y"] = 1 - content.loc[200, "y"]
        after = late(to_parquet(tmp_path / "2.parquet", content))
        rows = everything(before)
        assert before.digest(rows, labels=False) == after.digest(rows, labels=False)
        assert before.digest(rows, labels=True) != after.digest(rows, labels=True)
        differ = before.hashes(rows, times=False, labels=True) != after.hashes(rows, times=False, labels=True)
        assert np.flatnonzero(differ).tolist() == [200]

    def test_times_count_in_hashes_when_asked(self, tmp_path: Path) -> None:
        table = late(lines(tmp_path / "t.csv", a=[1, 1, 1, 1], y=[0, 1, 0, 1]))
        rows = everything(table)
        assert len(np.unique(table.hashes(rows, times=False, labels=False))) == 1
        assert len(np.unique(table.hashes(rows, times=False, labels=True))) == 2
        assert len(np.unique(table.hashes(rows, times=True, labels=False))) == 4

    def test_values_that_change_places_are_other_rows(self, tmp_path: Path) -> None:
        table = late(lines(tmp_path / "t.csv", a=[1, 2, 1, ""], b=[2, 1, "", 1], c=["x", "x", "x", "x"]))
        assert len(np.unique(table.hashes(everything(table), times=False, labels=False))) == 4

    def test_a_hash_depends_on_its_row_alone(self, parquet: Path) -> None:
        table = late(parquet)
        whole = table.hashes(everything(table), times=True, labels=True)
        part = table.rows(START + timedelta(hours=30), START + timedelta(hours=40))
        np.testing.assert_array_equal(table.hashes(part, times=True, labels=True), whole[30:40])

    def test_zeros_and_missing_numbers_have_one_form(self, tmp_path: Path) -> None:
        odd = np.array([0x7FF8000000000001, 0xFFF8000000000000], dtype=np.uint64).view(np.float64)
        plain = pq.read_table(to_parquet(tmp_path / "plain.parquet", frame()))
        tables = []
        for place, cells in enumerate([np.array([0.0, np.nan, np.nan] * 100), np.array([-0.0, *odd] * 100)]):
            path = tmp_path / f"{place}.parquet"
            pq.write_table(plain.set_column(1, "number", pa.array(cells, from_pandas=False)), path)
            tables.append(late(path))
        assert tables[0].fingerprint == tables[1].fingerprint
        rows = everything(tables[0])
        first, second = (table.hashes(rows, times=False, labels=False) for table in tables)
        np.testing.assert_array_equal(first, second)

    def test_the_same_cells_under_another_name_are_another_digest(self, tmp_path: Path) -> None:
        tables = [late(lines(tmp_path / f"{name}.csv", **{name: [1, 2, 3, 4]})) for name in "ab"]
        assert tables[0].fingerprint != tables[1].fingerprint

    def test_text_in_a_number_counts_by_what_it_says_and_where(self, tmp_path: Path) -> None:
        cells = [[1, 2, 3, "", "?"], [1, 2, 3, "?", ""], [1, 2, 3, "", "!"], [1, 2, 3, "", ""]]
        tables = [
            late(lines(tmp_path / f"{place}.csv", a=column), reference_until=UNTIL - timedelta(hours=1))
            for place, column in enumerate(cells)
        ]
        assert len({table.fingerprint for table in tables}) == 4
        rows = everything(tables[0])
        assert len({table.hashes(rows, times=False, labels=False)[-1] for table in tables}) == 3

    def test_words_are_not_confused_when_joined(self, tmp_path: Path) -> None:
        digests = set()
        for number, words in enumerate((["ab", "c", "ab"], ["a", "bc", "a"], ["abc", "", "abc"])):
            table = late(lines(tmp_path / f"{number}.csv", a=words))
            digests.add(table.digest(everything(table), labels=False))
        assert len(digests) == 3


class TestSnapshot:
    def test_it_holds_features_and_labels(self, tmp_path: Path) -> None:
        path = lines(tmp_path / "t.csv", a=["1", "2", "", "x"], b=["u", "v", "", "w"], y=["0", "1", "", "1"])
        table = late(path)
        table.snapshot(everything(table), tmp_path / "s.parquet")
        written = pq.read_table(tmp_path / "s.parquet")
        assert written.schema.names == ["a", "b", "__label__"]
        assert written.schema.types == [pa.float64(), pa.string(), pa.float64()]
        assert written.to_pydict() == {
            "a": [1.0, 2.0, None, None],
            "b": ["u", "v", None, "w"],
            "__label__": [0.0, 1.0, None, 1.0],
        }

    def test_it_is_whole_private_and_the_same_each_time(self, tmp_path: Path, parquet: Path) -> None:
        table = late(parquet)
        folder = tmp_path / "spool"
        folder.mkdir()
        (folder / ".1.parquet.part").write_bytes(b"left by a crash" * 10_000)
        for name in ("1.parquet", "2.parquet", "2.parquet"):
            table.snapshot(table.rows(START, UNTIL), folder / name)
        assert sorted(path.name for path in folder.iterdir()) == ["1.parquet", "2.parquet"]
        assert (folder / "1.parquet").read_bytes() == (folder / "2.parquet").read_bytes()
        assert stat.S_IMODE((folder / "1.parquet").stat().st_mode) == 0o600

    def test_it_holds_no_later_category(self, tmp_path: Path) -> None:
        content = frame()
        content.loc[200:, "word"] = "laterword"
        table = at(UNTIL, to_parquet(tmp_path / "t.parquet", content))
        table.snapshot(table.rows(START, UNTIL), tmp_path / "s.parquet")
        assert b"laterword" not in (tmp_path / "s.parquet").read_bytes()

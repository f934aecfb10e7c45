"""The table of a backtest shows nothing before its time."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tables import (
    DELAY,
    END,
    HOURS,
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
        assert table.labelled(START, END).index[-1] == 99
        clock.moment -= MICROSECOND
        assert table.labelled(START, END).index[-1] == 98
        with pytest.raises(PeekError, match="label"):
            table.labels(row)

    def test_without_a_delay_a_label_is_known_with_its_row(self, parquet: Path) -> None:
        clock = VirtualClock(UNTIL)
        table = read(spec(parquet), clock)
        assert table.labelled(START, END).index[-1] == 99
        clock.moment += MICROSECOND
        assert table.labelled(START, END).index[-1] == 100

    def test_labelled_rows_end_where_labels_end(self, parquet: Path) -> None:
        table = at(UNTIL, parquet, label_delay=DELAY)
        for rows in (table.labelled(START, END), table.matured(START, END)):
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
        for select in (table.rows, table.labelled, table.matured):
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
        cells = [np.array([0.0, np.nan, np.nan] * 100), np.array([-0.0, *odd] * 100)]
        first, second = (
            late(to_parquet(tmp_path / f"{n}.parquet", frame().assign(number=values))) for n, values in enumerate(cells)
        )
        assert first.fingerprint == second.fingerprint

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


def seen(path: Path, now: datetime, folder: Path, **changes: Any) -> list[object]:
    """All that a table shows at a time."""
    table = at(now, path, label_delay=DELAY, **changes)
    rows, known = table.rows(START, now), table.labelled(START, END)
    matured = table.matured(START, END, [(START, START + DELAY)])
    table.snapshot(known, folder / "snapshot.parquet")
    shown = table.frame(rows)
    return [
        table.columns,
        table.first_time,
        *(rows.index.tolist(), known.index.tolist(), matured.index.tolist(), known.end, matured.end),
        *(table.newest(rows, 10), table.newest(known, 10)),
        *(table.digest(rows, labels=False), table.digest(known, labels=True), table.digest(matured, labels=True)),
        *(table.hashes(rows, times=True, labels=False).tolist(), table.hashes(known, times=True, labels=True).tolist()),
        [str(kind) for kind in shown.dtypes],
        [repr(shown[name].to_list()) for name in shown],
        table.frame(known, labels=True).to_csv(),
        repr(table.labels(matured).tolist()),
        (folder / "snapshot.parquet").read_bytes(),
    ]


NOWS = [UNTIL, UNTIL + timedelta(hours=7), UNTIL + timedelta(hours=100)]


def hide_labels(content: pd.DataFrame, now: datetime, label: object) -> pd.DataFrame:
    """Other labels where none is known yet."""
    content = content.astype({"y": object})
    content.loc[content["time"] + DELAY > now, "y"] = label
    return content


class TestNoPeeking:
    @pytest.mark.parametrize("now", NOWS)
    @pytest.mark.parametrize("categorical", [None, ("code",)])
    def test_nothing_in_a_csv_file_shows_before_its_time(
        self, tmp_path: Path, now: datetime, categorical: tuple[str, ...] | None
    ) -> None:
        content = frame()
        before = seen(to_csv(tmp_path / "1.csv", content), now, tmp_path, categorical=categorical)
        garbled = hide_labels(content, now, "garbled").astype(object)
        after = garbled["time"] >= now
        for column, value in {"number": "lots", "count": "1e999", "word": "aaa", "code": "inf"}.items():
            garbled.loc[after, column] = value
        garbled.loc[after & (garbled.index % 3 == 0), ["number", "count", "word", "code"]] = None
        garbled = garbled[~after | (garbled.index % 2 == 0)]
        more = garbled[garbled["time"] >= now].assign(word="zebra", code="0.5")
        more["extra"] = range(len(more))
        garbled = pd.concat([more, garbled]).sample(frac=1.0, random_state=3).sort_values("time", kind="stable")
        # A writer turns whole numbers into 1.0 as soon as one is missing.
        garbled["code"] = garbled["code"].map(lambda code: f"{code}.0" if isinstance(code, int) else code)
        assert seen(to_csv(tmp_path / "2.csv", garbled), now, tmp_path, categorical=categorical) == before

    @pytest.mark.parametrize("now", NOWS)
    @pytest.mark.parametrize("categorical", [None, ("code",)])
    def test_nothing_in_a_parquet_file_shows_before_its_time(
        self, tmp_path: Path, now: datetime, categorical: tuple[str, ...] | None
    ) -> None:
        content = frame()
        before = seen(to_parquet(tmp_path / "1.parquet", content), now, tmp_path, categorical=categorical)
        garbled = hide_labels(content, now, None).astype({"y": float})
        after = garbled["time"] >= now
        garbled = garbled.astype({"count": float, "code": float, "word": object})
        garbled.loc[after, ["number", "count", "code"]] = [-np.inf, np.nan, np.nan]
        garbled.loc[after, "word"] = [f"new {place}" for place in range(after.sum())]
        garbled = garbled[~after | (garbled.index % 2 == 0)]
        garbled["word"] = garbled["word"].astype("category")
        garbled["time"] = garbled["time"].dt.as_unit("ns")
        kept = to_parquet(tmp_path / "2.parquet", garbled.assign(unused=1).sort_values("time", ascending=False))
        features = tuple(name for name in content if name not in ("time", "y"))
        assert seen(kept, now, tmp_path, categorical=categorical, features=features) == before

    @pytest.mark.parametrize("now", NOWS)
    def test_a_later_file_does_not_show_before_its_time(self, tmp_path: Path, now: datetime) -> None:
        content = frame()
        known = content["time"] < now
        labels = content["y"].where(content["time"] + DELAY <= now)
        first = to_parquet(tmp_path / "1.parquet", content.assign(y=labels)[known])
        plain, other = tmp_path / "2.parquet", tmp_path / "3.parquet"
        to_parquet(plain, content[~known])
        content[~known].rename(columns={"word": "words"}).assign(count="x", code=START, y="?").to_parquet(other)
        tables = [at(now, first, later, label_delay=DELAY) for later in (plain, other)]
        rows = tables[0].rows(START, now)
        assert tables[0].columns == tables[1].columns
        assert tables[0].digest(rows, labels=False) == tables[1].digest(rows, labels=False)
        pd.testing.assert_frame_equal(tables[0].frame(rows), tables[1].frame(rows))
        with pytest.raises(PeekError):
            tables[1].frame(Rows(START, END, np.arange(HOURS)))

    @given(st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6), st.text(max_size=6)), min_size=1, max_size=12))
    @settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_no_later_text_whatsoever_shows_before_its_time(
        self, tmp_path: Path, later: list[tuple[str, str, str]]
    ) -> None:
        count = [1, 2, 0, 5, 3, 4]
        words = ["b", "a", "", "b", "c", "a"]
        labels = [0, 1, 1, 0, 1, 0]
        digests = set()
        for extra in ([("1", "a", "1")], later):
            numbers, texts, classes = zip(*extra, strict=True)
            path = lines(tmp_path / "t.csv", a=[*count, *numbers], b=[*words, *texts], y=[*labels, *classes])
            now = UNTIL - timedelta(hours=len(extra) - 1)
            table = at(now, path, reference_until=now)
            rows = table.labelled(table.first_time, now)
            hashes = table.hashes(rows, times=False, labels=True).tolist()
            shown = table.frame(rows, labels=True)
            digests.add((table.columns, tuple(hashes), shown.to_csv(), tuple(map(str, shown.dtypes))))
            late_table = late(path, reference_until=now)
            assert len(everything(late_table)) == 6 + len(extra)
        assert len(digests) == 1

    def test_text_in_a_number_is_kept_to_be_counted(self, tmp_path: Path) -> None:
        clock = VirtualClock(UNTIL)
        table = read(spec(lines(tmp_path / "t.csv", a=["1", "2", "3", "", " x"])), clock)
        assert table.frame(table.rows(table.first_time, UNTIL))["a"].dtype == np.float64
        clock.moment = END
        shown = table.frame(everything(table))["a"]
        assert shown.dtype == object
        assert shown.to_list() == [1.0, 2.0, 3.0, None, " x"]

"""The profile of a large table, made of its parts, is the one that one machine makes of all its rows."""

from __future__ import annotations

import glob
import itertools
import math
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_ledger import ListLedger, ledger_with
from small_tables import START, late, spec

from hpcretrain.adapters import whylogs_bins
from hpcretrain.adapters.large import Built, build, here
from hpcretrain.adapters.largeplan import Reading, Window, split, whole
from hpcretrain.adapters.largework import FACTS, PROFILE
from hpcretrain.adapters.whylogs import WhylogsProfiles, counted, facts, read_contract
from hpcretrain.counts import BatchCounts
from hpcretrain.errors import InputError, SpoolError

REFERENCE_HOURS = 20


def reference() -> pd.DataFrame:
    """Rows that freeze a contract: two numbers and two categories."""
    hours = np.arange(REFERENCE_HOURS)
    return pd.DataFrame(
        {
            "time": pd.Timestamp(START) + pd.to_timedelta(hours, "h"),
            "y": hours % 2,
            "n": hours / 4,
            "w": (hours % 5).astype(float),
            "c": np.array(["a", "b", "c"], dtype=object)[hours % 3],
            "d": ["x"] * REFERENCE_HOURS,
        }
    )


class Lake:
    """A table of several files, whose first holds the reference, and its profile made in both ways."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = [folder / "0.parquet"]
        reference().to_parquet(self.paths[0])

    def add(self, rows: Sequence[dict[str, Any]], *, csv: bool = False, group: int = 3) -> None:
        """A file of rows; a column of Parquet is text where any of its cells is."""
        path = self.folder / f"{len(self.paths)}.{'csv' if csv else 'parquet'}"
        times = [pd.Timestamp(START) + pd.Timedelta(hours=row["hour"]) for row in rows]
        columns: dict[str, Any] = {"time": pa.array(times, pa.timestamp("ns", "UTC")), "y": pa.nulls(len(rows))}
        for name in ("n", "w", "c", "d"):
            cells = [row[name] for row in rows]
            if any(isinstance(cell, str) for cell in cells) or all(cell is None for cell in cells):
                columns[name] = pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
            else:
                columns[name] = pa.array(cells, pa.float64(), from_pandas=False)
        if csv:
            pa.table(columns).to_pandas().to_csv(path, index=False)
        else:
            pq.write_table(pa.table(columns), path, row_group_size=group)
        self.paths.append(path)

    def one_machine(self, window: Window) -> tuple[BatchCounts, Any]:
        """Counts and view of the profile of all rows at once."""
        table = late(*self.paths, reference_until=START + timedelta(hours=REFERENCE_HOURS))
        store = self.folder / "profiles"
        rows = table.rows(table.first_time, START + timedelta(hours=REFERENCE_HOURS))
        self.contract = WhylogsProfiles(table, store, ListLedger(), "m", 0.5).freeze(rows)
        profiles = WhylogsProfiles(table, store, ledger_with(self.contract), "m", 0.5)
        end = table.last_time + timedelta(microseconds=1)
        counts = profiles.counts(table.rows(window.start or table.first_time, window.end or end))
        (path,) = store.glob("*.bin")
        return counts, view(path.read_bytes())

    def reading(self, window: Window) -> Reading:
        return Reading(self.folder / "profiles", self.contract, "time", "UTC", None, window)

    def parts(self, cells: int) -> list[Any]:
        return split(whole(self.paths), ("n", "w", "c", "d"), cells)

    def built(self, window: Window, cells: int) -> Built:
        return build(self.reading(window), self.parts(cells), here)

    def counts(self, built: Built) -> BatchCounts:
        contract = read_contract(self.folder / "profiles", self.contract)
        known = facts("m", contract, built.rows, built.duplicates)
        return counted(contract, whylogs_bins.with_facts(built.serialized, known))


def view(serialized: bytes) -> Any:
    from whylogs.core import DatasetProfileView

    return DatasetProfileView.deserialize(serialized)


def exact(profile: Any) -> dict[str, dict[str, Any]]:
    """What whylogs itself counts without error."""
    return {
        name: {
            metric: column.get_metric(metric).to_summary_dict()
            for metric in ("counts", "types", "ints")
            if metric in column.get_metric_names()
        }
        for name, column in profile.get_columns().items()
    }


numbers = st.one_of(
    st.none(), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e308, -1e6]), st.integers(-3, 9).map(float)
)
words = st.one_of(st.none(), st.sampled_from(["a", "b", "new", "", "1.0", "n/a"]))
row = st.fixed_dictionaries(
    {
        "hour": st.integers(REFERENCE_HOURS, 60),
        "n": st.one_of(numbers, numbers, words),
        "w": numbers,
        "c": words,
        "d": words,
    }
)
files = st.lists(
    st.tuples(st.lists(row, min_size=1, max_size=9), st.booleans(), st.integers(1, 4)), max_size=4, min_size=1
)
bounds = st.sampled_from([None, 15, 30, 61])


def sorted_bounds(start: int | None, end: int | None) -> tuple[int | None, int | None]:
    return (start, end) if start is None or end is None or start <= end else (end, start)


@given(files, st.integers(1, 100), bounds, bounds)
@settings(deadline=None, max_examples=40)
def test_counts_of_parts_add_up_to_those_of_one_machine_exactly(
    contents: list[tuple[list[dict[str, Any]], bool, int]], cells: int, start: int | None, end: int | None
) -> None:
    # Where there is one, a disk in memory, since hundreds of parts are brought to the disk one by one.
    with tempfile.TemporaryDirectory(dir=next(iter(glob.glob("/dev/shm")), None)) as folder:
        lake = Lake(Path(folder))
        for rows, csv, group in contents:
            lake.add(rows, csv=csv, group=group)
        window = Window(
            *(None if hour is None else START + timedelta(hours=hour) for hour in sorted_bounds(start, end))
        )
        expected, alone = lake.one_machine(window)
        built = lake.built(window, cells)
        assert lake.counts(built) == expected
        assert exact(view(built.serialized)) == exact(alone)
        for name in ("n", "c"):
            ours, theirs = (each.get_column(name).get_metric("cardinality") for each in (view(built.serialized), alone))
            assert (ours.estimate or 0) == pytest.approx(theirs.estimate or 0, rel=1e-6)


def large(folder: Path, rows: int, seed: int, files: int) -> tuple[Lake, pd.DataFrame]:
    """A table of random numbers and words in several files."""
    lake, random = Lake(folder), np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "time": pd.Timestamp(START) + pd.to_timedelta(REFERENCE_HOURS * 3600 + np.arange(rows), "s"),
            "y": 0,
            "n": random.normal(size=rows),
            "w": random.lognormal(3, 2, rows),
            "c": np.char.add("k", np.minimum(random.zipf(1.3, rows), 10**6).astype(str)).astype(object),
            "d": "x",
        }
    )
    for number, (first, last) in enumerate(itertools.pairwise(np.linspace(0, rows, files + 1).astype(int))):
        path = folder / f"big{number}.parquet"
        frame.iloc[first:last].to_parquet(path, row_group_size=max(1, rows // files // 3))
        lake.paths.append(path)
    return lake, frame


def test_sketches_of_merged_parts_stay_within_their_error(tmp_path: Path) -> None:
    rows = 60_000
    lake, frame = large(tmp_path, rows, 1, 5)
    lake.one_machine(Window())
    parts = lake.parts(4 * 1000)
    assert len(parts) > 3 * 5
    merged = view(build(lake.reading(Window()), parts, here).serialized)
    everything = pd.concat([reference()[["n", "w", "c"]], frame[["n", "w", "c"]]])
    for name in ("n", "w"):
        metric = merged.get_column(name).get_metric("distribution")
        assert metric.kll.value.get_n() == len(everything)
        for level in (0.01, 0.1, 0.5, 0.9, 0.99):
            found = metric.kll.value.get_quantiles([level])[0]
            # whylogs keeps k = 256; its rank error is 1.3 % once at 99 % confidence, of one sketch or of a merged one.
            assert abs((everything[name] <= found).mean() - level) < 2 * 0.013
        assert metric.mean.value == pytest.approx(everything[name].mean(), rel=1e-9)
        assert metric.stddev == pytest.approx(everything[name].std(), rel=1e-6)
        cardinality = merged.get_column(name).get_metric("cardinality").estimate
        assert cardinality == pytest.approx(everything[name].nunique(), rel=0.1)
    counts = everything["c"].value_counts()
    found = {item.value: item for item in merged.get_column("c").get_metric("frequent_items").strings}
    for word, count in counts.iloc[:5].items():
        assert found[word].lower <= count <= found[word].upper


def test_a_part_is_made_once_and_a_second_call_uses_what_is_there(tmp_path: Path) -> None:
    lake, _ = large(tmp_path, 300, 2, 2)
    lake.one_machine(Window())
    first = lake.built(Window(), 200)
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "profiles").rglob("*") if path.is_file()}
    assert sum(path.name == PROFILE for path in made) > 5
    assert lake.built(Window(), 200) == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "profiles").rglob("*") if path.is_file()} == made
    assert not [path for path in (tmp_path / "profiles").glob("*/*") if path.stat().st_mode & 0o077]


def test_another_window_or_contract_takes_nothing_of_earlier_parts(tmp_path: Path) -> None:
    lake, _ = large(tmp_path, 300, 2, 2)
    lake.one_machine(Window())
    assert lake.built(Window(), 200).rows == 320
    assert lake.built(Window(end=START + timedelta(hours=REFERENCE_HOURS)), 200).rows == REFERENCE_HOURS


def test_two_that_make_the_same_part_at_once_leave_one_whole(tmp_path: Path) -> None:
    from hpcretrain.adapters import largework

    target = tmp_path / "part"

    def slower(folder: Path) -> None:
        largework._whole(target, lambda inner: largework._keep_profile(inner, b"first", 1))
        largework._keep_profile(folder, b"second", 1)

    largework._whole(target, slower)
    assert largework.read_profile(target) == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_a_part_that_was_altered_is_refused(tmp_path: Path) -> None:
    lake, _ = large(tmp_path, 300, 2, 2)
    lake.one_machine(Window())
    lake.built(Window(), 200)
    part = next((tmp_path / "profiles" / "parts").iterdir())
    (part / PROFILE).write_bytes(b"other")
    for merge in (tmp_path / "profiles" / "merges").iterdir():
        (merge / FACTS).unlink()
    with pytest.raises(SpoolError, match="was altered"):
        lake.built(Window(), 200)


def test_all_files_that_cannot_be_read_are_told_at_once(tmp_path: Path) -> None:
    lake, _ = large(tmp_path, 30, 2, 1)
    lake.one_machine(Window())
    for name in ("bad1.csv", "bad2.csv"):
        (tmp_path / name).write_text("time,n,w,c,d\nnever,1,1,a,x\n")
        lake.paths.append(tmp_path / name)
    with pytest.raises(InputError) as told:
        build(lake.reading(Window()), lake.parts(4), here)
    assert len(told.value.problems) == 2
    assert "bad1.csv" in str(told.value)
    assert "bad2.csv" in str(told.value)


def test_a_file_that_changes_after_the_plan_is_refused(tmp_path: Path) -> None:
    lake, _ = large(tmp_path, 300, 2, 2)
    lake.one_machine(Window())
    parts = lake.parts(200)
    lake.paths[1].write_bytes(lake.paths[2].read_bytes())
    with pytest.raises(InputError, match="was changed while"):
        build(lake.reading(Window()), parts, here)


def test_a_table_without_a_column_of_the_contract_is_refused_before_any_work(tmp_path: Path) -> None:
    lake, _ = large(tmp_path, 30, 2, 1)
    with pytest.raises(InputError, match="no file has the columns other"):
        split(whole(lake.paths), ("n", "other"))
    with pytest.raises(InputError, match="no such file"):
        whole([tmp_path / "none.parquet"])


def test_parts_cover_every_row_group_once_and_keep_to_their_size(tmp_path: Path) -> None:
    lake, _ = large(tmp_path, 1000, 2, 4)
    parts = split(whole(lake.paths), ("n",), 250)
    seen = [(piece.path, group) for part in parts for piece in part for group in piece.groups or ()]
    rows = {path: pq.ParquetFile(path) for path in map(str, lake.paths)}
    expected = [(path, group) for path, file in sorted(rows.items()) for group in range(file.num_row_groups)]
    assert seen == expected
    sizes = [
        sum(rows[piece.path].metadata.row_group(group).num_rows for piece in part for group in piece.groups or ())
        for part in parts
    ]
    assert max(sizes) <= 250
    assert len(parts) == 5
    assert spec(*lake.paths).paths

"""What comes later is made nonsense: the table must look the same before."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tables import (
    DELAY,
    END,
    HOURS,
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
from hpcretrain.adapters.table import read
from hpcretrain.errors import PeekError
from hpcretrain.ports import Rows


def seen(path: Path, now: datetime, folder: Path, **changes: Any) -> list[object]:
    """All that a table shows at a time."""
    table = at(now, path, label_delay=DELAY, **changes)
    rows, known = table.rows(START, now), table.labeled(START, END)
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


@pytest.mark.parametrize("now", NOWS)
@pytest.mark.parametrize("categorical", [None, ("code",)])
def test_nothing_in_a_csv_file_shows_before_its_time(
    tmp_path: Path, now: datetime, categorical: tuple[str, ...] | None
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
    tmp_path: Path, now: datetime, categorical: tuple[str, ...] | None
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
def test_a_later_file_does_not_show_before_its_time(tmp_path: Path, now: datetime) -> None:
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
def test_no_later_text_whatsoever_shows_before_its_time(tmp_path: Path, later: list[tuple[str, str, str]]) -> None:
    count = [1, 2, 0, 5, 3, 4]
    words = ["b", "a", "", "b", "c", "a"]
    labels = [0, 1, 1, 0, 1, 0]
    digests = set()
    for extra in ([("1", "a", "1")], later):
        numbers, texts, classes = zip(*extra, strict=True)
        path = lines(tmp_path / "t.csv", a=[*count, *numbers], b=[*words, *texts], y=[*labels, *classes])
        now = UNTIL - timedelta(hours=len(extra) - 1)
        table = at(now, path, reference_until=now)
        rows = table.labeled(table.first_time, now)
        hashes = table.hashes(rows, times=False, labels=True).tolist()
        shown = table.frame(rows, labels=True)
        digests.add((table.columns, tuple(hashes), shown.to_csv(), tuple(map(str, shown.dtypes))))
        late_table = late(path, reference_until=now)
        assert len(everything(late_table)) == 6 + len(extra)
    assert len(digests) == 1


def test_text_in_a_number_is_kept_to_be_counted(tmp_path: Path) -> None:
    clock = VirtualClock(UNTIL)
    table = read(spec(lines(tmp_path / "t.csv", a=["1", "2", "3", "", " x"])), clock)
    assert table.frame(table.rows(table.first_time, UNTIL))["a"].dtype == np.float64
    clock.moment = END
    shown = table.frame(everything(table))["a"]
    assert shown.dtype == object
    assert shown.to_list() == [1.0, 2.0, 3.0, pytest.approx(math.nan, nan_ok=True), " x"]

"""Small tables for tests of the table, as files and as read."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.table import MemoryTable, TableSpec, read
from hpcretrain.errors import InputError
from hpcretrain.ports import Rows

START = datetime(2020, 1, 1, tzinfo=UTC)
UNTIL = START + timedelta(hours=100)
HOURS = 300
END = START + timedelta(hours=HOURS)
DELAY = timedelta(hours=6)
MICROSECOND = timedelta(microseconds=1)


def spec(*paths: Path, **changes: Any) -> TableSpec:
    plain = TableSpec(
        paths=paths,
        time_column="time",
        timezone="UTC",
        time_format=None,
        target="y",
        task="binary",
        features=None,
        categorical=None,
        label_delay=timedelta(0),
        reference_until=UNTIL,
    )
    return dataclasses.replace(plain, **changes)


def at(moment: datetime, *paths: Path, **changes: Any) -> MemoryTable:
    return read(spec(*paths, **changes), VirtualClock(moment))


def late(*paths: Path, **changes: Any) -> MemoryTable:
    """The table long after its last row."""
    return at(datetime(2030, 1, 1, tzinfo=UTC), *paths, **changes)


def everything(table: MemoryTable) -> Rows:
    return table.rows(table.first_time, table.last_time + MICROSECOND)


def frame(hours: int = HOURS) -> pd.DataFrame:
    random = np.random.default_rng(1)
    numbers = random.normal(size=hours)
    numbers[random.random(hours) < 0.05] = np.nan
    words = random.choice(np.array(["ash", "birch", "cedar", "øak"], dtype=object), hours)
    words[random.random(hours) < 0.05] = None
    return pd.DataFrame(
        {
            "time": pd.date_range(START, periods=hours, freq="h"),
            "number": numbers,
            "count": random.integers(0, 9, hours),
            "word": words,
            "code": random.integers(1, 5, hours),
            "y": random.integers(0, 2, hours),
        }
    )


def to_parquet(path: Path, content: pd.DataFrame) -> Path:
    content.to_parquet(path)
    return path


def to_csv(path: Path, content: pd.DataFrame) -> Path:
    content.to_csv(path, index=False)
    return path


def lines(path: Path, *columns: str, **cells: Sequence[Any]) -> Path:
    """A CSV file of hourly rows, the first before UNTIL, with labels 0 and 1 in turn and `cells` by column."""
    count = len(next(iter(cells.values())))
    hours = [(UNTIL - timedelta(hours=count - 1 - row)).isoformat() for row in range(count)]
    content = {"time": hours, "y": [row % 2 for row in range(count)], **cells}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns or content)
        writer.writerows(zip(*content.values(), strict=True))
    return path


def problems(*paths: Path, **changes: Any) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        late(*paths, **changes)
    return caught.value.problems


def problem(*paths: Path, **changes: Any) -> str:
    found = problems(*paths, **changes)
    assert len(found) == 1, found
    return found[0]


def only(table: MemoryTable, column: str) -> list[Any]:
    cells: list[Any] = table.frame(everything(table))[column].to_list()
    return cells


def kinds(table: MemoryTable) -> dict[str, str]:
    return {column.name: column.kind for column in table.columns}

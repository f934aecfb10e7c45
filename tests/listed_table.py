"""A table of listed cells, for tests of profiles."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from hpcretrain.ports import HashArray, Rows

START = datetime(2024, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    kind: str


class MemoryTable:
    """A table in memory; rows may repeat, since times of rows are given."""

    def __init__(self, times: Sequence[int] | None = None, **columns: Sequence[Any]) -> None:
        kinds = {name: "category" if name.startswith("c") else "number" for name in columns}
        self.columns = tuple(Column(name, kind) for name, kind in kinds.items())
        self.data = pd.DataFrame({name: self._cells(kinds[name], cells) for name, cells in columns.items()})
        self.times = np.arange(len(self.data)) if times is None else np.asarray(times)
        self.framed = 0

    @staticmethod
    def _cells(kind: str, cells: Sequence[Any]) -> Any:
        if kind == "number" and not any(isinstance(cell, str) for cell in cells):
            return np.array([math.nan if cell is None else cell for cell in cells], dtype=np.float64)
        return pd.Series(list(cells), dtype=object)

    def rows(self, start: int = 0, end: int | None = None) -> Rows:
        end = len(self.data) if end is None else end
        hours = [START + timedelta(hours=hour) for hour in (start, end)]
        return Rows(hours[0], hours[1], np.arange(start, end, dtype=np.int64))

    def frame(self, rows: Rows) -> pd.DataFrame:
        self.framed += 1
        return self.data.iloc[rows.index]

    def hashes(self, rows: Rows, *, times: bool, labels: bool) -> HashArray:
        cells = self.data.iloc[rows.index].astype(object).fillna("(missing)").astype(str)
        if times:
            cells = cells.assign(time=self.times[rows.index])
        hashes: HashArray = pd.util.hash_pandas_object(cells, index=False).to_numpy(dtype=np.uint64)
        return hashes

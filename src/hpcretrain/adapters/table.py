"""The user's table in memory, seen only as of a clock."""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from hpcretrain.adapters.hiding import NOTHING
from hpcretrain.adapters.tablecells import mixed, number_bytes, number_hashes
from hpcretrain.adapters.tablefile import IntArray
from hpcretrain.adapters.tableschema import LABEL as LABEL
from hpcretrain.adapters.tableschema import Column as Column
from hpcretrain.adapters.tableschema import Content, assemble, moment_of, nanoseconds
from hpcretrain.adapters.tableschema import TableSpec as TableSpec
from hpcretrain.errors import PeekError
from hpcretrain.ports import Clock, FloatArray, HashArray, Rows, Span

_MICROSECOND = timedelta(microseconds=1)


def read(spec: TableSpec, clock: Clock) -> MemoryTable:
    """Read a table.

    In a CSV file these cells are missing: nothing, NA, N/A, NaN, nan, null, NULL, None. Rows are put in order of time,
    those of one time in order of files and rows; times without an offset are in the spec's time zone. A feature is a
    category if it is declared as one, or if its reference holds more text than numbers; a column that the reference
    knows nothing of is none, unless it is asked for. What does not fit the kind of
    its column later is kept, to be counted, and a label that cannot be read later is missing.

    Raises:
        InputError: The table cannot be used; all that is wrong with it, with files and rows (counted from 1 below the
            header) and how to mend it.
    """
    table = MemoryTable(assemble(spec), spec.label_delay, clock)
    table.hiding = spec.hiding
    return table


class MemoryTable:
    """The `Table` port over a whole table in memory.

    A row is known after its time (time < now), its label once time + `label_delay` <= now; both to the nanosecond.

    Attributes:
        columns: The features, in order.
        label_delay: How long after a row its label is known.
        hiding: What of it is not to be known.
    """

    hiding = NOTHING

    def __init__(self, content: Content, label_delay: timedelta, clock: Clock) -> None:
        self.columns = content.columns
        self.label_delay = label_delay
        self._times = content.times
        self._cells = content.cells
        self._labels = content.labels
        self._clock = clock

    @property
    def first_time(self) -> datetime:
        """Time of the first row, to the microsecond before it."""
        return moment_of(int(self._times[0]))

    @property
    def last_time(self) -> datetime:
        """Time of the last row, to the microsecond before it; only for who sets the clock."""
        return moment_of(int(self._times[-1]))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the whole table; only to recognize it by, since it covers what is not known yet."""
        return self._digest(np.arange(len(self._times)), labels=True)

    def rows(self, start: datetime, end: datetime, excluded: Sequence[Span] = ()) -> Rows:
        """Rows with start <= time < end; labels may not be known yet.

        Raises:
            PeekError: `end` is after now.
        """
        now = self._clock.now()
        if end > now:
            raise PeekError(f"rows until {end} were asked for at {now}; none is known from then on")
        return self._select(start, end, nanoseconds(end), excluded)

    def matured(self, start: datetime, end: datetime, excluded: Sequence[Span] = ()) -> Rows:
        """Rows with start <= time < end whose label time has come by now, whether or not a usable label is there."""
        now = self._clock.now()
        known = now - self.label_delay
        # The label of a row exactly at `known` is known; the end of rows is exclusive.
        stop = min(nanoseconds(end), nanoseconds(now), nanoseconds(known) + 1)
        return self._select(start, min(end, now, known + _MICROSECOND), stop, excluded)

    def labeled(self, start: datetime, end: datetime, excluded: Sequence[Span] = ()) -> Rows:
        """Rows with start <= time < end whose label has matured by now and is there."""
        rows = self.matured(start, end, excluded)
        return Rows(rows.start, rows.end, rows.index[np.isfinite(self._labels[rows.index])])

    def newest(self, rows: Rows, count: int) -> datetime:
        """The latest time from which on `rows` holds at least `count` rows; the start of `rows` if it has fewer."""
        self._require_known(rows)
        if count <= 0:
            return rows.end
        if count > len(rows):
            return rows.start
        return moment_of(int(self._times[rows.index[-count]]))

    def ages(self, rows: Rows) -> FloatArray:
        """Seconds between each row and the end of `rows`, shape (rows,), not increasing."""
        self._require_known(rows)
        ages: FloatArray = (nanoseconds(rows.end) - self._times[rows.index]) / 1e9
        return ages

    def labels(self, rows: Rows) -> FloatArray:
        """Labels, shape (rows,); NaN where one is missing or unreadable.

        Raises:
            PeekError: One has not matured.
        """
        self._require_known(rows, labels=True)
        return self._labels[rows.index]

    def frame(self, rows: Rows, labels: bool = False) -> pd.DataFrame:
        """Features as they are, one column each, and the label last as `__label__` when asked.

        Numbers are float64, or objects (float, str) if text stands among them in these rows, NaN where nothing
        stands; categories are objects (str, None).

        Raises:
            PeekError: A row is not known, or its label has not matured.
        """
        self._require_known(rows, labels=labels)
        named = zip(self.columns, self._cells, strict=True)
        series = {column.name: cells.series(rows.index) for column, cells in named}
        if labels:
            series[LABEL] = pd.Series(self._labels[rows.index])
        return pd.DataFrame(series, index=pd.RangeIndex(len(rows)))

    def digest(self, rows: Rows, *, labels: bool) -> str:
        """SHA-256 of what the rows hold: names and kinds of columns, times, features and, when asked, labels.

        Raises:
            PeekError: A row is not known, or its label has not matured.
        """
        self._require_known(rows, labels=labels)
        return self._digest(rows.index, labels=labels)

    def hashes(self, rows: Rows, *, times: bool, labels: bool) -> HashArray:
        """One hash a row, shape (rows,), of its features and, when asked, its time and label.

        Raises:
            PeekError: A row is not known, or its label has not matured.
        """
        self._require_known(rows, labels=labels)
        hashes = self._feature_hashes[rows.index]
        if times:
            hashes = mixed(hashes, number_hashes(self._times[rows.index]))
        if labels:
            hashes = mixed(hashes, number_hashes(self._labels[rows.index]))
        return hashes

    def snapshot(self, rows: Rows, path: Path) -> None:
        """Write features (float64, or text) and `__label__` (float64) as Parquet, by atomic rename.

        Text in a column of numbers becomes null. Only the owner can read the file, since it holds the user's data.

        Raises:
            PeekError: A row is not known, or its label has not matured.
        """
        self._require_known(rows, labels=True)
        named = zip(self.columns, self._cells, strict=True)
        arrays = {column.name: cells.arrow(rows.index) for column, cells in named}
        labels = self._labels[rows.index]
        arrays[LABEL] = pa.array(labels, pa.float64(), mask=np.isnan(labels))
        temporary = path.with_name(f".{path.name}.part")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            # What a crash left behind keeps its mode.
            os.fchmod(descriptor, 0o600)
            pq.write_table(pa.table(arrays), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)

    def _select(self, start: datetime, end: datetime, stop: int, excluded: Sequence[Span]) -> Rows:
        """Rows from `start` to before `stop` (nanoseconds) outside the excluded spans."""
        low, high = np.searchsorted(self._times, [nanoseconds(start), stop])
        index = np.arange(low, high)
        for span in excluded:
            first, last = np.searchsorted(self._times, [nanoseconds(moment) for moment in span])
            index = index[(index < first) | (index >= last)]
        return Rows(start, max(start, end), index)

    def _require_known(self, rows: Rows, *, labels: bool = False) -> None:
        if not len(rows):
            return
        last, now = int(self._times[rows.index].max()), self._clock.now()
        if last >= nanoseconds(now):
            raise PeekError(f"a row of {moment_of(last)} was asked for at {now}, when it was not known yet")
        if labels and last > nanoseconds(now - self.label_delay):
            raise PeekError(
                f"the label of a row of {moment_of(last)} was asked for at {now}, less than {self.label_delay} later"
            )

    def _digest(self, index: IntArray, *, labels: bool) -> str:
        digest = hashlib.sha256()

        def add(piece: bytes) -> None:
            digest.update(struct.pack("<q", len(piece)))
            digest.update(piece)

        add(self._times[index].astype("<i8", copy=False).tobytes())
        for column, cells in zip(self.columns, self._cells, strict=True):
            add(column.name.encode())
            add(column.kind.encode())
            for piece in cells.pieces(index):
                add(piece)
        if labels:
            add(number_bytes(self._labels[index]))
        return digest.hexdigest()

    @cached_property
    def _feature_hashes(self) -> HashArray:
        """Of all rows; a row's hash depends on that row alone."""
        hashes = np.zeros(len(self._times), dtype=np.uint64)
        for cells in self._cells:
            hashes = mixed(hashes, cells.hashes)
        return hashes

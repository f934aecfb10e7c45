"""What a table's columns are, decided on the reference alone, and its files put together by that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hpcretrain.adapters import tablefile
from hpcretrain.adapters.tablecells import CategoryCells, Cells, NumberCells
from hpcretrain.adapters.tablefile import BoolArray, IntArray, Sheet
from hpcretrain.errors import InputError
from hpcretrain.ports import FloatArray
from hpcretrain.records import utc

LABEL = "__label__"
"""Name of the label's column beside the features."""

_EPOCH = utc(datetime.fromisoformat("1970-01-01T00:00Z"))
_MICROSECOND = timedelta(microseconds=1)
_FOUND = 5


@dataclass(frozen=True)
class Column:
    """A feature."""

    name: str
    kind: Literal["number", "category"]


@dataclass(frozen=True)
class TableSpec:
    """Where a table is and how it is to be read; `paths` are sorted, `reference_until` has a time zone."""

    paths: tuple[Path, ...]
    time_column: str
    timezone: str
    time_format: str | None
    target: str
    task: Literal["binary", "regression"]
    features: tuple[str, ...] | None
    categorical: tuple[str, ...] | None
    label_delay: timedelta
    reference_until: datetime


@dataclass(frozen=True)
class Content:
    """A whole table in order of time: times in nanoseconds since 1970 in UTC, features, and labels (NaN: none)."""

    times: IntArray
    columns: tuple[Column, ...]
    cells: tuple[Cells, ...]
    labels: FloatArray


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970 in UTC, within 64 bits."""
    limits = np.iinfo(np.int64)
    return min(max((moment - _EPOCH) // _MICROSECOND * 1000, int(limits.min)), int(limits.max))


def moment_of(stamp: int) -> datetime:
    """The latest microsecond that is not after a time in nanoseconds."""
    return _EPOCH + timedelta(microseconds=stamp // 1000)


class _Problems(list[str]):
    """Everything that is wrong, to be told at once."""

    @contextmanager
    def collected(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            self.extend(error.problems)

    def settle(self) -> None:
        if self:
            raise InputError(list(dict.fromkeys(self)))


@dataclass(frozen=True)
class _Part:
    """One column in one file, and which of the rows may decide what the column is. The file may lack the column."""

    sheet: Sheet
    name: str
    deciding: BoolArray

    @property
    def column(self) -> Any:
        missing = pa.chunked_array([pa.nulls(self.sheet.rows, pa.large_string())])
        return self.sheet.columns.get(self.name, missing)

    @cached_property
    def split(self) -> tuple[FloatArray, BoolArray]:
        return tablefile.split(self.column, typed=self.sheet.typed)

    @cached_property
    def texts(self) -> Any:
        return tablefile.as_text(self.column, typed=self.sheet.typed)

    def where(self, chosen: BoolArray) -> str:
        return f"{self.sheet.path}, row {int(np.flatnonzero(chosen)[0]) + 1}"


def assemble(spec: TableSpec) -> Content:
    """Read all files and decide on the reference what the columns are.

    Of the reference, features count from every row before `reference_until`, labels only where they are known by then.

    Raises:
        InputError: The table cannot be used; every problem that can be seen at once.
    """
    problems = _Problems(_contradictions(spec))
    sheets = _load(spec, problems)
    times = _times(spec, sheets, problems)
    reference = _reference(spec, sheets, times, problems)
    holders = [sheet for sheet, rows in zip(sheets, reference, strict=True) if rows.any()] or sheets
    existing = list(dict.fromkeys(name for sheet in holders for name in sheet.names))
    if sheets:
        problems += _absent(spec, existing)
    problems.settle()

    known = [stamps <= nanoseconds(spec.reference_until - spec.label_delay) for stamps in times]
    target = [_Part(s, spec.target, r & k) for s, r, k in zip(sheets, reference, known, strict=True)]
    features = spec.features or tuple(name for name in existing if name not in (spec.target, spec.time_column))
    if not features:
        problems.append("the table has no column but target and time: there is nothing to learn from")
    labels = np.empty(0)
    with problems.collected():
        labels = _labels(target, spec)
    columns, parts = [], []
    for name in features:
        cells = [_Part(sheet, name, rows) for sheet, rows in zip(sheets, reference, strict=True)]
        with problems.collected():
            columns.append(Column(name, _kind(cells, declared=name in (spec.categorical or ()))))
            parts.append(cells)
    problems.settle()

    stamps = np.concatenate(times)
    order = np.argsort(stamps, kind="stable")
    joined = (_join(column, cells, order) for column, cells in zip(columns, parts, strict=True))
    return Content(stamps[order], tuple(columns), tuple(joined), labels[order])


def _contradictions(spec: TableSpec) -> Iterator[str]:
    features, categorical = spec.features or (), spec.categorical or ()
    if not spec.paths:
        yield "data.path: no files"
    if spec.target == spec.time_column:
        yield f'"{spec.target}" cannot be both model.target and data.time_column'
    for name, what in ((spec.target, "the target"), (spec.time_column, "the time column")):
        if name in (*features, *categorical):
            yield f'model: "{name}" is {what} and cannot be a feature; take it out'
    for name in dict.fromkeys(features):
        if features.count(name) > 1:
            yield f'model.features: "{name}" stands there more than once'
    for name in categorical:
        if features and name not in features:
            yield f'model.categorical: "{name}" is not among model.features'
    if LABEL in features:
        yield f'model.features: the name "{LABEL}" is taken; rename the column'


def _load(spec: TableSpec, problems: _Problems) -> list[Sheet]:
    sheets = []
    wanted = None if spec.features is None else {spec.time_column, spec.target, *spec.features}
    for path in spec.paths:
        with problems.collected():
            sheets.append(tablefile.load(path, wanted))
    return sheets


def _times(spec: TableSpec, sheets: Sequence[Sheet], problems: _Problems) -> list[IntArray] | None:
    """Times of the rows of each file; None where some cannot be told."""
    if spec.time_format is not None:
        with problems.collected():
            tablefile.check_time_format(spec.time_format)
    try:
        zone = ZoneInfo(spec.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(f'data.timezone: unknown time zone "{spec.timezone}"; use an IANA name such as "Europe/Berlin"')
        return None
    times = []
    for sheet in sheets:
        with problems.collected():
            times.append(tablefile.times(sheet, spec.time_column, zone, spec.time_format))
    return times if len(times) == len(sheets) else None

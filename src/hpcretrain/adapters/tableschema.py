"""What a table's columns are, decided on the reference alone, and its files put together by that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from hpcretrain.adapters.hiding import NOTHING, Hiding
from hpcretrain.adapters.tablecells import CategoryCells, Cells, NumberCells
from hpcretrain.adapters.tablefile import BoolArray, IntArray, Sheet
from hpcretrain.canonical import utc
from hpcretrain.errors import InputError
from hpcretrain.ports import FloatArray

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
    hiding: Hiding = NOTHING


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

    def texts(self, chosen: BoolArray | None = None) -> Any:
        column = self.column if chosen is None else self.column.filter(pa.array(chosen))
        return tablefile.as_text(column, typed=self.sheet.typed)

    @property
    def has_value(self) -> bool:
        """Whether there is anything in the deciding rows."""
        numbers, foreign = self.split
        return bool((self.deciding & (foreign | ~np.isnan(numbers))).any())

    def place(self, chosen: BoolArray) -> str:
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
    reference = _reference(spec, times, problems) or [np.ones(sheet.rows, dtype=np.bool_) for sheet in sheets]
    existing = _existing(sheets, reference)
    if sheets:
        problems += _absent(spec, existing)
        problems += _not_hidden(spec, sheets)
    problems.settle()

    parts = _features(spec, sheets, reference, existing)
    if not parts:
        problems.append("model.features: no column but target and time has a value in the reference")
    columns = []
    for name, cells in parts.items():
        with problems.collected():
            columns.append(Column(name, _kind(cells, declared=name in (spec.categorical or ()))))
    labels = np.empty(0)
    with problems.collected():
        known = nanoseconds(spec.reference_until - spec.label_delay)
        matured = [rows & (stamps <= known) for rows, stamps in zip(reference, times, strict=True)]
        labels = _labels(_parts(sheets, spec.target, matured), spec)
    problems.settle()

    return _content(times, columns, parts, labels)


def assemble_known(
    sheets: Sequence[Sheet], columns: Sequence[Column], time_column: str, zone: ZoneInfo, time_format: str | None
) -> Content:
    """Some files of a table, or pieces of them, whose columns are decided; without labels.

    A cell becomes what it would in the whole table.

    Raises:
        InputError: A time is missing or cannot be read; every such file.
    """
    problems = _Problems()
    times: list[IntArray] = []
    for sheet in sheets:
        with problems.collected():
            times.append(tablefile.times(sheet, time_column, zone, time_format))
    problems.settle()
    everything = [np.ones(sheet.rows, dtype=np.bool_) for sheet in sheets]
    parts = {column.name: _parts(sheets, column.name, everything) for column in columns}
    return _content(times, columns, parts, np.full(sum(sheet.rows for sheet in sheets), np.nan))


def _content(
    times: Sequence[IntArray], columns: Sequence[Column], parts: Mapping[str, Sequence[_Part]], labels: FloatArray
) -> Content:
    stamps = np.concatenate(times)
    order = np.argsort(stamps, kind="stable")
    joined = tuple(_join(column.kind, parts[column.name], order) for column in columns)
    return Content(stamps[order], tuple(columns), joined, labels[order])


def _contradictions(spec: TableSpec) -> Iterator[str]:
    features, categorical = spec.features, spec.categorical or ()
    if not spec.paths:
        yield "data.path: there are no files"
    if spec.target == spec.time_column:
        yield f'"{spec.target}" cannot be both model.target and data.time_column'
    for name, what in ((spec.target, "the target"), (spec.time_column, "the time column")):
        if name in (*(features or ()), *categorical):
            yield f'model.features: "{name}" is {what} and cannot be a feature; take it out'
    for key, hidden in (("data.drop", spec.hiding.drop), ("data.mask", spec.hiding.mask)):
        for name, what in ((spec.target, "the target"), (spec.time_column, "the time column")):
            if name in hidden:
                yield f'{key}: "{name}" is {what}, which is needed as it is'
    for name in sorted(spec.hiding.drop):
        if name in (*(features or ()), *categorical):
            yield f'model.features: "{name}" is in data.drop, so nothing is known of it; take it out of one of them'
        if name in spec.hiding.mask:
            yield f'data.mask: "{name}" is in data.drop too; it takes one'
    for name in dict.fromkeys(features or ()):
        if (features or ()).count(name) > 1:
            yield f'model.features: "{name}" stands there more than once'
    for name in categorical:
        if features is not None and name not in (*features, spec.target, spec.time_column):
            yield f'model.categorical: "{name}" is not among model.features'


def _load(spec: TableSpec, problems: _Problems) -> list[Sheet]:
    sheets = []
    wanted = None if spec.features is None else {spec.time_column, spec.target, *spec.features}
    for path in spec.paths:
        with problems.collected():
            sheets.append(tablefile.load(path, wanted, spec.hiding))
    return sheets


def _times(spec: TableSpec, sheets: Sequence[Sheet], problems: _Problems) -> list[IntArray]:
    """Times of the rows of each file; none where a problem was found."""
    times: list[IntArray] = []
    try:
        zone = ZoneInfo(spec.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(f'data.timezone: unknown time zone "{spec.timezone}"; use an IANA name such as "Europe/Berlin"')
        return times
    with problems.collected():
        tablefile.check_time_format(spec.time_format)
        for sheet in sheets:
            with problems.collected():
                times.append(tablefile.times(sheet, spec.time_column, zone, spec.time_format))
    return times if len(times) == len(spec.paths) else []


def _reference(spec: TableSpec, times: Sequence[IntArray], problems: _Problems) -> list[BoolArray]:
    """Rows of each file that are before `reference_until`; none where that cannot be told."""
    reference = [stamps < nanoseconds(spec.reference_until) for stamps in times]
    if not times:
        return []
    until = spec.reference_until.isoformat()
    if not any(rows.any() for rows in reference):
        problems.append(f"backtest.reference_until: no row is before {until}; set it later, or give earlier rows")
        return []
    if all(rows.all() for rows in reference):
        problems.append(f"backtest.reference_until: no row is at or after {until}; there is nothing to replay")
    return reference


def _existing(sheets: Sequence[Sheet], reference: Sequence[BoolArray]) -> list[str]:
    """Columns of the files that hold the reference; of all where none does."""
    holders = [sheet for sheet, rows in zip(sheets, reference, strict=True) if rows.any()] or sheets
    return list(dict.fromkeys(name for sheet in holders for name in sheet.names))


def _absent(spec: TableSpec, existing: Sequence[str]) -> Iterator[str]:
    asked = {"model.target": (spec.target,), "model.features": spec.features or ()}
    if spec.features is None:
        asked["model.categorical"] = spec.categorical or ()
    for key, names in asked.items():
        for name in names:
            if name not in existing:
                yield f'{key}: the reference has no column "{name}"; it has: {", ".join(existing)}'
    if LABEL in existing and (spec.features is None or LABEL in spec.features):
        yield f'model.features: the name "{LABEL}" is taken; rename the column'


def _not_hidden(spec: TableSpec, sheets: Sequence[Sheet]) -> Iterator[str]:
    """What is to be hidden and is in no file: hidden by a misspelled name it would be known."""
    for key, names in (("data.drop", spec.hiding.drop), ("data.mask", spec.hiding.mask)):
        for name in sorted(names):
            if not any(name in (*sheet.names, *sheet.dropped) for sheet in sheets):
                yield f'{key}: no file has a column "{name}"; what is to be hidden must be named as it is'


def _parts(sheets: Sequence[Sheet], name: str, deciding: Sequence[BoolArray]) -> list[_Part]:
    return [_Part(sheet, name, rows) for sheet, rows in zip(sheets, deciding, strict=True)]


def _features(
    spec: TableSpec, sheets: Sequence[Sheet], reference: Sequence[BoolArray], existing: Sequence[str]
) -> dict[str, list[_Part]]:
    """The features that are asked for; or else all columns of which the reference knows something.

    A column without a value there may be in the file only because of rows that come later.
    """
    names = spec.features
    if names is None:
        names = tuple(name for name in existing if name not in (spec.target, spec.time_column))
    parts = {name: _parts(sheets, name, reference) for name in names}
    asked = (*(spec.features or ()), *(spec.categorical or ()))
    return {name: cells for name, cells in parts.items() if name in asked or any(part.has_value for part in cells)}


def _kind(parts: Sequence[_Part], *, declared: bool) -> Literal["number", "category"]:
    name, numbers, texts = parts[0].name, 0, 0
    if not any(part.has_value for part in parts):
        raise InputError(f'feature "{name}" has no value in the reference; leave it out, or set reference_until later')
    for part in parts:
        if part.deciding.any() and not (tablefile.is_number(part.column) or tablefile.is_text(part.column)):
            raise InputError(
                f'feature "{name}": {part.sheet.path} holds {part.column.type}, which is neither number nor text; '
                "leave it out of model.features, or convert it"
            )
        values, foreign = part.split
        numbers += int(np.count_nonzero(part.deciding & ~np.isnan(values)))
        texts += int(np.count_nonzero(part.deciding & foreign))
    if declared or numbers < texts:
        return "category"
    if texts:
        raise InputError(_text_among_numbers(parts, texts, numbers + texts))
    for part in parts:
        infinite = part.deciding & np.isinf(part.split[0])
        if infinite.any():
            raise InputError(
                f'feature "{name}" is infinite in the reference ({part.place(infinite)}); mend or empty it'
            )
    return "number"


def _text_among_numbers(parts: Sequence[_Part], texts: int, total: int) -> str:
    part = next(part for part in parts if (part.deciding & part.split[1]).any())
    foreign = part.deciding & part.split[1]
    first = part.column[int(np.flatnonzero(foreign)[0])].as_py()
    return (
        f'feature "{part.name}": {texts} of {total} values in the reference are text among numbers, the first '
        f'"{first}" ({part.place(foreign)}); list it in model.categorical, or mend or empty these cells'
    )


def _labels(parts: Sequence[_Part], spec: TableSpec) -> FloatArray:
    """Labels in order of files, NaN where there is none that can be read."""
    labels = []
    found: dict[str, None] = {}
    count = 0
    for part in parts:
        values, unreadable = _read_labels(part, binary=spec.task == "binary")
        labels.append(values)
        bad = part.deciding & unreadable
        count += int(np.count_nonzero(bad))
        if bad.any():
            found |= dict.fromkeys(part.texts(bad).unique().to_pylist())
    if found:
        shown = ", ".join(f'"{value}"' for value in list(found)[:_FOUND]) + (", ..." if len(found) > _FOUND else "")
        fitting = (
            '0/1 or true/false (for other numbers: task "regression")' if spec.task == "binary" else "finite numbers"
        )
        raise InputError(
            f'task "{spec.task}" does not fit target "{spec.target}": found {shown} in {count} rows of the reference; '
            f"labels must be {fitting}"
        )
    _check_variety(np.concatenate([values[part.deciding] for values, part in zip(labels, parts, strict=True)]), spec)
    return np.concatenate(labels)


def _read_labels(part: _Part, *, binary: bool) -> tuple[FloatArray, BoolArray]:
    """Labels, and where something stands that is none. A label may be text, whatever the kind of file."""
    values, foreign = tablefile.split(part.column, typed=False)
    if binary and tablefile.is_text(part.column):
        text = pc.utf8_lower(pc.utf8_trim_whitespace(part.column))
        for word, label in (("false", 0.0), ("true", 1.0)):
            said = pc.fill_null(pc.equal(text, word), False).to_numpy()
            values[said] = label
            foreign &= ~said
    wrong = ~np.isin(values, (0.0, 1.0)) if binary else np.isinf(values)
    unreadable = foreign | (wrong & ~np.isnan(values))
    return np.where(unreadable, np.nan, values), unreadable


def _check_variety(labels: FloatArray, spec: TableSpec) -> None:
    distinct = np.unique(labels[np.isfinite(labels)]).tolist()
    if spec.task == "binary" and len(distinct) < 2:
        which = f"only {distinct[0]:.0f}" if distinct else "none"
        raise InputError(
            f'target "{spec.target}": of the classes 0 and 1, labels known by reference_until show {which}; both are '
            "needed: set backtest.reference_until later"
        )
    if spec.task == "regression" and len(distinct) <= 2:
        raise InputError(
            f'target "{spec.target}": labels known by reference_until show {len(distinct)} distinct values, too few '
            'for task "regression"; use task "binary" with labels 0 and 1, or set backtest.reference_until later'
        )


def _join(kind: str, parts: Sequence[_Part], order: IntArray) -> Cells:
    if kind == "category":
        return CategoryCells.of(_chain(part.texts() for part in parts), order)
    values, foreign = (np.concatenate(arrays) for arrays in zip(*(part.split for part in parts), strict=True))
    return NumberCells.of(values, foreign, _chain(part.texts(part.split[1]) for part in parts), order)


def _chain(columns: Iterable[Any]) -> Any:
    return pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.large_string())

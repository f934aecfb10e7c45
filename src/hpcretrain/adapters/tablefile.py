"""One file of the user's table: its columns in arrow, and its cells as numbers, text and times.

What a cell becomes depends on that cell and on its file's types alone, never on other rows: a table that is seen as of
an earlier time must look the same whatever came later.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from hpcretrain.adapters.hiding import NOTHING, Hiding
from hpcretrain.errors import InputError
from hpcretrain.ports import FloatArray

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None")
"""What stands for a missing cell in a CSV file."""

# Columns that pandas makes of an unnamed index; they number the rows, so a model could read the time from them.
_PANDAS_INDEX = "__index_level_"

_NUMBER = r"^[+-]?(([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?|(?i:inf|infinity))$"
_OFFSET = r" ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)"
_CLOCK_TIME = rf"[T ][0-9]{{2}}(:?[0-9]{{2}}(:?[0-9]{{2}}([.][0-9]+)?)?)?({_OFFSET})?"
_ISO = rf"^([0-9]{{4}}-[0-9]{{2}}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}({_CLOCK_TIME})?|[0-9]{{8}}{_CLOCK_TIME})$"

_NAT = np.iinfo(np.int64).min
_DAY_NS = 86_400 * 10**9
# Some days short of what 64 bits hold, so that no offset of a time zone overflows.
_FURTHEST_NS = np.iinfo(np.int64).max - 4 * _DAY_NS
_NS_PER = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True)
class Sheet:
    """A file: the names of all its columns, and those that are wanted in arrow.

    They are integers, float64, large text, or else of a type that is no good for a feature. `typed` tells whether the
    file itself tells numbers from text, as Parquet does and CSV does not.
    """

    path: Path
    names: tuple[str, ...]
    columns: Mapping[str, Any]
    rows: int
    typed: bool
    dropped: tuple[str, ...] = ()
    """Columns of the file that are not to be known."""


def load(path: Path, wanted: Collection[str] | None, hiding: Hiding = NOTHING) -> Sheet:
    """Read a file.

    Columns without a name, and an index that pandas left, are not columns.

    Args:
        path: A .csv (comma, header, UTF-8) or .parquet file.
        wanted: Columns to read, whether or not the file has them; None for all.
        hiding: What is not to be known: columns that are not read, and columns whose cells are masked as text.

    Raises:
        InputError: It is of another kind, cannot be read, or names two columns alike.
    """
    reader = _reader(path)
    return _sheet(path, lambda: reader(path, wanted, hiding.drop), typed=reader is _read_parquet, hiding=hiding)


def load_groups(path: Path, wanted: Collection[str], groups: Sequence[int]) -> Sheet:
    """Read some row groups of a Parquet file, as `load` reads all of it.

    Raises:
        InputError: It cannot be read, or names two columns alike.
    """
    return _sheet(path, lambda: _read_parquet(path, wanted, frozenset(), groups), typed=True)


def outline(path: Path) -> tuple[tuple[str, ...], tuple[int, ...] | None]:
    """The names of a file's columns, and how many rows each of its row groups has: None for a file without such groups.

    Raises:
        InputError: It is of another kind, cannot be read, or names two columns alike.
    """
    try:
        if _reader(path) is not _read_parquet:
            return tuple(_named(path, _header(path))), None
        with pq.ParquetFile(path) as file:
            groups = tuple(file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))
            return tuple(_named(path, file.schema_arrow.names)), groups
    except (pa.ArrowException, OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def _sheet(path: Path, read: Callable[[], tuple[list[str], Any]], *, typed: bool, hiding: Hiding = NOTHING) -> Sheet:
    try:
        names, table = read()
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeError, csv.Error) as error:
        # Where cells are hidden, no trace may quote them either.
        raise InputError(f"{path}: cannot be read: {hiding.words(error)}") from (None if hiding.any else error)
    columns = {name: _plain(table.column(name)) for name in table.column_names}
    for name in hiding.mask & columns.keys():
        columns[name] = _masked(columns[name], name, hiding, typed=typed)
    return Sheet(
        path=path,
        names=tuple(name for name in names if name not in hiding.drop),
        columns=columns,
        rows=table.num_rows,
        typed=typed,
        dropped=tuple(name for name in names if name in hiding.drop),
    )


def _masked(column: Any, name: str, hiding: Hiding, *, typed: bool) -> Any:
    """A column of which only those cells can be told that are equal."""
    coded = pc.dictionary_encode(
        pa.concat_arrays(as_text(column, typed=typed).chunks or [pa.nulls(0, pa.large_string())])
    )
    words = pa.array([hiding.masked(name, text) for text in coded.dictionary.to_pylist()], pa.large_string())
    return pa.chunked_array([pc.take(words, coded.indices)], pa.large_string())


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return next(csv.reader(file), [])


def _read_csv(path: Path, wanted: Collection[str] | None, drop: Collection[str]) -> tuple[list[str], Any]:
    header = _header(path)
    names = _named(path, header)
    table = pacsv.read_csv(
        path,
        # One thread counts rows, so that errors name them.
        read_options=pacsv.ReadOptions(use_threads=False),
        parse_options=pacsv.ParseOptions(newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(header, pa.large_string()),
            include_columns=_chosen(names, wanted, drop),
            null_values=list(MISSING),
            strings_can_be_null=True,
        ),
    )
    return names, table


def _read_parquet(
    path: Path, wanted: Collection[str] | None, drop: Collection[str], groups: Sequence[int] | None = None
) -> tuple[list[str], Any]:
    with pq.ParquetFile(path) as file:
        names = _named(path, file.schema_arrow.names)
        chosen = _chosen(names, wanted, drop)
        return names, file.read(columns=chosen) if groups is None else file.read_row_groups(groups, columns=chosen)


_Read = Callable[[Path, Collection[str] | None, Collection[str]], tuple[list[str], Any]]
_READERS: dict[str, _Read] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _reader(path: Path) -> _Read:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f'{path}: files must end in .csv or .parquet, not in "{path.suffix}"; convert it')
    return reader


def _named(path: Path, header: list[str]) -> list[str]:
    names = [name for name in header if name and not name.startswith(_PANDAS_INDEX)]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: more than one column is named {', '.join(repeated)}; rename them")
    if not names:
        raise InputError(f"{path}: has no columns; its first line must name them")
    return names


def _chosen(names: list[str], wanted: Collection[str] | None, drop: Collection[str]) -> list[str]:
    known = [name for name in names if name not in drop]
    chosen = [name for name in known if wanted is None or name in wanted]
    # Arrow takes an empty list for all columns; one is enough to count rows.
    return chosen or known[:1]


def _plain(column: Any) -> Any:
    if pa.types.is_dictionary(column.type):
        return pc.cast(pc.cast(column, column.type.value_type), pa.large_string())
    if pa.types.is_boolean(column.type):
        return pc.cast(column, pa.uint8())
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return pc.cast(column, pa.float64(), safe=False)
    if pa.types.is_null(column.type) or is_text(column) or pa.types.is_string_view(column.type):
        return pc.cast(column, pa.large_string())
    return column


def is_text(column: Any) -> bool:
    """Whether an arrow column holds text."""
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def is_number(column: Any) -> bool:
    """Whether an arrow column holds numbers."""
    return bool(pa.types.is_integer(column.type) or pa.types.is_floating(column.type))


def split(column: Any, *, typed: bool) -> tuple[FloatArray, BoolArray]:
    """Tell cells that are numbers from others.

    Args:
        column: A column of a sheet.
        typed: Whether text is text even if it reads as a number.

    Returns:
        Numbers, shape (rows,), NaN where there is none, and where there is something else, shape (rows,). A missing
        cell is neither.
    """
    present = pc.is_valid(column).to_numpy()
    if is_number(column):
        return _floats(column), np.zeros(len(column), dtype=np.bool_)
    if typed or not is_text(column):
        return np.full(len(column), np.nan), present
    text = pc.utf8_trim_whitespace(column)
    reads = pc.fill_null(pc.match_substring_regex(text, _NUMBER), False)
    numbers = _floats(pc.cast(pc.if_else(reads, text, pa.scalar(None, pa.large_string())), pa.float64()))
    return numbers, present & ~reads.to_numpy()


def _floats(column: Any) -> FloatArray:
    # Adding zero turns -0.0 into 0.0, and every NaN shall have the same bits.
    values: FloatArray = pc.fill_null(pc.cast(column, pa.float64(), safe=False), np.nan).to_numpy() + 0.0
    values[np.isnan(values)] = np.nan
    return values


def as_text(column: Any, *, typed: bool) -> Any:
    """Cells as large text, null where missing.

    Whole numbers have no decimal point, also where a CSV file writes 1.0: writers add it as soon as another cell of the
    column is missing.

    Args:
        column: A column of a sheet.
        typed: Whether text is text even if it reads as a number.
    """
    if is_text(column):
        if typed:
            return column
        return pc.replace_substring_regex(column, r"^(-?[1-9][0-9]*|0)[.]0+$", r"\1")
    if pa.types.is_integer(column.type):
        return pc.cast(column, pa.large_string())
    if pa.types.is_floating(column.type):
        values, place = np.unique(_floats(column), return_inverse=True)
        texts = np.array([_number_text(value) for value in values.tolist()], dtype=object)
        return pa.chunked_array([pa.array(texts[place], pa.large_string())])
    cells = [None if cell is None else str(cell) for cell in column.to_pylist()]
    return pa.chunked_array([pa.array(cells, pa.large_string())])


def _number_text(value: float) -> str | None:
    if np.isnan(value):
        return None
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def times(sheet: Sheet, name: str, zone: ZoneInfo, time_format: str | None) -> IntArray:
    """Times of the rows in nanoseconds since 1970 in UTC, shape (rows,).

    Times without an offset are in `zone`: the first of two that read alike, the end of a gap for one inside it.

    Raises:
        InputError: A time is missing or cannot be read, or the column is missing.
    """
    if name not in sheet.names:
        raise InputError(f'{sheet.path}: there is no time column "{name}"; it has: {", ".join(sheet.names)}')
    column, stamps = _parsed(sheet.columns[name], zone, time_format)
    if stamps is None:
        raise InputError(
            f'{sheet.path}: the time column "{name}" holds {sheet.columns[name].type}, which is no time; write '
            'ISO 8601 text, such as "2013-03-01T06:00", or Parquet timestamps'
        )
    bad = np.flatnonzero(stamps == _NAT)
    if len(bad):
        raise InputError(_bad_time(sheet, name, column, bad, time_format))
    return stamps


def unreadable(sheet: Sheet, name: str, time_format: str | None) -> int:
    """How many cells of a column do not read as times."""
    _, stamps = _parsed(sheet.columns[name], ZoneInfo("UTC"), time_format)
    return sheet.rows if stamps is None else int(np.count_nonzero(stamps == _NAT))


def _parsed(column: Any, zone: ZoneInfo, time_format: str | None) -> tuple[Any, IntArray | None]:
    """The column as it was read, and its times; None if it is of no type of times."""
    if pa.types.is_integer(column.type) and time_format is not None:
        column = pc.cast(column, pa.large_string())
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column, _nanoseconds(_index(column), zone)
    return column, _read_times(column, zone, time_format) if is_text(column) else None


def _index(column: Any) -> pd.DatetimeIndex:
    kind = column.type
    if pa.types.is_date(kind):
        column = pc.cast(column, pa.timestamp("s" if pa.types.is_date32(kind) else "ms"))
    elif kind.tz is not None:
        column = pc.cast(column, pa.timestamp(kind.unit, "UTC"))
    return pd.DatetimeIndex(column.to_pandas())


def _nanoseconds(index: pd.DatetimeIndex, zone: ZoneInfo) -> IntArray:
    per_unit = _NS_PER[index.unit]
    bad = np.asarray(index.isna()) | (np.abs(index.asi8.astype(np.float64)) >= _FURTHEST_NS / per_unit)
    stamps: IntArray = np.where(bad, 0, index.asi8) * per_unit
    if index.tz is None:
        local = pd.DatetimeIndex(stamps.view("M8[ns]"))
        first = np.ones(len(local), dtype=np.bool_)
        stamps = local.tz_localize(zone, ambiguous=first, nonexistent="shift_forward").asi8.copy()
    stamps[bad] = _NAT
    return stamps


def _read_times(column: Any, zone: ZoneInfo, time_format: str | None) -> IntArray:
    text = pc.utf8_trim_whitespace(column)
    if time_format is None:
        readable = _matches(text, _ISO)
        aware = _matches(text, rf"[T ].*{_OFFSET}$")
    else:
        # pandas reads these two as the time of reading.
        readable = ~pc.is_in(pc.utf8_lower(text), pa.array(["now", "today"], pa.large_string())).to_numpy()
        aware = np.full(len(text), "%z" in time_format.lower())
    cells = text.to_numpy()
    stamps = np.full(len(text), _NAT, dtype=np.int64)
    for chosen, utc in ((readable & aware, True), (readable & ~aware, False)):
        if chosen.any():
            parsed = pd.to_datetime(
                pd.Series(cells[chosen], dtype=object), format=time_format or "ISO8601", errors="coerce", utc=utc
            )
            stamps[chosen] = _nanoseconds(pd.DatetimeIndex(parsed), zone)
    return stamps


def _matches(text: Any, pattern: str) -> BoolArray:
    found: BoolArray = pc.fill_null(pc.match_substring_regex(text, pattern), False).to_numpy()
    return found


def _bad_time(sheet: Sheet, name: str, column: Any, bad: IntArray, time_format: str | None) -> str:
    row = int(bad[0])
    if not column[row].is_valid:
        what = "is missing"
    elif is_text(column):
        what = f'"{column[row].as_py()}" is ' + (
            f'not like "{time_format}"' if time_format else "no ISO 8601 time from 1678 to 2261"
        )
    else:
        what = f"{np.datetime64(int(_index(column).asi8[row]), _index(column).unit)} is out of range"
    return (
        f'{sheet.path}: row {row + 1}: the time in "{name}" {what} ({len(bad)} of {sheet.rows} rows); mend them'
        + (', or set data.time_format, such as "%d.%m.%Y %H:%M"' if time_format is None and is_text(column) else "")
    )  # fmt: skip


def check_time_format(time_format: str | None) -> None:
    """Check that times can be read by a strptime format, if one is given.

    Raises:
        InputError: They cannot.
    """
    if time_format is None:
        return
    wrong = InputError(f'data.time_format: "{time_format}" is no strptime format; write one such as "%d.%m.%Y %H:%M"')
    if "%" not in time_format:
        raise wrong
    try:
        pd.to_datetime(pd.Series(["2000-01-01"], dtype=object), format=time_format, errors="coerce")
    except ValueError as error:
        raise wrong from error

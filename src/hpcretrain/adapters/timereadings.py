"""In which ways a column reads as times, tried by the table's own reader."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, product
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hpcretrain.adapters import tablefile
from hpcretrain.adapters.tablefile import IntArray, Sheet
from hpcretrain.config.guess import TimeReading
from hpcretrain.errors import InputError

_DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d.%m.%y", "%d/%m/%y", "%m/%d/%y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y"),
)
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
# strptime is content with fewer digits, so the number of digits is looked at first.
_DIGITS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}

_YEARS = (1900, 2100)
_PROBE = 50
_NEARLY = 0.1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UTC, _ELSEWHERE = ZoneInfo("UTC"), ZoneInfo("Etc/GMT+12")


def is_timestamp(column: Any) -> bool:
    """Whether an arrow column is of a type of times."""
    return bool(pa.types.is_timestamp(column.type) or pa.types.is_date(column.type))


def time_readings(sheet: Sheet, name: str) -> tuple[tuple[TimeReading, ...], str | None]:
    """Ways in which every cell that is not missing reads as a time; if there is none, where few cells do not."""
    column = pc.drop_null(sheet.columns[name])
    troubles: dict[str | None, int] = {}
    seen: list[IntArray] = []
    readings = []
    for time_format in _formats(column):
        if 2 * tablefile.unreadable(_with(sheet, name, _probe(column)), name, time_format) > _PROBE:
            continue
        bad = tablefile.unreadable(_with(sheet, name, column), name, time_format)
        if bad:
            troubles |= {time_format: bad} if bad < _NEARLY * len(column) else {}
            continue
        stamps = tablefile.times(_with(sheet, name, column), name, _UTC, time_format)
        if any(np.array_equal(stamps, other) for other in seen):
            continue
        seen.append(stamps)
        reading = _reading(stamps, time_format, _zone(column), _aware(sheet, name, column, time_format))
        readings += [reading] if reading else []
    if readings or not troubles:
        return tuple(readings), None
    # Told by the rows of the file, missing cells included.
    return (), _trouble(sheet, name, min(troubles, key=lambda time_format: troubles[time_format]))


def _formats(column: Any) -> Iterator[str | None]:
    """Formats that the first cell fits, the one in the middle, or the last: any one of them may be bad."""
    if len(column):
        cells = [column[place] for place in (0, len(column) // 2, len(column) - 1)]
        yield from dict.fromkeys(chain.from_iterable(_fitting(column, str(cell.as_py()).strip()) for cell in cells))


def _fitting(column: Any, cell: str) -> Iterator[str | None]:
    if is_timestamp(column):
        yield None
        return
    if not (tablefile.is_text(column) or pa.types.is_integer(column.type)):
        return
    if re.fullmatch(r"[0-9]+", cell):
        if len(cell) in _DIGITS:
            yield _DIGITS[len(cell)]
        return
    if not tablefile.is_text(column) or not any(letter.isdigit() for letter in cell):
        return
    yield None
    for time_format in map("".join, product(_DATES, _CLOCKS)):
        try:
            datetime.strptime(cell, time_format)
        except ValueError:
            continue
        yield time_format


def _probe(column: Any) -> Any:
    return pa.chunked_array([*column.slice(0, _PROBE).chunks, *column.slice(max(len(column) - _PROBE, 0)).chunks])


def _with(sheet: Sheet, name: str, column: Any) -> Sheet:
    return Sheet(sheet.path, sheet.names, {name: column}, len(column), sheet.typed)


def _stamps(sheet: Sheet, name: str, column: Any, time_format: str | None, zone: ZoneInfo) -> IntArray | None:
    try:
        return tablefile.times(_with(sheet, name, column), name, zone, time_format)
    except InputError:
        return None


def _trouble(sheet: Sheet, name: str, time_format: str | None) -> str | None:
    try:
        tablefile.times(sheet, name, _UTC, time_format)
    except InputError as error:
        return str(error)
    return None


def _aware(sheet: Sheet, name: str, column: Any, time_format: str | None) -> bool:
    here, there = (_stamps(sheet, name, _probe(column), time_format, zone) for zone in (_UTC, _ELSEWHERE))
    return np.array_equal(here, there) if here is not None and there is not None else False


def _zone(column: Any) -> str | None:
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        return None
    try:
        ZoneInfo(column.type.tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return str(column.type.tz)


def _reading(stamps: IntArray, time_format: str | None, zone: str | None, aware: bool) -> TimeReading | None:
    first, last, middle = (_moment(stamp) for stamp in (stamps.min(), stamps.max(), np.sort(stamps)[len(stamps) // 2]))
    if first.year < _YEARS[0] or last.year > _YEARS[1]:
        return None
    steps = np.diff(stamps)
    return TimeReading(
        time_format=time_format,
        zone=zone,
        aware=aware,
        order=float(np.mean(steps >= 0)) if len(steps) else 1.0,
        clock=bool((stamps % (86_400 * 10**9)).any()),
        first=first,
        last=last,
        middle=middle,
    )


def _moment(stamp: Any) -> datetime:
    return _EPOCH + timedelta(microseconds=int(stamp) // 1_000)

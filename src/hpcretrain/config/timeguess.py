"""Guess which column holds the times, and how they are to be read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hpcretrain.config.guess import SHOWN_COLUMNS, ColumnSummary, Guess, TimeReading, Warnings, listed, quoted
from hpcretrain.errors import InputError

_NAMES = frozenset({"time", "timestamp", "datetime", "date", "ts", "day", "time_hour", "created_at"})
_CLEARLY_BETTER_ORDER = 0.01
# Times from 2000 to 2035 as whole seconds since 1970, and finer.
_EPOCH_S = (946_684_800, 2_051_222_400)
_EPOCH_UNITS = {
    "s": ("seconds", 1),
    "ms": ("milliseconds", 10**3),
    "us": ("microseconds", 10**6),
    "ns": ("nanoseconds", 10**9),
}
_PARTS = frozenset({"year", "month", "day", "hour", "minute"})


@dataclass(frozen=True)
class TimeGuess:
    """The time column and how it is to be read."""

    reading: TimeReading
    column: Guess
    timezone: Guess
    time_format: Guess | None


def guess_time(columns: Sequence[ColumnSummary], target: str, warnings: Warnings) -> TimeGuess:
    """The time column: of those that read as times throughout, one that increases, with a clock, early and so named.

    Args:
        columns: All columns.
        target: The column to be predicted, which is none of times.
        warnings: Told of columns that could have been chosen too.

    Raises:
        InputError: No column will do, or day and month cannot be told apart.
    """
    candidates = [column for column in columns if column.readings and not column.missing]
    if not candidates:
        raise InputError(_no_time(columns, target))
    ranked = sorted(candidates, key=_rank)
    chosen, others = ranked[0], [column.name for column in columns if column.readings and column is not ranked[0]]
    reading = _one_reading(chosen)
    warnings += [
        f"data.time_column: {quoted(column.name)} nearly reads as times too: {column.trouble}"
        for column in columns
        if column.trouble
    ]
    if others:
        why = (
            f"chosen before {listed(others)}, which also read as times: "
            + ("its rows are in order" if reading.order == 1 else "by its name, its clock times and how early it is")
        )  # fmt: skip
        warnings.append(
            f"data.time_column: {quoted(chosen.name)} was {why}; it must be the time at which the prediction is made"
        )
    else:
        why = "the only column that reads as times"
    order = "increasing" if reading.order == 1 else f"{100 * reading.order:.0f} % of the rows in order"
    span = f"from {reading.first:%Y-%m-%d} to {reading.last:%Y-%m-%d}"
    why += f": all {chosen.rows:,} rows that were looked at, {span}, {order}"
    return TimeGuess(reading, Guess(chosen.name, why), _timezone(reading), _time_format(chosen, reading))


def _rank(column: ColumnSummary) -> tuple[bool, bool, bool, datetime]:
    best = max(column.readings, key=lambda reading: reading.order)
    return best.order < 1, not best.clock, column.name.casefold() not in _NAMES, best.middle


def _one_reading(column: ColumnSummary) -> TimeReading:
    ranked = sorted(column.readings, key=lambda reading: -reading.order)
    if len(ranked) > 1 and ranked[0].order - ranked[1].order < _CLEARLY_BETTER_ORDER:
        formats = " or ".join(f'"{reading.time_format}"' for reading in ranked[:2])
        raise InputError(
            f"the times in {quoted(column.name)}, such as {quoted(next(iter(column.values)))}, read as {formats} "
            "alike, and nothing in the table tells which is right; write them as ISO 8601 (2024-03-01T06:00), or fill "
            "in the template that `hpcretrain init DIR` writes without --data, with the right data.time_format"
        )
    return ranked[0]


def _timezone(reading: TimeReading) -> Guess:
    if reading.zone:
        return Guess(reading.zone, "the zone that the file says; months and days of the report are in it")
    if reading.aware:
        return Guess("UTC", "the times carry their offsets; the zone only says where days and months begin")
    return Guess("UTC", 'the times carry no offset; if they are local, name their zone, such as "Europe/Berlin"')


def _time_format(column: ColumnSummary, reading: TimeReading) -> Guess | None:
    if reading.time_format is None:
        return None
    others = [other for other in column.readings if other is not reading]
    why = f"{quoted(next(iter(column.values)))} and all others read so"
    if others:
        why += f', as by "{others[0].time_format}", but by that only {100 * others[0].order:.0f} % are in order'
    return Guess(reading.time_format, why)


def _no_time(columns: Sequence[ColumnSummary], target: str) -> list[str]:
    rest = [column for column in columns if column.name != target]
    troubles = [column.trouble for column in rest if column.trouble]
    troubles += [
        f"{quoted(column.name)} reads as times, but {column.missing:,} of {column.rows:,} are missing; mend them"
        for column in rest
        if column.readings and column.missing
    ]
    near = [column.name for column in rest if column.trouble or column.readings]
    if near:
        return [
            f"no column can be the time of the rows; {listed(near)} nearly {'is' if len(near) == 1 else 'are'}: mend "
            "the cells that cannot be read",
            *troubles,
        ]
    shown = "; ".join(f"{quoted(column.name)} ({column.shown})" for column in rest[:SHOWN_COLUMNS])
    problems = [
        "no column can be the time of the rows. Tried: ISO 8601, timestamps of Parquet, and usual orders of day, month "
        f"and year, with and without a clock time. The columns are: {shown}"
        + (f"; and {len(rest) - SHOWN_COLUMNS} more" if len(rest) > SHOWN_COLUMNS else "")
    ]
    for column in rest:
        unit = _epoch_unit(column)
        if unit:
            problems.append(
                f"{quoted(column.name)} looks like {_EPOCH_UNITS[unit][0]} since 1970, which is not read; write "
                f'ISO 8601, in pandas: pd.to_datetime(table["{column.name}"], unit="{unit}", utc=True)'
            )
    parts = [column.name for column in rest if column.name.casefold() in _PARTS]
    if len(parts) > 1:
        problems.append(
            f"{listed(parts)} look like parts of a time; join them into one, in pandas: pd.to_datetime(table[...])"
        )
    return problems


def _epoch_unit(column: ColumnSummary) -> str | None:
    if column.low is None or column.high is None or not column.whole:
        return None
    for unit, (_, factor) in _EPOCH_UNITS.items():
        if _EPOCH_S[0] * factor <= column.low <= column.high <= _EPOCH_S[1] * factor:
            return unit
    return None

"""Guess what a table's columns are for, from summaries of them. Pure; every guess says why."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hpcretrain.errors import InputError

Warnings = list[str]

_TIME_NAMES = frozenset({"time", "timestamp", "datetime", "date", "ts", "day", "time_hour", "created_at"})
_LABEL_WORDS = frozenset({"0", "1", "true", "false"})
_FEW_CLASSES = 10
_CLEARLY_BETTER_ORDER = 0.01
# Times from 2000 to 2035 as whole seconds since 1970, and finer.
_EPOCH_S = (946_684_800, 2_051_222_400)
_EPOCH_UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SHOWN_COLUMNS = 20


@dataclass(frozen=True)
class Guess:
    """A value for a key of the configuration, and why.

    `notes` says something of each entry of a list; `after` are remarks that stand below the key.
    """

    value: Any
    why: str
    notes: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class TimeReading:
    """A way in which all cells of a column that are not missing read as times.

    Attributes:
        time_format: A strptime format; None for ISO 8601 and for a file's own timestamps.
        zone: IANA name of the zone that the file's timestamps are in, if it says one.
        aware: Whether the cells carry an offset, or the file a zone.
        order: Share of rows, of those after the first, that are not before the row above.
        clock: Whether any time is not midnight.
        first, last, middle: Earliest, latest and median time, in UTC.
    """

    time_format: str | None
    zone: str | None
    aware: bool
    order: float
    clock: bool
    first: datetime
    last: datetime
    middle: datetime


@dataclass(frozen=True)
class ColumnSummary:
    """What is known of a column of the rows that were read.

    Attributes:
        rows, missing: How many cells, and how many of them are missing.
        numbers, texts: How many are numbers, and how many are something else.
        infinite: How many of the numbers are infinite.
        distinct: How many different values there are.
        values: The first different values, as text, and how often each occurs.
        low, high: The range of the numbers; None where there is none.
        whole: Whether all numbers are whole.
        readings: Ways to read the column as times; none if there is no such way.
        trouble: Why a column that begins like times cannot be read as such.
        type_name: The file's type, where that is neither number nor text.
    """

    name: str
    rows: int
    missing: int
    numbers: int
    texts: int
    infinite: int
    distinct: int
    values: Mapping[str, int]
    low: float | None
    high: float | None
    whole: bool
    readings: tuple[TimeReading, ...] = ()
    trouble: str | None = None
    type_name: str | None = None

    @property
    def shown(self) -> str:
        """What the column holds, in a few words."""
        examples = ", ".join(quoted(value) for value in list(self.values)[:3])
        if self.readings:
            return f"times, such as {examples}"
        if self.type_name:
            return self.type_name
        if not self.values:
            return "nothing"
        return f"{'numbers' if self.numbers >= self.texts else 'text'}, such as {examples}"


@dataclass(frozen=True)
class TimeGuess:
    """The time column and how it is to be read."""

    reading: TimeReading
    column: Guess
    timezone: Guess
    time_format: Guess | None


def quoted(text: str) -> str:
    """A cell or a name in quotation marks, shortened, in one line."""
    line = " ".join(text.split())
    return f'"{line if len(line) <= 40 else line[:37] + "..."}"'


def listed(names: Iterable[str]) -> str:
    """Names in quotation marks, with commas; the first of them if there are many."""
    every = list(names)
    more = f" and {len(every) - _SHOWN_COLUMNS} more" if len(every) > _SHOWN_COLUMNS else ""
    return ", ".join(quoted(name) for name in every[:_SHOWN_COLUMNS]) + more


def find_target(target: str, columns: Sequence[ColumnSummary]) -> ColumnSummary:
    """The column to be predicted.

    Raises:
        InputError: There is none of that name, or it reads as times.
    """
    names = {column.name: column for column in columns}
    if target not in names:
        folded = {name.casefold(): name for name in names}
        near = [folded[name] for name in difflib.get_close_matches(target.casefold(), folded, n=3, cutoff=0.6)]
        hint = f"did you mean {' or '.join(quoted(name) for name in near)}? " if near else ""
        raise InputError(f"--target: there is no column {quoted(target)}; {hint}the table has: {listed(names)}")
    if names[target].readings:
        raise InputError(f"--target: {quoted(target)} holds {names[target].shown}; a time cannot be predicted")
    return names[target]


def guess_time(columns: Sequence[ColumnSummary], target: str, warnings: Warnings) -> TimeGuess:
    """The time column: of those that read as times throughout, one that increases, with a clock, early and so named.

    Raises:
        InputError: No column will do, or day and month cannot be told apart.
    """
    candidates = [column for column in columns if column.readings and not column.missing and column.name != target]
    if not candidates:
        raise InputError(_no_time(columns, target))
    ranked = sorted(candidates, key=_rank)
    chosen, others = ranked[0], [column.name for column in columns if column.readings and column is not ranked[0]]
    reading = _one_reading(chosen)
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
    why += f": 100 % of {chosen.rows:,} rows, from {reading.first:%Y-%m-%d} to {reading.last:%Y-%m-%d}, {order}"
    return TimeGuess(reading, Guess(chosen.name, why), _timezone(reading), _time_format(chosen, reading))


def _rank(column: ColumnSummary) -> tuple[bool, bool, bool, datetime]:
    best = max(column.readings, key=lambda reading: reading.order)
    return best.order < 1, not best.clock, column.name.casefold() not in _TIME_NAMES, best.middle


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
    shown = "; ".join(f"{quoted(column.name)} ({column.shown})" for column in rest[:_SHOWN_COLUMNS])
    problems = [
        "no column can be the time of the rows. Tried: ISO 8601, timestamps of Parquet, and usual orders of day, month "
        f"and year, with and without a clock time. The columns are: {shown}"
        + (f"; and {len(rest) - _SHOWN_COLUMNS} more" if len(rest) > _SHOWN_COLUMNS else "")
    ]
    problems += troubles
    for column in rest:
        unit = _epoch_unit(column)
        if unit:
            problems.append(
                f"{quoted(column.name)} looks like {unit} since 1970, which is not read; write ISO 8601, in pandas: "
                f'pd.to_datetime(table["{column.name}"], unit="{unit}", utc=True)'
            )
    parts = [column.name for column in rest if column.name.casefold() in ("year", "month", "day", "hour", "minute")]
    if len(parts) > 1:
        problems.append(
            f"{listed(parts)} look like parts of a time; join them into one, in pandas: pd.to_datetime(table[...])"
        )
    return problems


def _epoch_unit(column: ColumnSummary) -> str | None:
    if column.low is None or column.high is None or not column.whole:
        return None
    for unit, factor in _EPOCH_UNITS.items():
        if _EPOCH_S[0] * factor <= column.low <= column.high <= _EPOCH_S[1] * factor:
            return unit
    return None


def guess_task(target: ColumnSummary, warnings: Warnings) -> Guess:
    """Binary for 0 and 1 or false and true, regression for numbers.

    Raises:
        InputError: The target is neither, or it does not vary.
    """
    name, present = quoted(target.name), target.rows - target.missing
    words = {value.strip().casefold() for value in target.values}
    if target.distinct < 2:
        only = f"only {quoted(next(iter(target.values)))}" if target.values else "nothing"
        raise InputError(f"--target: {name} holds {only} in {target.rows:,} rows; there is nothing to learn")
    if words <= _LABEL_WORDS and target.distinct == len(target.values):
        ones = sum(count for value, count in target.values.items() if value.strip().casefold() in ("1", "true"))
        if not 0 < ones < present:
            raise InputError(
                f"--target: {name} holds one class only in {target.rows:,} rows; there is nothing to learn"
            )
        return Guess("binary", f"{name} holds two values; {100 * ones / present:.3g} % are 1 or true")
    if target.distinct == 2:
        raise InputError(
            f"--target: {name} holds two values, {' and '.join(quoted(value) for value in target.values)}, but two "
            "classes must be written 0 and 1 or false and true; write 1 for what is to be predicted"
        )
    if target.texts:
        raise InputError(
            f"--target: {name} is text in {target.texts:,} of {present:,} rows, with {target.distinct:,} different "
            f"values in all, such as {listed(list(target.values)[:3])}; classes 0 and 1, and numbers, can be predicted"
        )
    if target.infinite:
        raise InputError(f"--target: {name} is infinite in {target.infinite:,} rows; mend or empty these cells")
    if target.whole and target.distinct <= _FEW_CLASSES:
        warnings.append(
            f"model.task: {name} holds {target.distinct} whole numbers only; they are taken for amounts, as more "
            "classes than two cannot be predicted"
        )
    return Guess("regression", f"{name} holds numbers, from {target.low:.6g} to {target.high:.6g}")


def guess_metrics(task: str) -> tuple[Guess, Guess]:
    """The primary metric and the guard metrics of a task."""
    if task == "binary":
        return (
            Guess("auc", "how well 1 is ranked above 0; log_loss or brier if the probabilities themselves are used"),
            Guess(("log_loss",), "so that a better ranking is not paid for with worse probabilities"),
        )
    return (
        Guess("rmse", "large errors weigh most; mae if a few of them should not dominate"),
        Guess(("mae",), "so that rare large errors are not mended at the cost of all others"),
    )


def guess_name(stem: str) -> Guess:
    """A name for the model from the name of the file."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", stem).strip("-_.")[:100]
    return Guess(name or "model", "from the name of the file" if name else "yours to choose")

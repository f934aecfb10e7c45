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

_LABEL_WORDS = frozenset({"0", "1", "true", "false"})
_FEW_CLASSES = 10

SHOWN_COLUMNS = 20
"""Most columns that a message names."""


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
        values: The first different values, as text, and how often each occurs (in the first rows, if they are many).
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


def quoted(text: str) -> str:
    """A cell or a name in quotation marks, shortened, in one line."""
    line = " ".join(text.split())
    return f'"{line if len(line) <= 40 else line[:37] + "..."}"'


def listed(names: Iterable[str]) -> str:
    """Names in quotation marks, with commas; the first of them if there are many."""
    every = list(names)
    more = f" and {len(every) - SHOWN_COLUMNS} more" if len(every) > SHOWN_COLUMNS else ""
    return ", ".join(quoted(name) for name in every[:SHOWN_COLUMNS]) + more


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

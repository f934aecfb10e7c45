"""Reads a CSV of metrics, in wide or long form."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from hpcretrain.adapters.inputfile import called, text_of
from hpcretrain.errors import InputError
from hpcretrain.policy.gauge import Series

MOST_TOLD = 20
_MISSING = ("", "NA", "N/A", "null", "NULL", "None")


@dataclass(frozen=True)
class Form:
    """How a file is to be read; `name_column` and `value_column` are None in wide form."""

    time_column: str
    zone: ZoneInfo
    name_column: str | None = None
    value_column: str | None = None


def read(path: Path, form: Form, wanted: Sequence[str]) -> dict[str, Series]:
    """The series of the wanted columns, or in long form of the wanted names, in order of time whatever that of lines.

    An empty cell (or NA, N/A, null, NULL, None) is no sample; NaN and inf are samples, and evidence.

    Args:
        path: The file; `-` for standard input.
        form: How it is to be read.
        wanted: Columns or names.

    Raises:
        InputError: The file cannot be read; every line that is wrong, by its number.
    """
    try:
        with text_of(path) as file:
            return parse(file, form, wanted, called(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{called(path)}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def parse(lines: Iterable[str], form: Form, wanted: Sequence[str], where: str) -> dict[str, Series]:
    """As `read`, from lines."""
    reader = csv.reader(lines, strict=True)
    problems: list[str] = []
    samples: dict[str, dict[float, float]] = {name: {} for name in wanted}
    try:
        header = next(reader, [])
        columns = _columns(header, form, wanted, where)
        for row in reader:
            if row:
                problems += _take(row, len(header), columns, form, samples, f"{where}, line {reader.line_num}")
    except csv.Error as error:
        problems.append(f"{where}, line {reader.line_num}: {error}")
    if problems:
        more = [f"{where}: and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        raise InputError([*problems[:MOST_TOLD], *more])
    return {name: _series(each) for name, each in samples.items()}


def _columns(header: Sequence[str], form: Form, wanted: Sequence[str], where: str) -> Mapping[str, int]:
    if form.name_column is None or form.value_column is None:
        names = [form.time_column, *wanted]
    else:
        names = [form.time_column, form.name_column, form.value_column]
    problems = [f'{where}: two columns are called "{name}"' for name in names if header.count(name) > 1]
    known = ", ".join(header[:30]) or "none"
    problems += [f'{where}: there is no column "{name}"; there are: {known}' for name in names if name not in header]
    if problems:
        raise InputError(problems)
    return {name: header.index(name) for name in names}


def _take(
    row: Sequence[str],
    width: int,
    columns: Mapping[str, int],
    form: Form,
    samples: Mapping[str, dict[float, float]],
    where: str,
) -> Iterator[str]:
    """Take in a line; what is wrong with it."""
    if len(row) != width:
        yield f"{where}: {len(row)} cells, where the header has {width}"
        return
    text = row[columns[form.time_column]].strip()
    try:
        moment = datetime.fromisoformat(text)
        time = (moment if moment.tzinfo else moment.replace(tzinfo=form.zone)).timestamp()
    except (ValueError, OverflowError):
        yield f'{where}: "{text[:40]}" is no time; write ISO 8601, such as 2024-03-01T06:00Z'
        return
    for name, cell in _cells(row, columns, form, samples):
        if cell in _MISSING:
            continue
        try:
            value = float(cell)
        except ValueError:
            yield f'{where}: "{cell[:40]}" is no number'
            continue
        before = samples[name].setdefault(time, value)
        if before != value and not (before != before and value != value):
            yield f"{where}: {name} is {value:g} and {before:g} at {text}"


def _cells(
    row: Sequence[str], columns: Mapping[str, int], form: Form, samples: Mapping[str, object]
) -> Iterator[tuple[str, str]]:
    if form.name_column is None or form.value_column is None:
        yield from ((name, row[columns[name]].strip()) for name in samples)
    elif (name := row[columns[form.name_column]].strip()) in samples:
        yield name, row[columns[form.value_column]].strip()


def _series(samples: Mapping[float, float]) -> Series:
    times = np.array(sorted(samples), dtype=np.float64)
    return Series(times, np.array([samples[time] for time in times.tolist()], dtype=np.float64))

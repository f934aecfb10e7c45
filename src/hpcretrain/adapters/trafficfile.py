"""Traffic in a CSV file or on standard input: columns `timestamp` and `value`; other columns are not read.

Rows may come in any order. An empty value, or no row at all, is a gap and never zero traffic. A time without an offset
is local in a given time zone; in the hour that clocks repeat, the first of two rows is the earlier one.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from hpcretrain.adapters.inputfile import called, text_of
from hpcretrain.errors import InputError
from hpcretrain.stats.traffic import HOUR_S, Series

_SHORTEST_S = 900
"""Finer rows are averaged into slots of about this length: windows need no finer ones."""

_JITTER = 0.1
"""Rows may be off by this share of the time between two rows."""

_MOST = 1e15
"""Sums of larger values overflow."""

_RUN = 12
"""So many equal distances in a row, longer than the usual one, are no gaps but another resolution."""

_MOST_TOLD = 5


@dataclass(frozen=True)
class Traffic:
    """Rows as they were read, in order of time.

    Attributes:
        path: Where from.
        times_s: Seconds since 1970 in UTC, shape (rows,); no time occurs twice.
        values: Shape (rows,); NaN where the cell is empty.
        lines: Lines of the file, shape (rows,).
    """

    path: Path
    times_s: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    lines: npt.NDArray[np.int64]

    def series(self, until_s: int | None = None) -> Series:
        """The rows before a time (all without one), in slots of equal length that are over by then.

        Where fewer than two rows come before, all rows tell how long a slot is.

        Raises:
            InputError: There are fewer than two in all, they are more than an hour apart, or of more than one
                resolution.
        """
        count = len(self.times_s) if until_s is None else int(np.searchsorted(self.times_s, until_s))
        times, lines = self.times_s[:count], self.lines[:count]
        if count < 2 and until_s is not None:
            return self.series().before(until_s)
        if count < 2:
            rows = "1 row" if count else "no rows"
            raise InputError(f"{self.path}: {rows}; at least two are needed to see how far rows are apart")
        step = self._step(times)
        positions = np.rint((times - times[0]) / step).astype(np.int64)
        off = np.abs(times - times[0] - positions * step) > _JITTER * step
        off[1:] |= np.diff(positions) == 0
        if off.any():
            what = f"is no multiple of {_length(step)} after the first row, as others are; give rows of one resolution"
            raise InputError(self._at(lines[off], what))
        self._check_runs(np.diff(positions), lines, step)
        slot = _slot_s(step)
        first = int(times[0])
        # Averaged slots begin at whole multiples; others where the first row does.
        shift = first % slot if slot > step else 0
        known = np.isfinite(self.values[:count])
        places = (positions[known] * step + shift) // slot
        size = int((positions[-1] * step + shift) // slot) + 1
        counts = np.bincount(places, minlength=size)
        with np.errstate(invalid="ignore"):
            values = np.bincount(places, weights=self.values[:count][known], minlength=size) / counts
        values[2 * counts * step < slot] = np.nan
        series = Series(first - shift, slot, values)
        return series if until_s is None else series.before(until_s)

    def _step(self, times: npt.NDArray[np.int64]) -> int:
        distances = Counter(np.diff(times).tolist())
        step = max(distances, key=lambda each: (distances[each], -each))
        if step > HOUR_S:
            raise InputError(
                f"{self.path}: rows are {_length(step)} apart; to find windows of hours they must be an hour apart "
                "at most"
            )
        if HOUR_S % step:
            raise InputError(f"{self.path}: rows are {_length(step)} apart, which does not divide an hour")
        return int(step)

    def _check_runs(self, steps: npt.NDArray[np.int64], lines: npt.NDArray[np.int64], step: int) -> None:
        run, last = 0, 1
        for place, distance in enumerate(steps.tolist()):
            run = run + 1 if distance == last and distance > 1 else 1
            last = distance
            if run == _RUN and distance > 1:
                raise InputError(
                    f"{self.path}: line {lines[place]}: rows are {_length(distance * step)} apart here and "
                    f"{_length(step)} elsewhere; give rows of one resolution, and none where nothing was measured"
                )

    def _at(self, lines: npt.NDArray[np.int64], what: str) -> list[str]:
        return _first([f"{self.path}: line {line}: {what}" for line in sorted(lines.tolist())])


def read_traffic(path: Path, zone: ZoneInfo) -> Traffic:
    """Read a file, or standard input for `-`.

    Args:
        path: The file.
        zone: Of times without an offset.

    Raises:
        InputError: It cannot be read, lacks a column, or has rows that cannot be used; names the lines.
    """
    try:
        with text_of(path) as file:
            return _read(file, Path(called(path)), zone)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{called(path)}: cannot be read as CSV: {error}") from error


def _read(file: TextIO, path: Path, zone: ZoneInfo) -> Traffic:
    rows: dict[int, tuple[float, int]] = {}
    problems: list[str] = []
    for line, stamp, text in _cells(file, path):
        try:
            value = _value(text)
            time = _time(stamp, zone, rows)
            if (held := rows.get(time)) is not None and not _same(held[0], value):
                raise ValueError(f"{stamp} is there with another value in line {held[1]}")
            rows.setdefault(time, (value, line))
        except ValueError as error:
            problems.append(f"{path}: line {line}: {error}")
    if problems:
        raise InputError(_first(problems))
    if not rows:
        raise InputError(f"{path}: no row below the header")
    times = sorted(rows)
    return Traffic(
        path=path,
        times_s=np.array(times, dtype=np.int64),
        values=np.array([rows[time][0] for time in times]),
        lines=np.array([rows[time][1] for time in times], dtype=np.int64),
    )


def _cells(file: TextIO, path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, time and value of each row that is not empty."""
    reader = csv.reader(file)
    header = [name.strip() for name in next(reader, [])]
    missing = [name for name in ("timestamp", "value") if header.count(name) != 1]
    if missing:
        raise InputError(
            f"{path}: the first line must name one column {' and one column '.join(missing)}; "
            f"it has: {', '.join(header) or 'nothing'}"
        )
    stamp, value = header.index("timestamp"), header.index("value")
    for row in reader:
        if any(cell.strip() for cell in row):
            if any(cell.strip() for cell in row[len(header) :]):
                what = f"{len(row)} cells, where the header has {len(header)}; write numbers with a point, or in quotes"
                raise InputError(f"{path}: line {reader.line_num}: {what}")
            padded = [*row, *[""] * (len(header) - len(row))]
            yield reader.line_num, padded[stamp].strip(), padded[value].strip()


def _value(text: str) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f'value "{text}" is no number; leave it empty where nothing was measured') from None
    if not math.isfinite(value):
        raise ValueError(f'value "{text}" is not finite; leave it empty where nothing was measured')
    if value < 0:
        raise ValueError(f"value {text} is negative; traffic cannot be")
    if value > _MOST:
        raise ValueError(f"value {text} is above {_MOST:g}; give another unit")
    return value


def _time(text: str, zone: ZoneInfo, rows: dict[int, tuple[float, int]]) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f'timestamp "{text}" is no time; write ISO 8601, such as 2026-05-01 13:30:00') from None
    if moment.tzinfo is not None:
        return _seconds(moment)
    local = moment.replace(tzinfo=zone)
    if local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise ValueError(f"{text} does not exist in {zone.key}, where clocks skip it; write times with their offset")
    early, late = _seconds(local), _seconds(local.replace(fold=1))
    return late if early in rows else early


def _seconds(moment: datetime) -> int:
    try:
        return round(moment.timestamp())
    except (OverflowError, ValueError):
        raise ValueError(f"{moment} is too far away") from None


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _slot_s(step: int) -> int:
    """The least multiple of a step that is long enough and divides an hour."""
    return next(
        slot for slot in range(step, HOUR_S + 1, step) if slot >= min(_SHORTEST_S, HOUR_S) and HOUR_S % slot == 0
    )


def _first(problems: Sequence[str]) -> list[str]:
    more = len(problems) - _MOST_TOLD
    return [*problems[:_MOST_TOLD], *([f"... and {more} more of this kind"] if more > 0 else [])]


def _length(seconds: int) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds} s"


def _told(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def past_traffic(path: Path | None, zone: ZoneInfo) -> Series | None:
    """All that a file tells; None where no file is named.

    Raises:
        InputError: As for `read_traffic`.
    """
    return None if path is None else read_traffic(path, zone).series(None)

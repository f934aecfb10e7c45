"""What traffic is to be expected, from past days that are like the one at hand.

Two days are alike where their weekdays have been, and where the last hours before the moment at hand were. How much
each of the two counts is not set: each combination foretells every past day from the others, and counts by how well
it did.
Levels are relative to the mean, so traffic in other units gives the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import product
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

HOUR_S, DAY_S = 3_600, 86_400
WEEK = 7

CONTEXT_H = 6
"""Hours before the moment at hand that tell what kind of day it is."""

_LIKENESS = (0.05, 0.1, 0.2, np.inf)
"""Differences of log traffic that count as alike; with the last, all do."""

_FLOOR = 0.05
"""Added to relative traffic before logs are taken, so that few events at night do not look like a great change."""

_SOFT = 0.1
"""A combination whose error is greater by this share counts less by a factor e."""

_LOW = 0.25
"""The share of windows, those of least traffic, by which combinations are judged: no other will be chosen."""

_QUANTILES = (0.2, 0.4, 0.6, 0.8)
"""Their mean is what is expected: nearly as exact as a mean, and one odd day in six moves it little."""

_HIGH = 0.9

_ODD = 3
"""Combinations are judged as if no day had more than so many times the typical traffic."""

_OFFSETS_S = 900
"""Clocks change at quarters of an hour."""


@dataclass(frozen=True)
class Series:
    """Traffic in slots of equal length, in real time.

    Attributes:
        first_s: When the first slot begins, in seconds since 1970 in UTC.
        slot_s: Length of a slot.
        values: Traffic of each slot, in any unit, shape (slots,); NaN where it was not measured.
    """

    first_s: int
    slot_s: int
    values: FloatArray

    @property
    def end_s(self) -> int:
        """When the last slot ends."""
        return self.first_s + len(self.values) * self.slot_s

    @property
    def starts_s(self) -> IntArray:
        """When each slot begins, shape (slots,)."""
        return self.first_s + np.arange(len(self.values), dtype=np.int64) * self.slot_s

    def before(self, now_s: int) -> Series:
        """The slots that are over by then."""
        return Series(self.first_s, self.slot_s, self.values[: max((now_s - self.first_s) // self.slot_s, 0)])


@dataclass(frozen=True)
class Clock:
    """Local clock time, in cells of a day as long as a slot. `first_day` is the ordinal of day 0."""

    zone: ZoneInfo
    slot_s: int
    first_day: int = 0

    @property
    def cells(self) -> int:
        """Cells of a day."""
        return DAY_S // self.slot_s

    def places(self, times_s: IntArray) -> IntArray:
        """Cells since the beginning of day 0, of any shape; where clocks are set back, two times have one place."""
        local = times_s + self._offsets(times_s)
        return (local // DAY_S - self._epoch_day) * self.cells + local % DAY_S // self.slot_s

    def day(self, time_s: int) -> int:
        """The day of a time."""
        return int(self.places(np.array([time_s]))[0]) // self.cells

    def kinds(self, days: int, like_sunday: frozenset[int]) -> IntArray:
        """The weekday of each of the first `days` days, 0 for Monday; days of these ordinals are taken for Sundays."""
        ordinals = self.first_day + np.arange(days)
        return np.where(np.isin(ordinals, sorted(like_sunday)), WEEK - 1, (ordinals - 1) % WEEK)

    @property
    def _epoch_day(self) -> int:
        return self.first_day - datetime(1970, 1, 1).toordinal()

    def _offsets(self, times_s: IntArray) -> IntArray:
        dates, where = np.unique(times_s // DAY_S, return_inverse=True)
        begins, ends = (
            np.array([_offset_s(int(each) * DAY_S + at, self.zone) for each in dates], dtype=np.int64)
            for at in (0, DAY_S - 1)
        )
        offsets = begins[where].reshape(times_s.shape)
        # Only on days when clocks change is each quarter of an hour asked for.
        changing = (begins != ends)[where].reshape(times_s.shape)
        if changing.any():
            blocks, where = np.unique(times_s[changing] // _OFFSETS_S, return_inverse=True)
            told = [_offset_s(int(block) * _OFFSETS_S, self.zone) for block in blocks]
            offsets[changing] = np.array(told, dtype=np.int64)[where]
        return offsets


def _offset_s(time_s: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(time_s, UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(seconds=1)


@dataclass(frozen=True)
class Days:
    """Past traffic by local day and clock.

    Attributes:
        clock: Of these days.
        level: Mean traffic of a typical day, the median of all; positive.
        table: Traffic over `level`, shape (days, cells); NaN where there is none.
        phase_s: A time at which some slot begins.
        like_sunday: Ordinals of days that are taken for Sundays.
    """

    clock: Clock
    level: float
    table: FloatArray
    phase_s: int = 0
    like_sunday: frozenset[int] = frozenset()

    @classmethod
    def of(cls, series: Series, zone: ZoneInfo, most_days: int, like_sunday: frozenset[int] = frozenset()) -> Days:
        """The newest days of a series in which something was measured, and that is not all zero."""
        last = Clock(zone, series.slot_s).day(series.end_s - 1)
        clock = Clock(zone, series.slot_s, last - most_days + 1)
        places = clock.places(series.starts_s)
        known = np.isfinite(series.values) & (places >= 0)
        # Only days that are there, so that a short history is no large table.
        begin = int(places[known].min()) // clock.cells
        clock = Clock(zone, series.slot_s, clock.first_day + begin)
        places, values = places[known] - begin * clock.cells, series.values[known]
        size = (int(places.max()) // clock.cells + 1) * clock.cells
        counts = np.bincount(places, minlength=size)
        with np.errstate(invalid="ignore"):
            table: FloatArray = np.bincount(places, weights=values, minlength=size) / counts
        table = table.reshape(-1, clock.cells)
        level = _typical(table)
        return cls(clock, level, table / level, series.first_s, like_sunday)

    @cached_property
    def seen(self) -> IntArray:
        """How often each hour of the week was measured, shape (7, 24)."""
        known = np.isfinite(self.table).reshape(len(self.table), 24, -1)
        hours = np.logical_or.reduce(known, axis=2)
        kinds = self.clock.kinds(len(self.table), frozenset())
        return np.stack([hours[kinds == kind].sum(axis=0) for kind in range(WEEK)])

    @property
    def typical(self) -> float:
        """Mean traffic of a typical one of these days, over the level; 1 but for a part of them."""
        return _typical(self.table)

    def until(self, day: int) -> Days:
        """The days before one."""
        return replace(self, table=self.table[:day])

    def at(self, places: IntArray) -> FloatArray:
        """Traffic over the level at places of any shape; NaN where there is none."""
        inside = (places >= 0) & (places < self.table.size)
        return np.where(inside, self.table.ravel()[np.where(inside, places, 0)], np.nan)


def _typical(table: FloatArray) -> float:
    """The median of the means of days that were measured for the most part: no burst makes all else look low."""
    known = np.isfinite(table)
    whole = table[2 * known.sum(axis=1) > table.shape[1]]
    median = float(np.median(np.nanmean(whole, axis=1))) if len(whole) else 0.0
    return median if median > 0 else float(np.nanmean(table))


@dataclass(frozen=True)
class Expected:
    """Traffic to be expected in windows, over the level of as long a time; both of shape (windows,).

    Attributes:
        share: Mean of the quantiles; NaN where no past day tells.
        high: What nine of ten such days did not exceed.
    """

    share: FloatArray
    high: FloatArray


def expect(days: Days, now_s: int, windows: IntArray) -> Expected:
    """Expected traffic in windows of one local day, by the days before.

    Args:
        days: Past days, none of their slots later than `now_s`.
        now_s: The moment at hand.
        windows: When the slots of each window begin, in seconds since 1970, shape (windows, slots); all windows begin
            on the same local day, now or later.
    """
    clock = days.clock
    targets = clock.places(windows)
    day, today = int(targets.min()) // clock.cells, clock.day(now_s)
    # So many days before, the whole of the day at hand was in the past.
    shifts = np.arange(day - today + 1, day + 1)
    sums = days.at(targets - shifts[:, None, None] * clock.cells).mean(axis=2)
    some = np.isfinite(sums).any(axis=1)
    shifts, sums = shifts[some], sums[some]
    if not len(shifts):
        nothing = np.full(len(windows), np.nan)
        return Expected(nothing, nothing)
    kinds = clock.kinds(day + 1, days.like_sunday)
    moods = _contexts(days, now_s, np.concatenate([[0], shifts]))
    weights = _weights(sums, kinds[day - shifts], int(kinds[day]), moods)
    quantiles = np.stack([_quantile(sums, weights, level) for level in _QUANTILES])
    return Expected(share=quantiles.mean(axis=0), high=_quantile(sums, weights, _HIGH))


def _contexts(days: Days, now_s: int, shifts: IntArray) -> FloatArray:
    """Log traffic of each of the last hours, so many days before, shape (shifts, hours)."""
    slot_s, clock = days.clock.slot_s, days.clock
    slots = CONTEXT_H * HOUR_S // slot_s
    places = clock.places(now_s - slot_s * np.arange(slots, 0, -1))
    past = days.at(places - shifts[:, None] * clock.cells).reshape(len(shifts), CONTEXT_H, -1)
    return np.asarray(np.log(past.mean(axis=2) + _FLOOR))


def _weights(sums: FloatArray, kinds: IntArray, kind: int, moods: FloatArray) -> FloatArray:
    """What each past day counts, shape (days,).

    A weighted mean over days (Nadaraya-Watson) whose bandwidths are mixed by their errors when each day is left out.

    Args:
        sums: Traffic in the windows on past days, shape (days, windows).
        kinds: Weekdays of these days; `kind` is that of the day at hand.
        moods: Log traffic of the hours before, shape (1 + days, hours); the first is that of the moment at hand.
    """
    sums = sums[:, np.isfinite(sums).any(axis=0)]
    typical = _median(sums)
    lowest = typical <= np.quantile(typical, _LOW)
    low = np.minimum(sums[:, lowest], _ODD * np.maximum(typical[lowest], _FLOOR))
    by_mood = _distances(moods)
    by_kind = _between_kinds(low, kinds)
    known = np.isfinite(low)
    filled = np.where(known, low, 0.0)
    scale = np.maximum(np.nanmean(low, axis=0), _FLOOR)
    others = 1.0 - np.eye(len(sums))
    moods_near = [(_kernel(by_mood[1:, 1:], at, others), _kernel(by_mood[0, 1:], at)) for at in _LIKENESS]
    kinds_near = [(_kernel(by_kind[kinds][:, kinds], at), _kernel(by_kind[kind, kinds], at)) for at in _LIKENESS]
    errors, weights = [], []
    for (mood, mood_now), (day, day_now) in product(moods_near, kinds_near):
        near = mood * day * others
        total = near @ known
        missed = known & (total > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            error = (near @ filled / total - filled) / scale
        errors.append(float(np.mean(error[missed] ** 2)) if missed.any() else np.inf)
        own = mood_now * day_now
        weights.append(own / own.sum())
    if not np.isfinite(errors).any():
        return np.ones(len(sums)) / len(sums)
    least = max(min(errors), np.finfo(float).tiny)
    counts = np.exp(-(np.array(errors) / least - 1) / _SOFT)
    return np.asarray(counts @ np.array(weights) / counts.sum())


def _kernel(distances: FloatArray, width: float, allowed: FloatArray | float = 1.0) -> FloatArray:
    """How much days at these distances count, the nearest that is allowed in full; of the shape of `distances`."""
    if width == np.inf:
        return np.ones_like(distances)
    nearest = np.where(np.asarray(allowed) > 0, distances, np.inf).min(axis=-1, keepdims=True)
    near = np.where(np.isfinite(nearest), distances - nearest, 0.0)
    return np.asarray(np.exp(-np.maximum(near, 0.0) / (2 * width * width)))


def _distances(moods: FloatArray) -> FloatArray:
    """Mean squared differences over the hours that both have; where they have none in common, that of the farthest."""
    known = np.isfinite(moods)
    filled = np.where(known, moods, 0.0)
    both = known.astype(float) @ known.T
    squares = (filled**2) @ known.T
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.maximum(squares + squares.T - 2 * filled @ filled.T, 0.0) / both
    farthest = float(found[both > 0].max(initial=0.0))
    return np.where(both > 0, found, farthest)


def _between_kinds(low: FloatArray, kinds: IntArray) -> FloatArray:
    """How far the typical traffic of weekdays is apart, shape (7, 7); a weekday without a past is as all days."""
    logs = np.log(low + _FLOOR)
    profiles = np.tile(_median(logs), (WEEK, 1))
    for kind in np.unique(kinds):
        own = _median(logs[kinds == kind])
        profiles[kind] = np.where(np.isfinite(own), own, profiles[kind])
    return np.asarray(np.mean((profiles[:, None] - profiles[None]) ** 2, axis=2))


def _median(values: FloatArray) -> FloatArray:
    """The median of what is known of each column, NaN where nothing is; numpy's own takes ten times as long."""
    counts = np.isfinite(values).sum(axis=0)
    ordered = np.sort(values, axis=0)  # NaN comes last
    columns = np.arange(values.shape[1])
    return np.asarray((ordered[np.maximum(counts - 1, 0) // 2, columns] + ordered[counts // 2, columns]) / 2)


def _quantile(values: FloatArray, weights: FloatArray, level: float) -> FloatArray:
    """A weighted quantile of each column, of the rows that are known there; NaN where none is."""
    order = np.argsort(values, axis=0)  # NaN comes last
    ordered = np.take_along_axis(values, order, axis=0)
    mass = np.cumsum(np.where(np.isfinite(ordered), weights[order], 0.0), axis=0)
    place = np.argmax(mass >= level * mass[-1] - 1e-12, axis=0)
    found = np.take_along_axis(ordered, place[None], axis=0)[0]
    return np.where(mass[-1] > 0, found, np.nan)

"""Traffic with habits, for tests."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from hpcretrain.stats.traffic import FloatArray, Series

PLAIN = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 2, 2, tzinfo=UTC)
QUIET_H = 3


def weekly(
    weeks: float,
    zone: ZoneInfo = PLAIN,
    start: datetime = START,
    slot_min: int = 60,
    sundays: tuple[date, ...] = (),
    seed: int = 0,
) -> Series:
    """Least traffic from 02:00 to 05:00 on workdays, and from 05:00 to 08:00 at weekends, by local clocks.

    `sundays` are days on which people behave as on Sundays, from the evening before on.
    """
    slot = timedelta(minutes=slot_min)
    count = int(timedelta(weeks=weeks) / slot)
    times = [(start + place * slot).astimezone(zone) for place in range(count)]
    noise = np.random.default_rng(seed).lognormal(0, 0.05, count)
    values = np.array([_flow(time, sundays) for time in times]) * noise
    return Series(int(start.timestamp()), slot_min * 60, values)


def noise(weeks: float, seed: int = 0) -> Series:
    """Bursts without any habit, by hours."""
    values = np.random.default_rng(seed).lognormal(0, 1, int(weeks * 168))
    return Series(int(START.timestamp()), 3_600, values)


def replaced(series: Series, values: FloatArray) -> Series:
    """The same slots with other traffic."""
    return Series(series.first_s, series.slot_s, values)


def end(series: Series) -> datetime:
    """When the last slot ends."""
    return datetime.fromtimestamp(series.end_s, UTC)


def _flow(time: datetime, sundays: tuple[date, ...]) -> float:
    free = time.weekday() >= 5 or time.date() in sundays
    begin = 5 if free else 2
    if begin <= time.hour < begin + QUIET_H:
        return 10.0
    # Before a free day people stay up.
    tomorrow = time.date() + timedelta(days=1)
    late = time.hour >= 20 and (tomorrow.weekday() >= 5 or tomorrow in sundays)
    awake = free and time.hour < begin
    return 90.0 if late or awake else 60.0 if time.hour >= 20 else 40.0

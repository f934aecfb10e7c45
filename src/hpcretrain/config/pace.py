"""Guess how a history is to be replayed: the reference, the batches and the periods of the report. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
from dateutil.relativedelta import relativedelta

from hpcretrain.config.guess import Guess
from hpcretrain.config.types import parse_duration
from hpcretrain.errors import InputError

MIN_BATCHES = 12
"""Fewest batches that are worth replaying."""

_USUAL = ("7d", "14d", "28d")
_SHORTER = ("1d", "12h", "6h", "3h", "1h")
_SHARE, _LARGE_SHARE, _LARGEST_SHARE = 0.2, 1 / 3, 0.5
_ENOUGH_ROWS, _ENOUGH_RARER, _ENOUGH_BATCHES = 3_000, 200, 4
_SMALLER, _LARGER = 0.75, 1.5
_MONTH = timedelta(days=30.4)
_PERIODS = (1, 3, 6, 12)
_PERIOD_ROWS, _FEWEST_PERIODS = 300, 4
_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Times:
    """When rows are: `stamps`, nanoseconds since 1970 in UTC, increasing, of those that were read, out of `rows`."""

    stamps: npt.NDArray[np.int64]
    rows: int

    def at(self, share: float) -> datetime:
        """The time before which that share of rows lies."""
        return _moment(int(self.stamps[round(share * (len(self.stamps) - 1))]))

    def before(self, moment: datetime) -> int:
        """About how many rows are before a time."""
        stamp = round(moment.timestamp() * 10**6) * 1_000
        return round(self.rows * int(np.searchsorted(self.stamps, stamp)) / len(self.stamps))

    @property
    def per_day(self) -> float:
        """Rows a day in the long run, whatever lies far out."""
        inner = self.at(0.99) - self.at(0.01)
        return 0.98 * self.rows / max(inner / _DAY, 1e-9)


@dataclass(frozen=True)
class Pace:
    """The guesses, and the end of the reference as a time."""

    observe_every: Guess
    report_every: Guess
    reference_until: Guess
    label_delay: Guess
    until: datetime


def guess_pace(times: Times, zone: str, min_rows: int, rarer_share: float) -> Pace:
    """Batches, periods and reference.

    Args:
        times: When the rows are.
        zone: Time zone in which days and months begin.
        min_rows: Rows that a measurement of the policy needs.
        rarer_share: Share of the rarer class; 1 for a regression.

    Raises:
        InputError: There are too few rows, or they span too little time.
    """
    if times.rows < 2 * min_rows:
        raise InputError(
            f"the table has {times.rows:,} rows; a backtest needs at least {2 * min_rows:,}: {min_rows} for a "
            f"reference and {min_rows} for one measurement after it (score.min_rows of the policy)"
        )
    batch, span = _batch(times, min_rows), times.at(1.0) - times.at(0.0)
    length = parse_duration(batch)
    until, why = _until(times, zone, length, min_rows, rarer_share)
    replayed = times.at(1.0) - until
    report = _report(times, replayed, length)
    if report.endswith("mo"):
        until = _month_start(times, until, zone, length, min_rows)
    if times.at(1.0) - until < length:
        raise InputError(
            f"the rows span {_span(span)} only, from {times.at(0.0):%Y-%m-%d %H:%M} to {times.at(1.0):%Y-%m-%d %H:%M}; "
            "that is too short to replay: give more history"
        )
    known = times.before(until)
    per_batch = times.per_day * (length / _DAY)
    count = (times.at(1.0) - until) // length
    return Pace(
        observe_every=Guess(batch, _batch_why(per_batch, count, min_rows)),
        report_every=Guess(report, _report_why(times, times.at(1.0) - until, report)),
        reference_until=Guess(
            _written(until, zone, length), f"{known:,} rows ({100 * known / times.rows:.0f} %) come before it{why}"
        ),
        label_delay=Guess(
            "1d" if length >= _DAY else batch,
            "CANNOT BE GUESSED, and matters most: too short, and labels are learned from before anyone had them",
        ),
        until=until.astimezone(UTC),
    )


def _batch(times: Times, min_rows: int) -> str:
    """A week, or as many as hold enough rows; less where too few batches would remain."""
    span = times.at(1.0) - times.at(0.0)
    fitting = [unit for unit in _USUAL if times.per_day * (parse_duration(unit) / _DAY) >= min_rows]
    first = _USUAL.index(fitting[0]) if fitting else len(_USUAL) - 1
    for unit in (*reversed(_USUAL[: first + 1]), *_SHORTER):
        if span * (1 - _SHARE) >= parse_duration(unit) * MIN_BATCHES:
            return unit
    return _SHORTER[-1]


def _batch_why(per_batch: float, count: int, min_rows: int) -> str:
    why = f"about {per_batch:,.0f} rows a batch, {count} batches to replay"
    if per_batch < min_rows:
        why += f"; batches are taken together until they hold the {min_rows} rows that a measurement needs"
    return why


def _until(times: Times, zone: str, length: timedelta, min_rows: int, rarer_share: float) -> tuple[datetime, str]:
    """The end of the reference on a round time, and what else made it so late."""
    wanted = max(_SHARE * times.rows, min(_ENOUGH_ROWS, _LARGE_SHARE * times.rows))
    why = ""
    if (enough := _ENOUGH_RARER / max(rarer_share, 1e-9)) > wanted:
        wanted, why = enough, f", so that about {_ENOUGH_RARER} labels of the rarer class do"
    if wanted > _LARGEST_SHARE * times.rows:
        wanted, why = _LARGEST_SHARE * times.rows, "; labels of the rarer class are few, so it is half of the table"
    # One more, as a share of the rows is rounded.
    until = times.at(max(wanted, min_rows + 1) / times.rows)
    if (four := times.at(0.0) + length * _ENOUGH_BATCHES) > until and times.before(four) <= _LARGE_SHARE * times.rows:
        until, why = four, ", four batches, from which the data gate learns what is usual"
    return _rounded_up(until, zone, length), why


def _rounded_up(moment: datetime, zone: str, length: timedelta) -> datetime:
    local = moment.astimezone(ZoneInfo(zone))
    if length >= _DAY:
        start = local.replace(hour=0, minute=0, second=0, microsecond=0)
        return start if start == local else start + relativedelta(days=1)
    start = local.replace(minute=0, second=0, microsecond=0)
    # Wall-clock arithmetic would go wrong in the hour in which clocks change.
    return start if start == local else (start.astimezone(UTC) + timedelta(hours=1)).astimezone(ZoneInfo(zone))


def _month_start(times: Times, until: datetime, zone: str, length: timedelta, min_rows: int) -> datetime:
    """The nearest first day of a month, where reference and batches remain about as many, and enough."""
    start = until.astimezone(ZoneInfo(zone)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    wanted = times.before(until)
    latest = times.at(1.0) - length * (MIN_BATCHES // 2)
    known = {each: times.before(each) for each in (start, start + relativedelta(months=1)) if each <= latest}
    fitting = [each for each in known if max(_SMALLER * wanted, min_rows) <= known[each] <= _LARGER * wanted]
    return min(fitting, key=lambda each: abs(known[each] - wanted), default=until)


def _report(times: Times, replayed: timedelta, length: timedelta) -> str:
    months = replayed / _MONTH
    if months >= 1.5:
        usual = 12 if months >= 120 else 3 if months > 36 else 1
        fitting = [unit for unit in _PERIODS if unit == usual or (unit > usual and months >= _FEWEST_PERIODS * unit)]
        large = [unit for unit in fitting if _per_period(times, unit) >= _PERIOD_ROWS]
        return f"{(large or fitting[-1:])[0]}mo"
    for unit in ("7d", "1d"):
        if parse_duration(unit) >= length and replayed >= 2 * parse_duration(unit):
            return unit
    return _unit(length)


def _report_why(times: Times, replayed: timedelta, report: str) -> str:
    why = f"so that the {_span(replayed)} to be replayed make a readable table"
    if not report.endswith("mo"):
        return why
    rows = _per_period(times, int(report.removesuffix("mo")))
    few = "; so few that chance moves the numbers of a period" if rows < _PERIOD_ROWS else ""
    return f"{why}, about {rows:,.0f} rows a period{few}"


def _per_period(times: Times, months: int) -> float:
    return times.per_day * months * (_MONTH / _DAY)


def _unit(length: timedelta) -> str:
    days, rest = divmod(length, _DAY)
    return f"{rest // timedelta(hours=1)}h" if rest else f"{days}d"


def _written(until: datetime, zone: str, length: timedelta) -> str:
    local = until.astimezone(ZoneInfo(zone))
    if local.hour == local.minute == 0:
        return f"{local:%Y-%m-%d}"
    # An hour that occurs twice is told apart by its offset.
    return local.isoformat(timespec="minutes") if length < _DAY else f"{local:%Y-%m-%dT%H:%M}"


def _span(length: timedelta) -> str:
    if length >= 2 * _MONTH:
        return f"{length / _MONTH:.0f} months"
    if length >= 2 * _DAY:
        return f"{length / _DAY:.0f} days"
    return f"{length / timedelta(hours=1):.1f} hours"


def _moment(stamp: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + _MICROSECOND * (stamp // 1_000)

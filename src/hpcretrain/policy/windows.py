"""In which windows traffic will be low, and whether one is open now. Pure: history, rules and `now` are given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import numpy as np

from hpcretrain.policy.types import Blackout, Windows
from hpcretrain.records import Finding, Outcome
from hpcretrain.stats.traffic import DAY_S, HOUR_S, WEEK, Days, Expected, FloatArray, IntArray, Series, expect

_TRIED_DAYS, _FEWEST_TRIED = 28, 7
_LEAST_PAST_DAYS = 14
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class LowTraffic:
    """A window in which traffic is expected to be low.

    Attributes:
        start, end: In UTC.
        expected_share: Traffic to be expected in it, over the mean traffic of as long a time.
        high_share: What it stays below on nine of ten such days.
    """

    start: datetime
    end: datetime
    expected_share: float
    high_share: float


@dataclass(frozen=True)
class Plan:
    """What history says.

    Attributes:
        windows: In order, apart from one another; none unless every finding passes.
        findings: What was checked.
        insufficient_history: Why history tells nothing; None if it does.
    """

    windows: tuple[LowTraffic, ...]
    findings: tuple[Finding, ...]
    insufficient_history: str | None = None


def plan(series: Series, now: datetime, hours: float, rules: Windows) -> Plan:
    """The windows of the next days, at most one a day.

    Args:
        series: Past traffic; what is later than `now` is not looked at.
        now: Aware.
        hours: Length of a window: more than 0, at most 24, and whole seconds.
        rules: Of the policy.

    Raises:
        ValueError: `hours` is not such a number.
    """
    if not (0 < hours <= 24 and float(hours * HOUR_S).is_integer()):
        raise ValueError(f"{hours:g} is no length of a window in hours: more than 0, at most 24, in whole seconds")
    now_s = math.floor(now.timestamp())
    days = past_days(series, now, rules)
    long_enough = _history(series.before(now_s), days, now_s, rules)
    if days is None or long_enough.outcome is not Outcome.PASS:
        return Plan((), (long_enough,), long_enough.reason)
    foretold = _foretold(days, now_s, hours, rules)
    if foretold.outcome is not Outcome.PASS:
        return Plan((), (long_enough, foretold), foretold.reason)
    windows: list[LowTraffic] = []
    for ahead in range(rules.horizon_days):
        after = windows[-1].end if windows else now
        window = quietest(days, now, hours, rules, ahead=ahead, not_before=after)
        if window is not None and window.expected_share <= rules.most_share:
            windows.append(window)
    return Plan(tuple(windows), (long_enough, foretold, _named(windows, hours, rules)))


def past_days(series: Series, now: datetime, rules: Windows) -> Days | None:
    """What is learned from: the newest weeks before `now`; None if there was no traffic."""
    past = series.before(math.floor(now.timestamp()))
    if not np.nansum(past.values) > 0:
        return None
    holidays = frozenset(day.toordinal() for day in rules.public_holidays)
    return Days.of(past, rules.zone, rules.most_weeks * WEEK, holidays)


def quietest(
    days: Days, now: datetime, hours: float, rules: Windows, *, ahead: int = 0, not_before: datetime | None = None
) -> LowTraffic | None:
    """The window of least expected traffic that begins on a local day; None if none can.

    Args:
        days: Past traffic, none later than `now`.
        now: The moment at hand.
        hours: Length of the window.
        rules: Of the policy.
        ahead: Which day: 0 is that of `now`.
        not_before: No window begins earlier; at the earliest `now`.
    """
    now_s = math.floor(now.timestamp())
    earliest = max(now_s, math.ceil((not_before or now).timestamp()))
    day = date.fromordinal(days.clock.first_day + days.clock.day(now_s) + ahead)
    length = round(hours * HOUR_S)
    starts = _starts(days, day, earliest, rules)
    starts = starts[_free(starts, length, rules)]
    if not len(starts):
        return None
    slot_s = days.clock.slot_s
    slots = (starts - days.phase_s) // slot_s * slot_s + days.phase_s
    windows = slots[:, None] + slot_s * np.arange(math.ceil(length / slot_s))
    found = expect(days, now_s, windows)
    if not np.isfinite(found.share).any():
        return None
    # Rounded, so that ties go to the earliest whatever the unit of traffic.
    best = int(np.nanargmin(np.round(found.share, 9)))
    return _window(int(starts[best]), length, found, best)


def open_now(plan: Plan, now: datetime, needed_h: float, rules: Windows) -> Finding:
    """Whether a training may begin: in a window, with the hours left in it that the training needs.

    WAIT names the next window with room; INSUFFICIENT says that there is none, or, where the policy waits without
    history, that there is no history.
    """
    check = "window"
    if plan.insufficient_history is not None:
        run = rules.without_history == "run"
        reason = f"{plan.insufficient_history}; the policy {'runs' if run else 'waits'} without history"
        return Finding(
            check=check, outcome=Outcome.PASS if run else Outcome.INSUFFICIENT, reason=reason, limit=needed_h
        )
    room = timedelta(hours=needed_h)
    for window in plan.windows:
        begin = max(now, window.start)
        if begin + room > window.end:
            continue
        left = (window.end - begin) / timedelta(hours=1)
        span = f"from {window.start:%Y-%m-%dT%H:%MZ} to {window.end:%Y-%m-%dT%H:%MZ}"
        share = f"expected traffic {window.expected_share:.0%} of the mean"
        if begin == now:
            reason = f"the window {span} is open, {share}"
            return Finding(check=check, outcome=Outcome.PASS, reason=reason, observed=left, limit=needed_h)
        return Finding(
            check=check, outcome=Outcome.WAIT, reason=f"the next window is {span}, {share}", observed=0, limit=needed_h
        )
    longest = max(((window.end - window.start) / timedelta(hours=1) for window in plan.windows), default=0.0)
    reason = f"no window of the next {rules.horizon_days} days has room; name longer windows, or train on fewer rows"
    return Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=reason, observed=longest, limit=needed_h)


def _starts(days: Days, day: date, earliest: int, rules: Windows) -> IntArray:
    """When windows of a local day may begin: with a slot, or at once."""
    begin, end = (_midnight(each, rules) for each in (day, day + timedelta(days=1)))
    begin = max(begin, earliest)
    slot_s = days.clock.slot_s
    first = begin + (days.phase_s - begin) % slot_s
    starts = np.arange(first, end, slot_s, dtype=np.int64)
    at_once = [earliest] if earliest == begin < min(first, end) else []
    return np.concatenate([np.array(at_once, dtype=np.int64), starts])


def _free(starts: IntArray, length: int, rules: Windows) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which windows keep away from blackouts and their buffers."""
    free = np.ones(len(starts), dtype=np.bool_)
    for begin, end in _blacked_out(rules.blackouts, rules):
        free &= (starts + length <= begin) | (starts >= end)
    return free


def _blacked_out(blackouts: Sequence[Blackout], rules: Windows) -> Iterator[tuple[int, int]]:
    buffer = round(rules.blackout_buffer_h * HOUR_S)
    for each in blackouts:
        yield _midnight(each.first, rules) - buffer, _midnight(each.last + timedelta(days=1), rules) + buffer


def _midnight(day: date, rules: Windows) -> int:
    return round(datetime.combine(day, time(), rules.zone).timestamp())


def _window(start_s: int, length: int, found: Expected, place: int) -> LowTraffic:
    start = datetime.fromtimestamp(start_s, UTC)
    return LowTraffic(
        start=start,
        end=start + timedelta(seconds=length),
        expected_share=float(np.round(found.share[place], 4)),
        high_share=float(np.round(found.high[place], 4)),
    )


def _history(past: Series, days: Days | None, now_s: int, rules: Windows) -> Finding:
    """Whether history is long, whole and fresh enough."""
    check, need = "windows:history", rules.least_weeks * WEEK
    if not len(past.values):
        begin = datetime.fromtimestamp(past.first_s, UTC)
        reason = f"no history was over by then: it begins at {begin:%Y-%m-%d %H:%M}Z; plan from a later time"
        return _insufficient(check, reason, 0, need)
    if days is None:
        return _insufficient(check, "there was no traffic, or none was measured; give a history with values", 0, need)
    known = np.flatnonzero(np.isfinite(past.values))
    seen = (known[-1] + 1 - known[0]) * past.slot_s / DAY_S
    if seen < need:
        # Down, so that almost enough is not told as enough.
        told = math.floor(seen * 10) / 10
        reason = (
            f"{told:g} days of history were seen and {need} are needed, to tell a weekday's habit from a single day"
        )
        return _insufficient(check, reason, told, need)
    idle = (now_s - (past.first_s + int(known[-1] + 1) * past.slot_s)) / DAY_S
    if idle > rules.stale_after_days:
        most = rules.stale_after_days
        reason = f"history ends {idle:.1f} days before now, and at most {most} are allowed; add what came since"
        return _insufficient(check, reason, idle, rules.stale_after_days)
    rare = np.argwhere(days.seen < rules.least_seen)
    if len(rare):
        kind, hour = rare[0].tolist()
        fewest = int(days.seen.min())
        reason = (
            f"{len(rare)} of the 168 hours of the week were measured fewer than {rules.least_seen} times, first "
            f"{_WEEKDAYS[kind]} {hour:02}:00; gaps are not taken for zero traffic"
        )
        return _insufficient(check, reason, fewest, rules.least_seen)
    fewest = int(days.seen.min())
    return Finding(
        check=check,
        outcome=Outcome.PASS,
        reason=f"{math.floor(seen)} days of history, each hour of the week measured at least {fewest} times",
        observed=math.floor(seen),
        limit=need,
    )


def _foretold(days: Days, now_s: int, hours: float, rules: Windows) -> Finding:
    """Whether windows that were planned for the last days, from the days before each, were low when the day came."""
    check = "windows:forecast"
    shares = _tried(days, now_s, hours, rules)
    if len(shares) < _FEWEST_TRIED:
        reason = f"windows can be tried on {len(shares)} past days, and {_FEWEST_TRIED} are needed; gaps leave too few"
        return _insufficient(check, reason, len(shares), _FEWEST_TRIED)
    kept = int((shares <= rules.most_share).sum())
    told = (
        f"of windows planned for the last {len(shares)} days {kept} had at most {rules.most_share:.0%} of mean traffic "
        f"when they came, half of all at most {float(np.median(shares)):.0%}"
    )
    observed, limit = round(kept / len(shares), 4), rules.least_kept
    if observed < limit:
        reason = f"{told}; {limit:.0%} of them must, so low traffic cannot be foretold from this history"
        return _insufficient(check, reason, observed, limit)
    return Finding(check=check, outcome=Outcome.PASS, reason=told, observed=observed, limit=limit)


def _tried(days: Days, now_s: int, hours: float, rules: Windows) -> FloatArray:
    """Traffic over the mean in windows as they would have been planned at each midnight, shape (days tried,)."""
    today = days.clock.day(now_s)
    free = rules.model_copy(update={"blackouts": ()})
    shares = []
    for day in range(max(_LEAST_PAST_DAYS, today - _TRIED_DAYS), min(today, len(days.table))):
        midnight = datetime.fromtimestamp(_midnight(date.fromordinal(days.clock.first_day + day), rules), UTC)
        before = days.until(day)
        window = quietest(before, midnight, hours, free)
        if window is None:
            continue
        slot_s = days.clock.slot_s
        count = math.ceil(hours * HOUR_S / slot_s)
        flowed = days.at(days.clock.places(int(window.start.timestamp()) + slot_s * np.arange(count)))
        shares.append(float(flowed.mean()) / before.typical)
    found: FloatArray = np.array(shares, dtype=np.float64)
    return found[np.isfinite(found)]


def _named(windows: Sequence[LowTraffic], hours: float, rules: Windows) -> Finding:
    check = "windows:low"
    told = f"of the next {rules.horizon_days} days {len(windows)} have a window of {hours:g} h"
    low = f"at most {rules.most_share:.0%} of mean traffic"
    if windows:
        highest = max(window.expected_share for window in windows)
        return Finding(
            check=check, outcome=Outcome.PASS, reason=f"{told} with {low}", observed=highest, limit=rules.most_share
        )
    reason = f"{told}: none with {low} that keeps clear of blackouts; ask for shorter windows, or raise most_share"
    return Finding(check=check, outcome=Outcome.FAIL, reason=reason, limit=rules.most_share)


def _insufficient(check: str, reason: str, observed: float, limit: float) -> Finding:
    return Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=reason, observed=observed, limit=limit)

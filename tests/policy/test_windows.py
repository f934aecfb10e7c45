from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from weekly_traffic import BERLIN, PLAIN, QUIET_H, START, end, noise, replaced, weekly

from hpcretrain.policy.types import Blackout, Windows
from hpcretrain.policy.windows import LowTraffic, Plan, open_now, past_days, plan, quietest
from hpcretrain.records import Outcome
from hpcretrain.stats.traffic import Series

RULES = Windows()
IN_BERLIN = Windows(time_zone="Europe/Berlin")
HOUR = timedelta(hours=1)
SIX_WEEKS = weekly(6)
OVER_THE_CHANGE = weekly(7, BERLIN, slot_min=30)
"""To the 23rd of March 2026; clocks change on the 29th."""


def planned(series: Series, now: datetime | None = None, hours: float = QUIET_H, rules: Windows = RULES) -> Plan:
    return plan(series, now or end(series), hours, rules)


def hours_of(found: Plan, zone: ZoneInfo) -> list[int]:
    return [window.start.astimezone(zone).hour for window in found.windows]


def test_windows_lie_where_traffic_was_low_on_that_weekday() -> None:
    found = planned(SIX_WEEKS)
    assert hours_of(found, PLAIN) == [2, 2, 2, 2, 2, 5, 5]
    assert [window.start.date() for window in found.windows] == [date(2026, 3, 16 + day) for day in range(7)]
    assert all(window.end - window.start == 3 * HOUR for window in found.windows)
    assert all(finding.outcome is Outcome.PASS for finding in found.findings)


def test_the_expected_share_is_that_of_mean_traffic_in_as_long_a_time() -> None:
    mean = np.median(SIX_WEEKS.values.reshape(-1, 24).mean(axis=1))
    for window in planned(SIX_WEEKS).windows:
        assert window.expected_share == pytest.approx(10 / mean, rel=0.05)
        assert window.expected_share <= window.high_share <= 1.1 * window.expected_share


def test_habits_follow_local_clocks_when_these_change() -> None:
    found = planned(OVER_THE_CHANGE, rules=IN_BERLIN)
    assert hours_of(found, BERLIN) == [2, 2, 2, 2, 2, 5, 5]
    last_winter_day, first_summer_day = found.windows[5:]
    assert last_winter_day.start.hour, first_summer_day.start.hour == (4, 3)


def test_a_window_across_a_change_of_clocks_has_its_length_in_real_time() -> None:
    autumn = weekly(6, BERLIN, datetime(2026, 9, 14, tzinfo=UTC))
    night = planned(autumn, datetime(2026, 10, 24, 22, tzinfo=UTC), 5, IN_BERLIN).windows[0]
    assert night.end - night.start == 5 * HOUR
    # At 03:00 of summer time clocks went back to 02:00.
    spring = planned(OVER_THE_CHANGE, hours=6, rules=IN_BERLIN).windows[-1]
    assert spring.end - spring.start == 6 * HOUR


@pytest.mark.parametrize(("weeks", "days"), [(0.2, "1.3"), (2, "14"), (3.99, "27.9")])
def test_a_history_too_short_names_no_window_and_says_what_is_needed(weeks: float, days: str) -> None:
    found = planned(weekly(weeks))
    assert found.windows == ()
    assert f"{days} days of history were seen and 28 are needed" in (found.insufficient_history or "")


def test_bursts_without_habits_name_no_window_however_long_they_went_on() -> None:
    found = planned(noise(20))
    assert found.windows == ()
    assert "low traffic cannot be foretold" in (found.insufficient_history or "")
    assert [finding.outcome for finding in found.findings] == [Outcome.PASS, Outcome.INSUFFICIENT]


def test_two_weeks_are_too_few_to_tell_even_if_the_policy_would_take_any_share() -> None:
    assert planned(noise(2), rules=Windows(most_share=100)).windows == ()


def test_a_history_that_ended_long_ago_names_no_window() -> None:
    late = planned(SIX_WEEKS, end(SIX_WEEKS) + timedelta(days=7.5))
    assert "history ends 7.5 days before now" in (late.insufficient_history or "")
    assert planned(SIX_WEEKS, end(SIX_WEEKS) + timedelta(days=6.5)).windows


def test_gaps_are_no_traffic_that_is_low() -> None:
    values = SIX_WEEKS.values.copy()
    hours = np.arange(len(values)) % 24
    values[(hours >= 10) & (hours < 14)] = np.nan
    found = planned(replaced(SIX_WEEKS, values))
    assert "of the 168 hours of the week were measured fewer than 2 times, first Monday 10:00" in (
        found.insufficient_history or ""
    )
    some = SIX_WEEKS.values.copy()
    some[24 * 7 * 4 :][(hours[24 * 7 * 4 :] >= 10) & (hours[24 * 7 * 4 :] < 14)] = np.nan
    assert hours_of(planned(replaced(SIX_WEEKS, some)), PLAIN) == [2, 2, 2, 2, 2, 5, 5]


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_no_traffic_at_all_names_no_window(value: float) -> None:
    found = planned(replaced(SIX_WEEKS, np.full_like(SIX_WEEKS.values, value)))
    assert found.windows == ()
    assert "there was no traffic" in (found.insufficient_history or "")


def test_a_few_odd_nights_do_not_move_windows() -> None:
    values = SIX_WEEKS.values.copy()
    values[24 * 35 + 2 : 24 * 35 + 5] *= 1_000
    odd, same = planned(replaced(SIX_WEEKS, values)), planned(SIX_WEEKS)
    assert hours_of(odd, PLAIN) == [2, 2, 2, 2, 2, 5, 5]
    for one, other in zip(odd.windows, same.windows, strict=True):
        assert one.expected_share == pytest.approx(other.expected_share, rel=0.05)


def test_the_hours_before_tell_that_a_day_is_not_like_its_weekday() -> None:
    series = weekly(8, sundays=(date(2026, 2, 18), date(2026, 3, 5), date(2026, 3, 18)))
    morning = datetime(2026, 3, 18, tzinfo=UTC)
    days = past_days(series, morning, RULES)
    assert days is not None
    told = quietest(days, morning, QUIET_H, RULES)
    assert told is not None
    assert told.start.hour == 5
    ahead = quietest(days, morning, QUIET_H, RULES, ahead=2)
    assert ahead is not None
    assert ahead.start.hour == 2


def test_public_holidays_are_foretold_as_sundays() -> None:
    rules = Windows(public_holidays=(date(2026, 3, 18),))
    assert hours_of(planned(SIX_WEEKS, rules=rules), PLAIN) == [2, 2, 5, 2, 2, 5, 5]


def test_the_present_window_may_begin_at_once_between_two_slots() -> None:
    now = datetime(2026, 3, 11, 2, 7, 30, tzinfo=UTC)
    assert planned(SIX_WEEKS, now).windows[0].start == now


def test_no_window_is_named_where_traffic_is_not_low_enough() -> None:
    found = planned(SIX_WEEKS, rules=Windows(most_share=0.25), hours=8)
    assert found.windows == ()
    flat = planned(SIX_WEEKS, hours=24)
    assert flat.windows == ()
    assert flat.findings[-1].outcome is not Outcome.PASS


@pytest.mark.parametrize("hours", [0, -1, 24.5, float("nan"), float("inf"), 1.00001])
def test_a_length_that_is_none_is_refused(hours: float) -> None:
    with pytest.raises(ValueError, match="no length of a window"):
        planned(SIX_WEEKS, hours=hours)


@given(
    minutes=st.integers(0, 14 * 24 * 60),
    quarters=st.integers(1, 40),
    first=st.integers(0, 12),
    length=st.integers(0, 3),
    buffer=st.integers(0, 30),
)
@settings(max_examples=10, deadline=None)
def test_windows_are_exact_apart_from_one_another_and_from_blackouts(
    minutes: int, quarters: int, first: int, length: int, buffer: int
) -> None:
    now = datetime(2026, 3, 10, tzinfo=UTC) + timedelta(minutes=minutes)
    begin = now.date() + timedelta(days=first)
    blackout = Blackout(first=begin, last=begin + timedelta(days=length), reason="campaign")
    rules = IN_BERLIN.model_copy(
        update={"blackouts": (blackout,), "blackout_buffer_h": buffer, "most_share": 2.0, "stale_after_days": 30}
    )
    found = planned(OVER_THE_CHANGE, now, quarters / 4, rules).windows
    assert found
    closed = datetime.combine(blackout.first, datetime.min.time(), BERLIN).astimezone(UTC) - buffer * HOUR
    reopened = datetime.combine(blackout.last + timedelta(days=1), datetime.min.time(), BERLIN).astimezone(UTC)
    for window in found:
        assert window.end - window.start == quarters / 4 * HOUR
        assert window.start >= now
        assert window.end <= closed or window.start >= reopened + buffer * HOUR
    assert all(one.end <= other.start for one, other in pairwise(found))
    days = [window.start.astimezone(BERLIN).date() for window in found]
    assert len(set(days)) == len(days)


@given(power=st.integers(-30, 30), factor=st.floats(0.01, 1_000))
@settings(max_examples=2, deadline=None)
def test_the_unit_of_traffic_changes_nothing(power: int, factor: float) -> None:
    same = planned(SIX_WEEKS)
    assert planned(replaced(SIX_WEEKS, SIX_WEEKS.values * 2.0**power)).windows == same.windows
    scaled = planned(replaced(SIX_WEEKS, SIX_WEEKS.values * factor)).windows
    assert [window.start for window in scaled] == [window.start for window in same.windows]


@given(hours=st.integers(28 * 24, 41 * 24), seed=st.integers(0, 1_000))
@settings(max_examples=5, deadline=None)
def test_what_comes_later_changes_nothing(hours: int, seed: int) -> None:
    now = START + hours * HOUR
    values = SIX_WEEKS.values.copy()
    values[hours:] = np.random.default_rng(seed).lognormal(0, 3, len(values) - hours)
    short = replaced(SIX_WEEKS, SIX_WEEKS.values[:hours])
    assert planned(replaced(SIX_WEEKS, values), now) == planned(short, now)


def window(day: int, hour: int, hours: int = 3) -> LowTraffic:
    start = START + timedelta(days=day, hours=hour)
    return LowTraffic(start, start + hours * HOUR, 0.2, 0.3)


TWO = Plan((window(0, 2), window(1, 2)), ())


@pytest.mark.parametrize(
    ("at", "outcome", "said"),
    [
        (1.0, Outcome.WAIT, "from 2026-02-02T02:00Z"),
        (2.0, Outcome.PASS, "is open"),
        (3.0, Outcome.PASS, "is open"),
        (3.1, Outcome.WAIT, "from 2026-02-03T02:00Z"),
        (30.0, Outcome.INSUFFICIENT, "no window"),
    ],
)
def test_a_training_begins_in_a_window_that_still_has_room_for_it(at: float, outcome: Outcome, said: str) -> None:
    found = open_now(TWO, START + at * HOUR, 2, RULES)
    assert found.outcome is outcome
    assert said in found.reason


def test_a_training_longer_than_every_window_is_told_so() -> None:
    found = open_now(TWO, START, 4, RULES)
    assert (found.outcome, found.observed, found.limit) == (Outcome.INSUFFICIENT, 3.0, 4)


def test_without_history_the_policy_says_whether_trainings_wait() -> None:
    nothing = planned(weekly(1))
    assert open_now(nothing, START, 1, RULES).outcome is Outcome.INSUFFICIENT
    run = open_now(nothing, START, 1, Windows(without_history="run"))
    assert run.outcome is Outcome.PASS
    assert "the policy runs without history" in run.reason


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"most_weeks": 4, "least_weeks": 5}, "most_weeks"),
        ({"blackouts": [{"first": "2026-05-02", "last": "2026-05-01", "reason": "x"}]}, "before first"),
    ],
)
def test_rules_that_cannot_hold_are_refused(table: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Windows.model_validate(table)

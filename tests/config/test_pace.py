"""How a history is guessed to be replayed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hpcretrain.config.pace import MIN_BATCHES, Pace, Times, guess_pace
from hpcretrain.config.types import BacktestConfig, parse_duration
from hpcretrain.errors import InputError

START = datetime(2024, 1, 1, tzinfo=UTC)


def rows(count: int, every: timedelta, start: datetime = START) -> Times:
    first, step = round(start.timestamp() * 10**9), int(every.total_seconds() * 10**9)
    return Times(first + step * np.arange(count, dtype=np.int64), count)


def guess(times: Times, zone: str = "UTC", rarer: float = 1.0) -> Pace:
    return guess_pace(times, zone, 500, rarer)


@pytest.mark.parametrize(
    ("times", "observe", "report", "until"),
    [
        (rows(24_000, timedelta(minutes=10)), "7d", "1mo", "2024-02-01"),
        (rows(327_000, timedelta(seconds=96)), "7d", "1mo", "2024-03-01"),
        (rows(8_760, timedelta(hours=1)), "14d", "1mo", "2024-05-01"),
        (rows(5_698, timedelta(days=1)), "28d", "12mo", "2029-03-01"),
        (rows(91_000, timedelta(seconds=90)), "1d", "1mo", "2024-01-20"),
        (rows(200_000, timedelta(seconds=10)), "1d", "7d", "2024-01-06"),
        (rows(50_000, timedelta(seconds=5)), "3h", "1d", "2024-01-01T14:00+00:00"),
        (rows(120_000, timedelta(hours=1)), "28d", "12mo", "2026-10-01"),
        (rows(1_500, timedelta(days=1)), "28d", "6mo", "2025-06-01"),
        (rows(3_000, timedelta(days=1)), "28d", "12mo", "2026-10-01"),
        (rows(2_000, timedelta(hours=12)), "28d", "3mo", "2024-12-01"),
    ],
    ids=[
        "every 10 minutes",
        "flights",
        "hourly year",
        "daily years",
        "three months",
        "three weeks",
        "three days",
        "long hourly",
        "daily, four years",
        "daily, eight years",
        "twice daily",
    ],
)
def test_usual_histories_get_usual_calendars(times: Times, observe: str, report: str, until: str) -> None:
    pace = guess(times)
    assert (pace.observe_every.value, pace.report_every.value, pace.reference_until.value) == (observe, report, until)


@settings(deadline=None)
@given(
    st.integers(1_000, 50_000),
    st.floats(0.1, 60_000),
    st.sampled_from(["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]),
    st.floats(0.0005, 1),
    st.integers(0, 10**6),
)
@example(count=1_000, seconds=10_177.0, zone="UTC", rarer=1.0, seed=0)
def test_every_guess_is_one_that_a_backtest_takes(
    count: int, seconds: float, zone: str, rarer: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    stamps = np.sort(random.integers(0, int(count * seconds * 10**9), count)) + round(START.timestamp() * 10**9)
    times = Times(stamps, count)
    if times.at(1.0) - times.at(0.0) < timedelta(hours=4):
        return
    pace = guess(times, zone, rarer)
    BacktestConfig(
        reference_until=pace.reference_until.value,
        observe_every=pace.observe_every.value,
        report_every=pace.report_every.value,
    )
    batch = parse_duration(pace.observe_every.value)
    assert times.before(pace.until) >= max(500, 0.15 * count)
    assert times.at(1.0) - pace.until >= batch
    if times.at(1.0) - times.at(0.0) >= timedelta(days=20):
        assert batch >= timedelta(days=1)
        assert (times.at(1.0) - pace.until) // batch >= MIN_BATCHES // 2


def test_the_written_end_of_the_reference_is_the_one_that_is_meant() -> None:
    from zoneinfo import ZoneInfo

    for zone in ("UTC", "America/New_York", "Asia/Kathmandu"):
        pace = guess(rows(24_000, timedelta(minutes=10)), zone)
        assert datetime.fromisoformat(pace.reference_until.value).replace(tzinfo=ZoneInfo(zone)) == pace.until


def test_the_reference_holds_four_batches() -> None:
    times = rows(120_000, timedelta(seconds=86.4))
    until = guess(times).reference_until
    assert "four batches" in until.why
    assert datetime.fromisoformat(until.value) >= datetime(2024, 1, 29)


def test_rare_classes_get_a_longer_reference_up_to_half() -> None:
    times = rows(24_000, timedelta(minutes=10))
    usual, rare, rarest = (times.before(guess(times, rarer=share).until) for share in (0.3, 0.02, 0.001))
    assert usual < rare <= rarest
    assert rare >= 7_500
    assert rarest <= 0.6 * 24_000


def test_a_sample_stands_for_the_whole_table() -> None:
    whole = rows(24_000, timedelta(minutes=10))
    assert guess(Times(whole.stamps[::10], 24_000)).observe_every == guess(whole).observe_every


def test_rows_far_from_all_others_do_not_set_the_pace() -> None:
    times = rows(24_000, timedelta(minutes=10))
    strange = Times(np.append(np.zeros(3, dtype=np.int64), times.stamps), 24_003)
    assert guess(strange).observe_every.value == guess(times).observe_every.value


def test_periods_too_small_for_steady_numbers_are_said_to_be() -> None:
    assert "so few that chance moves" in guess(rows(1_500, timedelta(days=1))).report_every.why
    assert "so few" not in guess(rows(24_000, timedelta(minutes=10))).report_every.why


def test_small_batches_are_said_to_be_taken_together() -> None:
    assert "taken together until they hold the 500 rows" in guess(rows(5_698, timedelta(days=1))).observe_every.why


def test_the_label_delay_is_said_not_to_be_guessed() -> None:
    pace = guess(rows(24_000, timedelta(minutes=10)))
    assert pace.label_delay.value == "1d"
    assert "CANNOT BE GUESSED" in pace.label_delay.why


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (rows(999, timedelta(hours=1)), "999 rows; a backtest needs at least 1,000"),
        (rows(5_000, timedelta(0)), "too short to replay"),
        (rows(5_000, timedelta(seconds=1)), "too short to replay"),
    ],
)
def test_too_little_is_refused(times: Times, words: str) -> None:
    with pytest.raises(InputError, match=words):
        guess(times)

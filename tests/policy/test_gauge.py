from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hpcretrain.evidence import Family, Measure
from hpcretrain.policy.gauge import NO_SAMPLES, Gauge, OwnPast, Reference, Series, blind, in_words, read, shared

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LATENCY = Gauge("flights", Family.SERVING, "latency", True, False, 1, timedelta(minutes=5))


def series(*values: float, every: float = 60.0) -> Series:
    times = START.timestamp() + every * np.arange(1, len(values) + 1)
    return Series(times.astype(np.float64), np.array(values))


def one(gauge: Gauge, samples: Series, reference: Reference = 10.0) -> Measure:
    (found,) = read(replace(gauge, expect_every=None), samples, reference, START, START + HOUR)
    return found


def test_a_metric_that_rose_is_worse_by_so_much() -> None:
    found = one(LATENCY, series(*[12.0] * 60))
    assert (found.effect, found.lower_bound, found.n, found.reference) == (2.0, 2.0, 60, 10.0)
    assert (found.model, found.family, found.name, found.at) == ("flights", Family.SERVING, "latency", START + HOUR)


def test_better_is_no_effect() -> None:
    found = one(LATENCY, series(*[8.0] * 60))
    assert (found.effect, found.lower_bound) == (0.0, 0.0)


def test_where_lower_is_worse_a_fall_counts() -> None:
    found = one(replace(LATENCY, higher_is_worse=False), series(*[8.0] * 60))
    assert (found.effect, found.reference) == (2.0, 10.0)


def test_a_share_of_the_reference_has_no_unit() -> None:
    assert one(replace(LATENCY, relative=True), series(*[15.0] * 60)).effect == 0.5
    assert one(replace(LATENCY, relative=True), series(*[1.0] * 60), 0.0).effect == math.inf
    assert one(replace(LATENCY, relative=True, higher_is_worse=False), series(*[-15.0] * 60), -10.0).effect == 0.5


def test_a_reference_may_be_samples_of_before() -> None:
    found = one(LATENCY, series(*[12.0] * 60), series(*[11.0] * 10))
    assert (found.effect, found.reference) == (1.0, 11.0)


def test_without_a_reference_nothing_is_measured() -> None:
    found = one(LATENCY, series(*[12.0] * 60), NO_SAMPLES)
    assert (found.effect, found.lower_bound) == (None, None)
    assert "no sample in the reference" in found.reason


def test_an_effect_without_a_bound_is_not_measured() -> None:
    found = one(LATENCY, series(12.0, 12.0))
    assert (found.effect, found.lower_bound, found.n) == (None, None, 2)
    assert "too few samples" in found.reason


def test_rows_behind_samples_count() -> None:
    assert one(replace(LATENCY, rows=500), series(*[12.0] * 6)).n == 3000


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_sample_that_is_not_finite_is_evidence(odd: float) -> None:
    found = one(LATENCY, series(*[12.0] * 59, odd))
    assert found.effect is not None
    assert not math.isfinite(found.effect)
    assert "1 of 60 samples are none): look into it" in found.reason


def test_a_series_that_stopped_is_blind_and_not_its_last_value() -> None:
    measured, silent = read(LATENCY, series(*[12.0] * 30), 10.0, START, START + HOUR)
    assert measured.n == 30
    assert silent.family is Family.BLIND
    assert "no sample for 30 min, the last at 2026-03-01T00:30:00Z" in silent.reason


def test_a_series_that_never_was_is_blind() -> None:
    (silent,) = read(LATENCY, NO_SAMPLES, 10.0, START, START + HOUR)
    assert (silent.family, silent.effect) == (Family.BLIND, 1.0)


def test_a_silence_in_the_middle_is_blind() -> None:
    whole = series(*[12.0] * 60)
    gap = Series(np.delete(whole.times, slice(20, 30)), np.delete(whole.values, slice(20, 30)))
    assert [each.family for each in read(LATENCY, gap, 10.0, START, START + HOUR)] == [Family.SERVING, Family.BLIND]


def test_samples_of_other_times_do_not_count() -> None:
    late = Series(np.array([START.timestamp(), (START + 2 * HOUR).timestamp()]), np.array([99.0, 99.0]))
    assert [each.family for each in read(LATENCY, late, 10.0, START, START + HOUR)] == [Family.BLIND]


def test_one_silent_metric_of_two_is_half_blind() -> None:
    silent = blind("flights", "latency", START, "")
    assert [each.effect for each in shared([silent], 2)] == [0.5]
    assert [each.effect for each in shared([silent, silent._replace(name="errors")], 2)] == [1.0, 1.0]
    assert [each.effect for each in shared([silent, silent._replace(model="rides")], 2)] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "0 s"), (59.6, "1 min"), (86_400 * 7, "7 days"), (90_000, "1 day 1 h"), (5405, "1 h 30 min 5 s")],
)
def test_a_length_of_time_is_told_in_words(seconds: float, said: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == said


AUC = Gauge("flights", Family.PERFORMANCE, "auc", False, False, 2000, None)


def own_past(*values: float) -> tuple[Series, OwnPast]:
    samples = series(*values, every=30.0)
    return samples, OwnPast.of(samples, 0.12, 0.002, [START + HOUR, START + 2 * HOUR])


def test_a_metric_is_compared_with_its_own_past_up_to_where_it_changed() -> None:
    samples, past = own_past(*[0.71, 0.70] * 30, *[0.61, 0.60] * 30)
    found = one(AUC, samples, past)
    assert found.effect == pytest.approx(0.1)
    assert found.reference == pytest.approx(0.705)
    assert found.lower_bound is not None
    assert 0 < found.lower_bound < 0.1
    assert found.n == 60 * 2000
    assert "it changed with the sample of 2026-03-01T00:30" in found.reason


def test_a_metric_that_never_changed_is_as_it_was_and_one_that_rose_is_not_worse() -> None:
    steady = one(AUC, *own_past(*[0.71, 0.70] * 30))
    assert (steady.effect, steady.lower_bound, steady.n) == (0.0, 0.0, 120_000)
    assert "no change by 0.0647 or more in 60 samples" in steady.reason
    better = one(AUC, *own_past(*[0.61, 0.60] * 30, *[0.71, 0.70] * 30))
    assert (better.effect, better.lower_bound) == (0.0, 0.0)


def test_only_what_was_there_by_then_is_its_past() -> None:
    samples, past = own_past(*[0.71, 0.70] * 60, *[0.61, 0.60] * 60)
    assert one(AUC, samples, past).effect == 0.0
    [later] = read(AUC, samples, past, START + HOUR, START + 2 * HOUR)
    assert later.effect == pytest.approx(0.1)


def test_what_is_not_finite_is_left_out_of_the_past_and_is_evidence_where_it_is_new() -> None:
    _, past = own_past(*[0.71, 0.70] * 30, math.nan, *[0.71, 0.70] * 29)
    [well] = read(AUC, series(0.7), past, START, START + HOUR)
    assert (well.effect, well.n) == (0.0, 118 * 2000)
    found = one(AUC, *own_past(*[0.71, 0.70] * 20, math.nan))
    assert found.effect is not None
    assert math.isnan(found.effect)
    assert "not a finite number (1 of 41 samples are none)" in found.reason


def test_a_decline_after_a_recovery_is_a_decline() -> None:
    samples = series(*[0.60, 0.61] * 60, *[0.90, 0.91] * 60, *[0.78, 0.79] * 60, every=10.0)
    past = OwnPast.of(samples, 0.4, 0.002, [START + HOUR])
    found = one(AUC, samples, past)
    assert found.effect == pytest.approx(0.12)
    assert found.reference == pytest.approx(0.905)
    assert found.lower_bound is not None
    assert found.lower_bound > 0


def test_too_few_samples_to_see_any_change_are_no_good_news() -> None:
    for count in (1, 9, 12):
        found = one(AUC, *own_past(*[0.71] * count))
        assert (found.effect, found.lower_bound) == (None, None)
        assert "too few to tell a change within 0.12" in found.reason

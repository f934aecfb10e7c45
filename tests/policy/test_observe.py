from __future__ import annotations

import math

import pytest
from records_for_tests import POLICY, START, WEEK

from hpcretrain.counts import BatchCounts, ColumnCounts
from hpcretrain.policy import observe
from hpcretrain.records import Family, Histogram, Outcome, Reading, Signal, Slice
from hpcretrain.stats.metrics import Measurement

SCORE = POLICY.score
JUDGED = Reading(metric="auc", value=0.70, se=0.005, n=10_000)


def batch(*bins: int, missing: int = 0) -> BatchCounts:
    rows = sum(bins) + missing
    column = ColumnCounts(rows, missing, 0, 0, 0, bins, 0.0, 1.0, False)
    return BatchCounts(rows, 0, {"x": column}, "d")


def test_drift_of_many_models_is_the_same_as_of_each_alone() -> None:
    models = [
        ([batch(0, 505, 495, 0)], [batch(0, 500, 500, 0)]),
        ([batch(0, 10, 10, 0)], [batch(0, 500, 500, 0)]),
        ([batch(0, 300, 300, 300, 3, 0)] * 2, [batch(9, 500, 400, 100, 1, 0)]),
        ([batch(0, 900, 100, 0)], [batch(0, 500, 500, 0)]),
    ]
    assert observe.input_drifts(models, SCORE) == [observe.input_drift(*each, SCORE) for each in models]


def test_the_same_distribution_is_no_drift_and_another_is() -> None:
    reference = [batch(0, 500, 500, 0), batch(0, 510, 490, 0)]
    (same,) = observe.input_drift([batch(0, 505, 495, 0)], reference, SCORE)
    (moved,) = observe.input_drift([batch(0, 900, 100, 0)], reference, SCORE)
    assert (same.lower_bound, same.finding.outcome) == (0.0, Outcome.PASS)
    assert moved.finding.outcome is Outcome.FAIL
    assert moved.lower_bound is not None
    assert moved.lower_bound > SCORE.rule(Family.INPUT_DRIFT).scale


def test_cells_gone_missing_are_drift_too() -> None:
    (sign,) = observe.input_drift([batch(0, 350, 350, 0, missing=300)], [batch(0, 500, 500, 0)], SCORE)
    assert sign.finding.outcome is Outcome.FAIL


def test_a_small_batch_says_nothing_about_drift() -> None:
    (sign,) = observe.input_drift([batch(0, 10, 10, 0)], [batch(0, 500, 500, 0)], SCORE)
    assert (sign.effect, sign.lower_bound, sign.finding.outcome) == (None, None, Outcome.INSUFFICIENT)


def test_small_batches_are_taken_together() -> None:
    (sign,) = observe.input_drift([batch(0, 90, 10, 0)] * 6, [batch(0, 500, 500, 0)], SCORE)
    assert (sign.n, sign.finding.outcome) == (600, Outcome.FAIL)


def test_a_handful_of_one_class_says_nothing_about_performance() -> None:
    sign = observe.performance("auc", Measurement(0.3, 0.01, 2000), SCORE.min_class_rows - 1, JUDGED, SCORE)
    assert (sign.effect, sign.finding.outcome) == (None, Outcome.INSUFFICIENT)


def test_a_decline_counts_only_beyond_its_errors() -> None:
    noise = observe.performance("auc", Measurement(0.69, 0.01, 2000), 500, JUDGED, SCORE)
    fall = observe.performance("auc", Measurement(0.60, 0.01, 2000), 500, JUDGED, SCORE)
    assert noise.lower_bound == 0.0
    assert noise.effect is not None
    assert noise.effect > 0
    assert fall.effect == pytest.approx(0.5)
    assert fall.lower_bound == pytest.approx(0.5 - SCORE.rule(Family.PERFORMANCE).z * math.hypot(0.01, 0.005) / 0.2)


def test_an_improvement_is_never_negative_decline() -> None:
    better = observe.performance("auc", Measurement(0.80, 0.01, 2000), 500, JUDGED, SCORE)
    assert (better.effect, better.lower_bound) == (0.0, 0.0)


def test_a_metric_that_is_not_defined_is_insufficient() -> None:
    sign = observe.performance("auc", Measurement(math.nan, math.nan, 2000), 500, JUDGED, SCORE)
    assert (sign.effect, sign.finding.outcome) == (None, Outcome.INSUFFICIENT)


def test_a_bias_that_was_there_when_judged_is_no_news() -> None:
    judged = Reading(metric="bias", value=0.05, se=0.001, n=10_000)
    same = observe.calibration(Measurement(-0.05, 0.001, 5000), 0.4, judged, SCORE)
    grown = observe.calibration(Measurement(0.15, 0.001, 5000), 0.4, judged, SCORE)
    assert same.lower_bound == 0.0
    assert grown.lower_bound == pytest.approx(0.1 / 0.4, abs=0.01)


def test_no_prediction_at_all_is_insufficient() -> None:
    judged = Histogram((0.5,), (500, 500))
    assert observe.prediction_shift(Histogram((0.5,), (0, 0)), judged, SCORE).finding.outcome is Outcome.INSUFFICIENT


def test_new_rows_are_counted_against_those_learned() -> None:
    assert observe.freshness(500, 1000, SCORE).lower_bound == 0.5


def drift(bound: float | None) -> Signal:
    finding = observe.insufficient(Family.INPUT_DRIFT, "x", "psi", 1, 1, "few").finding
    return Signal(
        model="m", at=START, answers=("release-1",), family=Family.INPUT_DRIFT, name=f"x{bound}",
        slot=Slice(START - WEEK, START, 1, "d"), effect=bound, lower_bound=bound, n=1, reference=None, unit="psi",
        finding=finding,
    )  # fmt: skip


def test_when_most_features_changed_much_a_person_is_asked() -> None:
    assert observe.structural([drift(2.0), drift(3.0), drift(0.1)], 1.0, 0.75).outcome is Outcome.PASS
    assert observe.structural([drift(2.0), drift(3.0), drift(1.0)], 1.0, 0.75).outcome is Outcome.FAIL
    assert observe.structural([drift(None)], 1.0, 0.75).outcome is Outcome.INSUFFICIENT

from __future__ import annotations

import math

import numpy as np
import pytest
from records_for_tests import POLICY, START, WEEK

from hpcretrain.counts import BatchCounts, ColumnCounts
from hpcretrain.policy import observe
from hpcretrain.records import Family, Histogram, Outcome, Reading, Signal, Slice
from hpcretrain.stats.groups import Groups
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


def test_what_was_off_in_parts_when_judged_is_no_news_and_what_was_added_counts_in_sds_of_the_target() -> None:
    judged = Reading(metric="miscalibration", value=0.01, se=0.001, n=10_000)
    same = observe.miscalibration(Measurement(0.011, 0.001, 5000), 0.4, judged, SCORE)
    grown = observe.miscalibration(Measurement(0.02, 0.001, 5000), 0.4, judged, SCORE)
    assert (same.name, same.lower_bound) == ("miscalibration", 0.0)
    assert grown.effect == pytest.approx(0.1 / 0.4)
    error = SCORE.rule(Family.CALIBRATION).z * math.hypot(0.001, 0.001)
    assert grown.lower_bound == pytest.approx(math.sqrt(0.01 - error) / 0.4)


@pytest.mark.parametrize(
    ("rows", "spread", "value"), [(SCORE.min_rows - 1, 0.4, 0.02), (5000, 0.0, 0.02), (5000, 0.4, math.nan)]
)
def test_miscalibration_that_cannot_be_told_is_insufficient(rows: int, spread: float, value: float) -> None:
    judged = Reading(metric="miscalibration", value=0.01, se=0.001, n=10_000)
    sign = observe.miscalibration(Measurement(value, 0.001, rows), spread, judged, SCORE)
    assert (sign.effect, sign.lower_bound, sign.finding.outcome) == (None, None, Outcome.INSUFFICIENT)


def telling(features: int, rows: int, slopes: dict[str, float], seed: int) -> dict[str, Groups]:
    """Labels in tenths of features; the label's mean rises through those of a feature by its slope."""
    rng, found = np.random.default_rng(seed), {}
    for name in (f"x{number}" for number in range(features)):
        place = rng.integers(0, 10, rows)
        chance = 0.5 + slopes.get(name, 0.0) * (place - 4.5) / 9
        found[name] = Groups.of(place, (rng.random(rows) < chance).astype(float))
    return found


def test_of_fifty_features_the_one_whose_meaning_changed_is_named_and_no_other_counts() -> None:
    was = telling(50, 5_000, {"x7": 0.6, "x8": 0.6}, 1)
    same, turned = (telling(50, 5_000, {"x7": slope, "x8": 0.6}, 2) for slope in (0.6, -0.2))
    quiet, loud = (observe.relevance(now, was, 0.5, SCORE) for now in (same, turned))
    assert (quiet.family, quiet.name, quiet.lower_bound) == (Family.PREDICTION_SHIFT, "relevance", 0.0)
    assert "what x7 tells" in loud.why
    assert "50 features" in loud.why
    # A slope that falls by 0.8 moves tenths by a variance of 0.8^2 times that of ten even steps from 0 to 1.
    assert loud.effect == pytest.approx(0.64 * np.var(np.arange(10) / 9) / 0.25, rel=0.1)
    assert loud.lower_bound is not None
    assert loud.effect is not None
    assert 0.6 * loud.effect < loud.lower_bound < loud.effect


def test_a_change_in_the_meaning_of_one_feature_is_the_less_sure_the_more_features_there_are() -> None:
    was, now = telling(50, 3_000, {"x0": 0.4}, 1), telling(50, 3_000, {"x0": 0.1}, 2)
    alone = observe.relevance({"x0": now["x0"]}, {"x0": was["x0"]}, 0.5, SCORE)
    among = observe.relevance(now, was, 0.5, SCORE)
    assert alone.effect == among.effect
    assert (alone.lower_bound or 0) > (among.lower_bound or 0) > 0


def test_what_features_tell_is_not_compared_on_few_rows_or_labels_that_never_vary() -> None:
    many, few = telling(2, 2_000, {}, 1), telling(2, SCORE.min_rows - 1, {}, 2)
    flat = {"x0": Groups.of(np.zeros(2_000, dtype=int), np.zeros(2_000))}
    found = [
        observe.relevance(few, many, 0.5, SCORE),
        observe.relevance(many, few, 0.5, SCORE),
        observe.relevance(many, many, 0.0, SCORE),
        observe.relevance(flat, flat, 0.5, SCORE),
        observe.relevance({}, {}, 0.5, SCORE),
    ]
    assert {sign.finding.outcome for sign in found} == {Outcome.INSUFFICIENT}


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

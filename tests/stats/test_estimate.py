"""Metrics estimated without labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bench.simulate import World, scored

from hpcretrain.stats import metrics
from hpcretrain.stats.estimate import calibrate, estimate

WORLD = World()
NAMES = ("auc", "accuracy", "brier", "log_loss")


@pytest.mark.parametrize("metric", NAMES)
def test_an_estimate_is_what_the_labels_will_say_also_where_the_model_is_overconfident(metric: str) -> None:
    rng = np.random.default_rng(0)
    labels, p = scored(WORLD, 40_000, 0.75, rng)
    p = p**1.5 / (p**1.5 + (1 - p) ** 1.5)
    known = calibrate(labels[:20_000], p[:20_000])
    truth, guess = metrics.measure(metric, labels[20_000:], p[20_000:]), estimate(metric, p[20_000:], known)
    assert abs(guess.value - truth.value) < 3 * math.hypot(guess.se, truth.se) + 0.005
    assert guess.n == 20_000


def test_rows_that_are_harder_to_tell_apart_are_expected_to_be_predicted_worse() -> None:
    rng = np.random.default_rng(1)
    labels, p = scored(WORLD, 20_000, 0.75, rng)
    known = calibrate(labels, p)
    middling = p[(p > np.quantile(p, 0.25)) & (p < np.quantile(p, 0.75))]
    usual, harder = estimate("auc", p, known), estimate("auc", middling, known)
    assert usual.value - harder.value > 10 * math.hypot(usual.se, harder.se)


def test_the_error_is_what_it_varies_by() -> None:
    rng = np.random.default_rng(2)
    known = calibrate(*scored(WORLD, 20_000, 0.75, rng))
    found = [estimate("auc", scored(WORLD, 2_000, 0.75, rng)[1], known) for _ in range(200)]
    spread = np.std([each.value for each in found])
    assert 0.8 < np.mean([each.se for each in found]) / spread < 1.25


def test_what_cannot_be_estimated_is_not_a_number_and_what_cannot_be_calibrated_is_refused() -> None:
    known = calibrate([0, 1] * 50, np.linspace(0, 1, 100))
    assert math.isnan(estimate("auc", [0.5] * 39, known).value)
    assert math.isnan(estimate("auc", [0.5] * 40 + [math.nan], known).value)
    assert estimate("auc", [0.5] * 40, known).value == pytest.approx(0.5)
    with pytest.raises(ValueError, match="no metric 'rmse' of a binary task"):
        estimate("rmse", [0.5] * 40, known)
    for labels, p in (([], []), ([1.0], [math.nan]), ([1.0, 0.0], [0.5])):
        with pytest.raises(ValueError, match="calibration needs labels"):
            calibrate(labels, p)

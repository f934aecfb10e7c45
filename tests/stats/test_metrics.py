from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference  # type: ignore[import-untyped]

from hpcretrain.stats.metrics import METRICS, bias, decline, measure

FloatArray = npt.NDArray[np.float64]

REFERENCES: dict[str, Callable[[FloatArray, FloatArray], float]] = {
    "auc": reference.roc_auc_score,
    "log_loss": reference.log_loss,
    "brier": reference.brier_score_loss,
    "accuracy": lambda y, p: float(reference.accuracy_score(y, p >= 0.5)),
    "rmse": reference.root_mean_squared_error,
    "mae": reference.mean_absolute_error,
}


def draw(metric: str, n: int, rng: np.random.Generator, *, decimals: int = 15) -> tuple[FloatArray, FloatArray]:
    """Labels and predictions of a middling model; few `decimals` make ties."""
    if METRICS[metric].task == "regression":
        y = rng.normal(size=n)
        return y, np.round(0.5 * y + rng.normal(size=n), decimals)
    p = rng.beta(2, 3, size=n)
    return (rng.random(n) < p).astype(np.float64), np.round(p, decimals)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("decimals", [15, 1])
def test_values_agree_with_sklearn_also_where_predictions_tie(metric: str, decimals: int) -> None:
    y, p = draw(metric, 300, np.random.default_rng(1), decimals=decimals)
    assert measure(metric, y, p).value == pytest.approx(REFERENCES[metric](y, p), rel=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 4)), min_size=2, max_size=40))
@settings(deadline=None)
def test_auc_agrees_with_sklearn_on_any_ties_and_is_nan_for_one_class(rows: list[tuple[bool, int]]) -> None:
    y, p = np.array([float(label) for label, _ in rows]), np.array([score / 4 for _, score in rows])
    value = measure("auc", y, p).value
    if len(set(y)) < 2:
        assert math.isnan(value)
    else:
        assert value == pytest.approx(reference.roc_auc_score(y, p), abs=1e-12)


def test_the_standard_error_of_auc_is_that_of_brute_force_placement_values() -> None:
    y, p = draw("auc", 120, np.random.default_rng(2), decimals=1)
    positive, negative = p[y == 1], p[y == 0]
    outranks = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = outranks.mean(axis=1).var(ddof=1) / len(positive) + outranks.mean(axis=0).var(ddof=1) / len(negative)
    assert measure("auc", y, p).se == pytest.approx(math.sqrt(variance), rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_standard_error_is_the_spread_of_the_metric_over_samples(metric: str) -> None:
    rng = np.random.default_rng(3)
    samples = [measure(metric, *draw(metric, 200, rng)) for _ in range(1000)]
    spread = np.std([sample.value for sample in samples])
    assert np.mean([sample.se for sample in samples]) == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_the_bias_is_signed_and_its_standard_error_is_its_spread_over_calibrated_samples(task: str) -> None:
    rng = np.random.default_rng(4)
    samples = []
    for _ in range(1000):
        if task == "binary":
            p = rng.beta(2, 3, size=200)
            y = (rng.random(200) < p).astype(np.float64)
        else:
            p = rng.normal(size=200)
            y = p + rng.normal(size=200)
        samples.append(bias(task, y, p))
    spread = np.std([sample.value for sample in samples])
    assert np.mean([sample.se for sample in samples]) == pytest.approx(spread, rel=0.1)
    assert bias(task, [0, 1, 0], [1, 1, 0]).value == pytest.approx(1 / 3)


def test_the_standard_error_of_a_binary_bias_takes_calibration_for_granted() -> None:
    assert bias("binary", [0, 0, 1, 1], [0.2, 0.2, 0.2, 0.2]).se == pytest.approx(0.2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["label", "prediction"])
def test_one_value_that_is_not_finite_makes_everything_nan(metric: str, broken: float, where: str) -> None:
    y, p = draw(metric, 50, np.random.default_rng(5))
    (y if where == "label" else p)[7] = broken
    for measured in (measure(metric, y, p), bias(METRICS[metric].task, y, p)):
        assert math.isnan(measured.value)
        assert math.isnan(measured.se)
        assert measured.n == 50


@pytest.mark.parametrize("metric", METRICS)
def test_no_rows_are_nan_and_one_row_has_no_standard_error(metric: str) -> None:
    assert math.isnan(measure(metric, [], []).value)
    assert math.isnan(bias(METRICS[metric].task, [], []).value)
    one = measure(metric, [1.0], [0.9])
    assert math.isnan(one.se)
    assert math.isnan(one.value) == (metric == "auc")


def test_auc_with_a_single_positive_has_a_value_but_no_standard_error() -> None:
    measured = measure("auc", [1, 0, 0], [0.9, 0.1, 0.95])
    assert measured.value == 0.5
    assert math.isnan(measured.se)


@pytest.mark.parametrize(("y", "p"), [([0, 2], [0.1, 0.2]), ([-1, 1], [0.1, 0.2]), ([0, 1], [0.1, 1.5])])
@pytest.mark.parametrize("metric", [name for name, metric in METRICS.items() if metric.task == "binary"])
def test_what_is_no_class_or_no_probability_is_nan(metric: str, y: list[float], p: list[float]) -> None:
    assert math.isnan(measure(metric, y, p).value)
    assert math.isnan(bias("binary", y, p).value)


@pytest.mark.parametrize("metric", ["rmse", "mae"])
def test_what_overflows_is_nan_not_infinite(metric: str) -> None:
    measured = measure(metric, [1e308, 1e308], [-1e308, -1e308])
    assert math.isnan(measured.value)
    assert math.isnan(measured.se)


def test_log_loss_of_a_sure_and_wrong_prediction_is_large_but_finite() -> None:
    measured = measure("log_loss", [1, 0], [0.0, 1.0])
    assert measured.value == pytest.approx(-math.log(1e-15), rel=1e-3)


def test_accuracy_takes_one_half_for_class_1() -> None:
    assert measure("accuracy", [1, 0], [0.5, 0.5]).value == 0.5


def test_a_perfect_regression_has_rmse_0_with_standard_error_0() -> None:
    measured = measure("rmse", [1, 2, 3], [1, 2, 3])
    assert (measured.value, measured.se) == (0, 0)


@pytest.mark.parametrize(
    ("metric", "baseline", "current", "effect", "slope"),
    [
        ("auc", 0.7, 0.65, 0.25, 5.0),
        ("accuracy", 0.8, 0.6, 0.25, 1.25),
        ("log_loss", 0.4, 0.5, 0.25, 2.5),
        ("brier", 0.2, 0.1, -0.5, 5.0),
        ("rmse", 2.0, 3.0, 0.5, 0.5),
        ("mae", 2.0, 2.0, 0.0, 0.5),
    ],
)
def test_decline_is_a_share_of_skill_or_loss_and_positive_when_worse(
    metric: str, baseline: float, current: float, effect: float, slope: float
) -> None:
    assert decline(metric, baseline, current) == pytest.approx((effect, slope))


@pytest.mark.parametrize(
    ("metric", "baseline", "current"),
    [
        ("auc", 0.5, 0.4),
        ("auc", 0.45, 0.4),
        ("rmse", 0.0, 1.0),
        ("accuracy", 0.0, 0.1),
        ("mae", math.nan, 1.0),
        ("mae", 1.0, math.nan),
        ("mae", math.inf, 1.0),
        ("mae", 1.0, math.inf),
    ],
)
def test_decline_from_nothing_or_with_what_is_not_finite_is_nan(metric: str, baseline: float, current: float) -> None:
    assert all(math.isnan(value) for value in decline(metric, baseline, current))


def test_unknown_names_and_unequal_shapes_are_refused_with_what_was_seen() -> None:
    with pytest.raises(ValueError, match=r"'f1'.*log_loss"):
        measure("f1", [0, 1], [0.1, 0.9])
    with pytest.raises(ValueError, match="'f1'"):
        decline("f1", 0.5, 0.5)
    with pytest.raises(ValueError, match=r"'ranking'.*binary, regression"):
        bias("ranking", [0, 1], [0.1, 0.9])
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        measure("mae", [0, 1], [0.1, 0.9, 0.5])
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        measure("mae", [[0, 1]], [[0, 1]])

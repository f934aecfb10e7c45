from __future__ import annotations

import math
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial, norm, ttest_1samp

from hpcretrain.stats.compare import compare, spend, tango_lower
from hpcretrain.stats.metrics import METRICS

FloatArray = npt.NDArray[np.float64]
Sample = tuple[FloatArray, FloatArray, FloatArray]


def draw(metric: str, n: int, rng: np.random.Generator, *, old: float = 0.5, new: float = 0.5) -> Sample:
    """Labels and predictions of an old and a new model that know the truth up to noise of that size."""
    truth = rng.normal(size=n)
    seen = [truth + noise * rng.normal(size=n) for noise in (old, new)]
    if METRICS[metric].task == "regression":
        return truth + rng.normal(size=n), seen[0], seen[1]
    y = (rng.random(n) < 1 / (1 + np.exp(-truth))).astype(np.float64)
    return y, 1 / (1 + np.exp(-seen[0])), 1 / (1 + np.exp(-seen[1]))


def right(wins: int, losses: int, both: int, neither: int) -> Sample:
    """Labels of 1 and predictions that are right on that many rows."""
    old = [0.1] * wins + [0.9] * losses + [0.9] * both + [0.1] * neither
    new = [0.9] * wins + [0.1] * losses + [0.9] * both + [0.1] * neither
    return np.ones(len(old)), np.array(old), np.array(new)


@pytest.mark.parametrize("metric", METRICS)
def test_a_better_model_gains_and_the_worse_one_loses_whichever_way_the_metric_goes(metric: str) -> None:
    y, old, new = draw(metric, 2000, np.random.default_rng(1), old=2.0, new=0.1)
    better = compare(metric, y, old, new, alpha=0.05)
    worse = compare(metric, y, new, old, alpha=0.05)
    assert better.gain > better.lower > 0
    assert better.p_value < 0.001
    assert worse.gain == pytest.approx(-better.gain)
    assert worse.lower < worse.gain
    assert worse.p_value > 0.99
    assert abs(better.new - better.old) == pytest.approx(better.gain)
    assert (better.old, better.new, better.n) == (worse.new, worse.old, 2000)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [2, 300, 6000])
def test_a_model_is_never_better_than_itself(metric: str, n: int) -> None:
    y, old, _ = draw(metric, n, np.random.default_rng(8))
    y[:2] = 0, 1
    result = compare(metric, y, old, old, alpha=0.05)
    assert (result.gain, result.p_value) == (0, 1)
    z2 = norm.ppf(0.95) ** 2
    assert result.lower == (pytest.approx(-z2 / (n + z2)) if metric == "accuracy" else 0)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_models_are_called_better_no_more_often_than_alpha(metric: str) -> None:
    rng = np.random.default_rng(2)
    p_values = np.array([compare(metric, *draw(metric, 60, rng), alpha=0.05).p_value for _ in range(2000)])
    # Three standard errors of the share above alpha, and half a point for what a bootstrap of 60 rows lacks.
    assert np.mean(p_values <= 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000) + 0.005
    assert np.mean(p_values <= 0.05) > 0.01


@pytest.mark.parametrize("metric", ["auc", "brier", "rmse", "mae"])
@pytest.mark.parametrize("n", [300, 6000])
def test_the_bound_lies_above_0_exactly_when_p_is_at_most_alpha(metric: str, n: int) -> None:
    rng = np.random.default_rng(3)
    results = [compare(metric, *draw(metric, n, rng, old=0.6), alpha=0.2) for _ in range(40)]
    found = [result.p_value <= 0.2 for result in results]
    assert [result.lower > 0 for result in results] == found
    assert sum(found) > 0
    assert n == 6000 or sum(found) < 40


@pytest.mark.parametrize("metric", ["log_loss", "rmse"])
def test_p_of_the_bootstrap_is_the_least_alpha_whose_bound_lies_above_0(metric: str) -> None:
    sample = draw(metric, 300, np.random.default_rng(14), old=0.6)
    p_value = compare(metric, *sample, alpha=0.05).p_value
    assert 0.01 < p_value < 0.49
    assert compare(metric, *sample, alpha=p_value * (1 + 1e-9)).lower > 0
    assert compare(metric, *sample, alpha=p_value * (1 - 1e-9)).lower <= 0


def test_paired_delong_agrees_with_brute_force_covariances_of_placement_values_also_with_ties() -> None:
    y, old, new = draw("auc", 150, np.random.default_rng(4), old=1.0)
    old, new = np.round(old, 1), np.round(new, 1)

    def outranks(p: FloatArray) -> FloatArray:
        positive, negative = p[y == 1], p[y == 0]
        wins: FloatArray = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
        return wins

    kernels = [outranks(old), outranks(new)]
    by_positive = np.cov([kernel.mean(axis=1) for kernel in kernels]) / np.count_nonzero(y == 1)
    by_negative = np.cov([kernel.mean(axis=0) for kernel in kernels]) / np.count_nonzero(y == 0)
    contrast = np.array([-1.0, 1.0])
    se = math.sqrt(contrast @ (by_positive + by_negative) @ contrast)
    gain = kernels[1].mean() - kernels[0].mean()
    result = compare("auc", y, old, new, alpha=0.05)
    assert result.gain == pytest.approx(gain)
    assert result.lower == pytest.approx(gain - norm.ppf(0.95) * se)
    assert result.p_value == pytest.approx(norm.sf(gain / se))


def test_predictions_that_rank_alike_have_no_gain_of_auc() -> None:
    y, old, _ = draw("auc", 200, np.random.default_rng(5))
    result = compare("auc", y, old, old**3, alpha=0.05)
    assert (result.gain, result.lower, result.p_value) == (0, 0, 1)


def test_a_difference_of_auc_without_variance_is_nan_not_certain() -> None:
    result = compare("auc", [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], [0.1, 0.2, 0.8, 0.9], alpha=0.05)
    assert (result.old, result.new) == (0.5, 1)
    assert all(math.isnan(value) for value in (result.gain, result.lower, result.p_value))


def test_mcnemar_agrees_with_the_binomial_by_hand() -> None:
    result = compare("accuracy", *right(8, 2, 80, 10), alpha=0.05)
    assert result.p_value == pytest.approx((45 + 10 + 1) / 1024)
    assert result.gain == pytest.approx(0.06)
    assert compare("accuracy", *right(0, 0, 9, 1), alpha=0.05).p_value == 1


def test_tango_agrees_with_both_published_limits_of_an_example() -> None:
    # Fagerland, Lydersen & Laake (2017), Statistical Analysis of Contingency Tables, chapter 8: complete response
    # before and after consolidation therapy (Cavo 2012), 6 and 16 discordant of 161, 95 % from -0.1240 to -0.0054.
    z = float(norm.ppf(0.975))
    assert tango_lower(6, 16, 161, z) == pytest.approx(-0.1240, abs=5e-5)
    assert -tango_lower(16, 6, 161, z) == pytest.approx(-0.0054, abs=5e-5)


@pytest.mark.parametrize(
    ("wins", "losses", "n"), [(12, 2, 50), (2, 12, 50), (5, 5, 40), (3, 0, 30), (0, 3, 30), (0, 0, 30), (30, 0, 30)]
)
def test_tango_solves_the_score_equation_under_a_numeric_maximum_of_the_likelihood(
    wins: int, losses: int, n: int
) -> None:
    z = float(norm.ppf(0.95))
    bound = tango_lower(wins, losses, n, z)

    def unlikelihood(lost: float) -> float:
        cells = ((wins, lost + bound), (losses, lost), (n - wins - losses, 1 - 2 * lost - bound))
        return -sum(count * math.log(share) for count, share in cells if count)

    span = (max(0.0, -bound) + 1e-12, (1 - bound) / 2 - 1e-12)
    lost = minimize_scalar(unlikelihood, bounds=span, method="bounded", options={"xatol": 1e-12}).x
    statistic = (wins - losses - n * bound) / math.sqrt(n * (2 * lost + bound * (1 - bound)))
    assert statistic == pytest.approx(z, rel=1e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.floats(0.01, 4))
@settings(deadline=None)
def test_tango_is_defined_for_every_table_and_lies_below_the_gain(wins: int, losses: int, rest: int, z: float) -> None:
    n = max(wins + losses + rest, 1)
    bound = tango_lower(wins, losses, n, z)
    assert -1 <= bound <= (wins - losses) / n
    assert bound >= tango_lower(wins, losses, n, z + 0.1)


@pytest.mark.parametrize(("win", "lose"), [(0.05, 0.05), (0.02, 0.05), (0.15, 0.1), (0.01, 0.01)])
def test_tango_covers_the_true_difference_nearly_as_often_as_it_says(win: float, lose: float) -> None:
    n, z = 30, float(norm.ppf(0.95))
    tables = [(w, x) for w, x in product(range(n + 1), repeat=2) if w + x <= n]
    cells = [(w, x, n - w - x) for w, x in tables]
    likely = multinomial(n, [win, lose, 1 - win - lose]).pmf(cells)
    covered = [tango_lower(w, x, n, z) <= win - lose for w, x in tables]
    assert 0.93 < np.sum(likely[covered]) < 0.999


@pytest.mark.parametrize("metric", ["log_loss", "brier", "mae", "rmse"])
def test_the_bootstrap_agrees_with_student_where_both_hold(metric: str) -> None:
    y, old, new = draw(metric, 5001, np.random.default_rng(6), old=0.55)
    student = compare(metric, y, old, new, alpha=0.05)
    bootstrap = compare(metric, y[1:], old[1:], new[1:], alpha=0.05)
    assert "Student" in student.method
    assert "bootstrap" in bootstrap.method
    se = (student.gain - student.lower) / 1.645
    assert bootstrap.lower == pytest.approx(student.lower, abs=0.15 * se)
    assert bootstrap.p_value == pytest.approx(student.p_value, abs=0.02)


def test_many_rows_are_compared_by_the_paired_t_test_of_scipy() -> None:
    y, old, new = draw("mae", 6000, np.random.default_rng(7), old=0.55)
    result = compare("mae", y, old, new, alpha=0.01)
    expected = ttest_1samp(np.abs(y - old) - np.abs(y - new), 0, alternative="greater")
    assert result.p_value == pytest.approx(expected.pvalue)
    assert result.lower == pytest.approx(expected.confidence_interval(0.99).low)


def test_the_bootstrap_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    sample = draw("log_loss", 400, np.random.default_rng(9))
    assert compare("log_loss", *sample, alpha=0.05) == compare("log_loss", *sample, alpha=0.05, seed=0)
    assert compare("log_loss", *sample, alpha=0.05) != compare("log_loss", *sample, alpha=0.05, seed=1)


def test_the_bootstrap_resolves_a_small_alpha_and_refuses_what_it_cannot_resolve() -> None:
    sample = draw("mae", 500, np.random.default_rng(10), old=3.0, new=0.1)
    small = spend(0.05, 10)
    result = compare("mae", *sample, alpha=small)
    assert result.p_value <= small
    assert result.lower > 0
    finer = compare("mae", *sample, alpha=1e-5)
    assert finer.p_value > 1e-5
    assert math.isnan(finer.lower)


def test_what_cancels_is_no_gain_of_the_bootstrap() -> None:
    # Gains of 0.1, 0.2 and -0.3, whose sum is 0 but not in floating point.
    resamples = list(product((1, 2, -3), repeat=3))
    not_better = sum(sum(gains) <= 0 for gains in resamples) / len(resamples)
    result = compare("mae", [0, 0, 0], [0.1, 0.2, 0.0], [0.0, 0.0, 0.3], alpha=0.05)
    assert result.p_value == pytest.approx(not_better, abs=0.03)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("broken", ["label", "old", "new"])
@pytest.mark.parametrize("n", [100, 6000])
def test_one_value_that_is_not_finite_leaves_nothing_to_conclude(metric: str, broken: str, n: int) -> None:
    y, old, new = draw(metric, n, np.random.default_rng(11))
    {"label": y, "old": old, "new": new}[broken][3] = math.nan
    result = compare(metric, y, old, new, alpha=0.05)
    assert all(math.isnan(value) for value in (result.gain, result.lower, result.p_value))
    assert math.isnan(result.old) == (broken != "new")
    assert math.isnan(result.new) == (broken != "old")


@pytest.mark.parametrize("metric", METRICS)
def test_one_row_or_none_leaves_nothing_to_conclude(metric: str) -> None:
    for rows in ([], [1.0]):
        result = compare(metric, rows, rows, rows, alpha=0.05)
        assert all(math.isnan(value) for value in (result.gain, result.lower, result.p_value))


@pytest.mark.parametrize("metric", ["rmse", "mae"])
@pytest.mark.parametrize("n", [100, 6000])
def test_errors_too_large_to_square_never_give_infinity(metric: str, n: int) -> None:
    y, old, new = draw(metric, n, np.random.default_rng(13))
    for size in (1e100, 1e200, 1e300):
        result = compare(metric, y, old * size, new * size, alpha=0.05)
        assert not any(math.isinf(value) for value in (result.old, result.gain, result.lower, result.p_value))


def test_auc_of_one_class_leaves_nothing_to_conclude() -> None:
    result = compare("auc", [1, 1, 1], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], alpha=0.05)
    assert all(math.isnan(value) for value in (result.old, result.gain, result.lower, result.p_value))


@pytest.mark.parametrize("alpha", [0.0, 0.5, -0.1, math.nan])
def test_a_level_outside_of_its_range_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha is"):
        compare("mae", [1, 2], [1, 2], [1, 2], alpha=alpha)


def test_unequal_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        compare("mae", [1, 2], [1, 2], [1, 2, 3], alpha=0.05)


def test_all_uses_together_spend_alpha() -> None:
    spent = math.fsum(spend(0.05, use) for use in range(1, 100_000))
    assert spent < 0.05
    assert spent == pytest.approx(0.05, rel=1e-4)
    assert spend(0.05, 1) == pytest.approx(0.0304, abs=1e-4)


@pytest.mark.parametrize("use", [0, -1])
def test_uses_count_from_1(use: int) -> None:
    with pytest.raises(ValueError, match=f"use is {use}"):
        spend(0.05, use)

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from hpcretrain.stats.drift import Drift, psi

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12).filter(
    lambda bins: sum(a for a, _ in bins) > 0 and sum(b for _, b in bins) > 0
)


def columns(bins: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [a for a, _ in bins], [b for _, b in bins]


def shares(bins: int, shape: str) -> npt.NDArray[np.float64]:
    weights = np.ones(bins) if shape == "even" else 1 / np.arange(1, bins + 1) ** 1.5
    normed: npt.NDArray[np.float64] = weights / weights.sum()
    return normed


def stationary(bins: int, shape: str, n: int, m: int, *, z: float, repeats: int) -> list[Drift]:
    rng = np.random.default_rng(0)
    share = shares(bins, shape)
    pairs = zip(rng.multinomial(n, share, repeats), rng.multinomial(m, share, repeats), strict=True)
    return [psi(reference, counts, z=z) for reference, counts in pairs]


def test_psi_of_two_bins_agrees_with_the_sum_by_hand() -> None:
    drift = psi([60, 40], [30, 70], z=2)
    p, q = 60.5 / 101, 30.5 / 101
    by_hand = (p - q) * math.log(p / q) + (q - p) * math.log((1 - p) / (1 - q))
    assert drift.effect == pytest.approx(by_hand - 0.02)
    assert (drift.n, drift.m) == (100, 100)


def test_the_standard_error_of_two_bins_agrees_with_a_derivative_by_differences() -> None:
    def index(p: float, q: float) -> float:
        return (p - q) * math.log(p / q) + (q - p) * math.log((1 - p) / (1 - q))

    p, q, step = 60.5 / 101, 60.5 / 201, 1e-6
    by_p = (index(p + step, q) - index(p - step, q)) / (2 * step)
    by_q = (index(p, q + step) - index(p, q - step)) / (2 * step)
    chance = 1 / 100 + 1 / 200
    variance = 2 * chance**2 + by_p**2 * p * (1 - p) / 100 + by_q**2 * q * (1 - q) / 200
    drift = psi([60, 40], [60, 140], z=3)
    assert drift.effect - drift.lower_bound == pytest.approx(3 * math.sqrt(variance), rel=1e-6)


@pytest.mark.parametrize("bins", [3, 10, 60])
@pytest.mark.parametrize("shape", ["even", "skewed"])
@pytest.mark.parametrize(("n", "m"), [(500, 500), (5000, 500), (5000, 5000)])
def test_stationary_samples_hardly_ever_have_a_lower_bound_above_0(bins: int, shape: str, n: int, m: int) -> None:
    # Of 2,000 each, none was above 0; the highest bound was -0.0024. With 100,000 against 1,000 in 60 bins, one was.
    bounds = [drift.lower_bound for drift in stationary(bins, shape, n, m, z=2.5, repeats=300)]
    assert np.mean(np.greater(bounds, 0)) <= 0.01
    assert max(bounds) < 0.005


@pytest.mark.parametrize("bins", [3, 10])
@pytest.mark.parametrize(("n", "m"), [(500, 500), (5000, 500), (5000, 5000)])
def test_the_effect_of_stationary_samples_is_0_on_average(bins: int, n: int, m: int) -> None:
    effects = [drift.effect for drift in stationary(bins, "even", n, m, z=2.5, repeats=1000)]
    assert abs(np.mean(effects)) < 4 * np.std(effects) / math.sqrt(len(effects))


def test_few_values_a_bin_make_the_effect_too_small_never_too_large() -> None:
    effects = [drift.effect for drift in stationary(60, "skewed", 500, 500, z=2.5, repeats=300)]
    assert -0.06 < np.mean(effects) < 0


def test_a_shift_of_three_tenths_of_a_standard_deviation_is_seen_at_5000_rows() -> None:
    edges = np.concatenate(([-np.inf], norm.ppf(np.arange(1, 10) / 10), [np.inf]))
    before, after = np.diff(norm.cdf(edges)), np.diff(norm.cdf(edges - 0.3))
    truth = float(np.sum((before - after) * np.log(before / after)))
    rng = np.random.default_rng(6)
    pairs = zip(rng.multinomial(5000, before, 200), rng.multinomial(5000, after, 200), strict=True)
    drifts = [psi(reference, counts, z=2.5) for reference, counts in pairs]
    bounds = [drift.lower_bound for drift in drifts]
    assert np.mean([drift.effect for drift in drifts]) == pytest.approx(truth, rel=0.03)
    assert np.median(bounds) > 0.045
    assert np.quantile(bounds, 0.05) > 0.03
    assert max(bounds) < truth


@given(COUNTS)
@settings(deadline=None)
def test_which_sample_is_the_reference_and_the_order_of_bins_do_not_matter(bins: list[tuple[int, int]]) -> None:
    reference, counts = columns(bins)
    drift, swapped = psi(reference, counts, z=2), psi(counts, reference, z=2)
    reverse = psi(reference[::-1], counts[::-1], z=2)
    for other in (swapped, reverse):
        assert other.effect == pytest.approx(drift.effect, abs=1e-9)
        assert other.lower_bound == pytest.approx(drift.lower_bound, abs=1e-9)
    assert (swapped.n, swapped.m) == (drift.m, drift.n)


@given(COUNTS)
@settings(deadline=None)
def test_bins_that_are_empty_in_both_samples_change_nothing(bins: list[tuple[int, int]]) -> None:
    reference, counts = columns(bins)
    more, same = psi([*reference, 0, 0], [*counts, 0, 0], z=2), psi(reference, counts, z=2)
    assert (more.effect, more.lower_bound) == pytest.approx((same.effect, same.lower_bound), rel=1e-12, nan_ok=True)
    assert (more.n, more.m) == (same.n, same.m)


@given(COUNTS, st.floats(0, 5))
@settings(deadline=None)
def test_numbers_are_finite_and_the_bound_is_below_the_effect(bins: list[tuple[int, int]], z: float) -> None:
    drift = psi(*columns(bins), z=z)
    assert math.isfinite(drift.effect)
    assert drift.lower_bound <= drift.effect


def test_a_new_category_is_finite_drift() -> None:
    drift = psi([1000, 0], [700, 300], z=2.5)
    assert math.isfinite(drift.effect)
    assert drift.lower_bound > 0.1


def test_a_single_bin_cannot_drift() -> None:
    drift = psi([100, 0], [7, 0], z=2.5)
    assert (drift.effect, drift.lower_bound) == (0, 0)


@pytest.mark.parametrize(("reference", "counts"), [([0, 0], [3, 4]), ([3, 4], [0, 0]), ([], [])])
def test_an_empty_sample_is_nan(reference: list[int], counts: list[int]) -> None:
    drift = psi(reference, counts, z=2.5)
    assert math.isnan(drift.effect)
    assert math.isnan(drift.lower_bound)
    assert (drift.n, drift.m) == (sum(reference), sum(counts))


@pytest.mark.parametrize(
    ("reference", "counts", "seen"),
    [([1, 2], [1, 2, 3], "2 reference bins and 3"), ([1, -2], [1, 2], "0 and more"), ([1, math.nan], [1, 2], "finite")],
)
def test_counts_that_do_not_fit_are_refused(reference: list[float], counts: list[float], seen: str) -> None:
    with pytest.raises(ValueError, match=seen):
        psi(reference, counts, z=2.5)

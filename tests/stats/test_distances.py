from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from hpcretrain.stats.drift import Transport, jensen_shannon, wasserstein

COUNTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), min_size=1, max_size=12).filter(
    lambda bins: sum(a for a, _ in bins) > 0 and sum(b for _, b in bins) > 0
)
VALUES = st.lists(st.floats(-10, 10), min_size=1, max_size=40)
EDGES = st.lists(st.floats(-9, 9), min_size=2, max_size=8).map(sorted)


def binned(edges: list[float], values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def unit(edges: list[float], values: list[float]) -> float:
    """The standard deviation of a mixture of points at the ends and even spreads between the edges."""
    share = binned(edges, values) / len(values)
    ends = np.array([edges[0], *edges, edges[-1]])
    first, second = (ends[:-1] + ends[1:]) / 2, (ends[:-1] ** 2 + ends[:-1] * ends[1:] + ends[1:] ** 2) / 3
    return math.sqrt(max(share @ second - (share @ first) ** 2, 0.0))


@given(COUNTS)
@settings(deadline=None)
def test_the_jensen_shannon_distance_lies_between_0_and_1_and_does_not_mind_order(bins: list[tuple[int, int]]) -> None:
    reference, counts = [a for a, _ in bins], [b for _, b in bins]
    distance = jensen_shannon(reference, counts)
    assert 0 <= distance <= 1
    assert jensen_shannon(counts, reference) == pytest.approx(distance, abs=1e-7)
    assert jensen_shannon(reference[::-1], counts[::-1]) == pytest.approx(distance, abs=1e-7)
    assert jensen_shannon([*reference, 0], [*counts, 0]) == pytest.approx(distance, abs=1e-7)


def test_the_jensen_shannon_distance_of_two_bins_agrees_with_the_sum_by_hand() -> None:
    # p = (1, 0), q = (1/2, 1/2), mean (3/4, 1/4).
    divergence = (math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5 * math.log2(2)) / 2
    assert jensen_shannon([5, 0], [7, 7]) == pytest.approx(math.sqrt(divergence))
    assert jensen_shannon([5, 0], [0, 7]) == 1
    assert jensen_shannon([1, 2], [10, 20]) == 0


def test_chance_alone_makes_the_square_of_the_jensen_shannon_distance_as_large_as_is_said() -> None:
    rng, bins, n, m = np.random.default_rng(1), 10, 5000, 1000
    share = np.full(bins, 1 / bins)
    pairs = zip(rng.multinomial(n, share, 500), rng.multinomial(m, share, 500), strict=True)
    squares = [jensen_shannon(*pair) ** 2 for pair in pairs]
    assert np.mean(squares) == pytest.approx((bins - 1) * (1 / n + 1 / m) / (8 * math.log(2)), rel=0.06)


@given(VALUES, VALUES, EDGES)
@settings(deadline=None)
def test_the_wasserstein_distance_of_clipped_values_lies_within_the_bounds(
    reference: list[float], values: list[float], edges: list[float]
) -> None:
    sd = unit(edges, reference)
    result = wasserstein(edges, binned(edges, reference), binned(edges, values))
    if sd < 1e-6:
        # Rounding decides whether that is 0.
        return
    clipped = [np.clip(sample, edges[0], edges[-1]) for sample in (reference, values)]
    truth = wasserstein_distance(*clipped) / sd
    assert result.lower - 1e-6 <= truth <= result.upper + 1e-6
    assert result.lower - 1e-9 <= result.distance <= result.upper + 1e-9


@given(VALUES, VALUES, EDGES)
@settings(deadline=None)
def test_the_wasserstein_distance_is_that_of_values_laid_out_evenly(
    reference: list[float], values: list[float], edges: list[float]
) -> None:
    sd = unit(edges, reference)
    if sd < 1e-3:
        return
    counts = binned(edges, reference), binned(edges, values)
    ends, steps = [edges[0], *edges, edges[-1]], (np.arange(200) + 0.5) / 200
    places = np.concatenate([low + (high - low) * steps for low, high in pairwise(ends)])
    even = wasserstein_distance(places, places, *(np.repeat(count, 200) for count in counts))
    assert wasserstein(edges, *counts).distance == pytest.approx(even / sd, abs=0.02 * (edges[-1] - edges[0]) / sd)


def test_the_bounds_are_reached() -> None:
    # All values of a bin at one of its ends, and those of the other sample at the other.
    edges, low, high = [0.0, 1.0, 2.0], [0.0] * 3 + [1.0] * 3, [0.999999] * 3 + [2.0 - 1e-6] * 3
    result = wasserstein(edges, binned(edges, low), binned(edges, high))
    sd = unit(edges, low)
    assert wasserstein_distance(low, high) / sd == pytest.approx(result.upper, rel=1e-5)
    assert (result.distance, result.lower) == (0, 0)


def test_a_shift_of_a_tenth_of_a_standard_deviation_is_nearly_that_in_tenths_of_the_reference() -> None:
    reference = np.random.default_rng(2).normal(size=50_000)
    edges = np.quantile(reference, np.arange(1, 10) / 10).tolist()
    result = wasserstein(edges, binned(edges, reference), binned(edges, reference + 0.1))
    assert result.distance == pytest.approx(0.1, abs=0.01)


def test_a_stray_value_does_not_decide_the_distance() -> None:
    reference = np.random.default_rng(3).normal(size=2000)
    edges = np.quantile(reference, np.arange(1, 10) / 10).tolist()
    stray = np.where(np.arange(2000) == 0, 1e12, reference)
    assert wasserstein(edges, binned(edges, reference), binned(edges, stray)).distance < 0.01


def test_one_edge_measures_two_values_whatever_they_are() -> None:
    result = wasserstein([37.0], [80, 20], [30, 70])
    assert result.distance == result.lower == result.upper == pytest.approx(0.5 / math.sqrt(0.8 * 0.2))


@pytest.mark.parametrize(("reference", "counts"), [([0, 0, 0], [1, 2, 3]), ([1, 2, 3], [0, 0, 0])])
def test_distances_from_an_empty_sample_are_nan(reference: list[int], counts: list[int]) -> None:
    assert math.isnan(jensen_shannon(reference, counts))
    assert all(math.isnan(value) for value in vars(wasserstein([0.0, 1.0], reference, counts)).values())


@pytest.mark.parametrize(
    ("edges", "reference"),
    [([0.0, 1.0], [5, 0, 0]), ([], [5]), ([2.0], [5, 0]), ([-1.7e308, 1.7e308], [5, 5, 5])],
)
def test_a_reference_that_does_not_vary_or_overflows_gives_no_unit(edges: list[float], reference: list[int]) -> None:
    result: Transport = wasserstein(edges, reference, [1] * len(reference))
    assert all(math.isnan(value) for value in vars(result).values())


@pytest.mark.parametrize(
    ("edges", "seen"),
    [([0.0], r"\(1,\) for 3 bins"), ([0.0, math.inf], "2 finite"), ([1.0, 0.0], "not in order")],
)
def test_edges_that_do_not_fit_are_refused(edges: list[float], seen: str) -> None:
    with pytest.raises(ValueError, match=seen):
        wasserstein(edges, [1, 2, 3], [1, 2, 3])


def test_counts_in_other_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="2 reference bins and 3"):
        jensen_shannon([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="0 and more"):
        wasserstein([1.0], [1, -2], [1, 2])

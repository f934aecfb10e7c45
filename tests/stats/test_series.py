from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.stats.series import BLOCKS, rise


def test_the_bound_is_the_mean_less_the_error_of_block_means() -> None:
    found = rise(np.array([1.0, 3.0] * BLOCKS), 1.0)
    assert (found.effect, found.lower_bound, found.n, found.reference) == (1.0, 1.0, 12, 1.0)
    # Block means 1 to 6 have the standard error sqrt(3.5 / 6); Student's t of 0.99 on 5 degrees of freedom is 3.36493.
    assert rise(np.arange(1.0, 7.0), 0.0).lower_bound == pytest.approx(3.5 - 3.36493 * math.sqrt(3.5 / 6), abs=1e-4)


def test_the_error_of_the_reference_counts_too() -> None:
    sure, unsure = rise(np.full(6, 2.0), np.ones(6)), rise(np.full(6, 2.0), np.array([0.0, 2.0] * 3))
    assert sure.lower_bound == 1.0
    assert unsure.lower_bound is not None
    assert unsure.lower_bound < 1.0


def test_too_few_samples_have_no_bound() -> None:
    assert rise(np.ones(BLOCKS - 1), 0.0).lower_bound is None
    assert rise(np.ones(BLOCKS), np.ones(BLOCKS - 1)).lower_bound is None


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_what_is_not_finite_makes_the_effect_not_finite(odd: float) -> None:
    assert not math.isfinite(rise(np.array([1.0] * 9 + [odd]), 0.0).effect)


def test_correlated_samples_seldom_pass_for_a_rise() -> None:
    chance, wrong = np.random.default_rng(5), 0
    for _ in range(300):
        noise = chance.standard_normal(300)
        values = np.empty(300)
        values[0] = noise[0]
        for k in range(1, 300):
            values[k] = 0.8 * values[k - 1] + noise[k]
        wrong += (rise(values[60:], 0.0).lower_bound or 0.0) > 0
    assert wrong / 300 < 0.04


@given(st.lists(st.floats(), min_size=1, max_size=20), st.lists(st.floats(), min_size=1, max_size=20))
def test_the_bound_is_never_above_the_effect(values: list[float], reference: list[float]) -> None:
    found = rise(np.array(values), np.array(reference))
    if found.lower_bound is not None and math.isfinite(found.effect) and math.isfinite(found.lower_bound):
        assert found.lower_bound <= found.effect

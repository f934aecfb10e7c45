from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records_for_tests import POLICY

from hpcretrain.policy.sample import draw, enough_of_each, within
from hpcretrain.policy.types import WindowName

TRAINING = POLICY.training
AGES = np.linspace(1e6, 0, 20_000)
WINDOWS: tuple[WindowName, ...] = ("all", "recent", "decayed")


@pytest.mark.parametrize("window", WINDOWS)
def test_a_draw_is_the_same_for_the_same_seed_and_another_for_another(window: WindowName) -> None:
    first, again, other = (draw(AGES, window, 3000, seed, TRAINING) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@given(st.integers(0, 500), st.integers(1, 400), st.sampled_from(WINDOWS), st.integers(0, 5))
@settings(deadline=None)
def test_no_draw_reads_more_than_it_may_or_outside_its_window(
    rows: int, most: int, window: WindowName, seed: int
) -> None:
    ages = np.sort(np.random.default_rng(seed).uniform(0, 1e6, rows))[::-1]
    drawn = draw(ages, window, most, seed, TRAINING)
    # A decayed draw takes each row by chance: its size spreads by less than the root of what is expected.
    assert drawn.sum() <= most + (6 * np.sqrt(most) if window == "decayed" else 0)
    assert not (drawn & ~within(ages, window, TRAINING)).any()


def test_what_fits_is_read_whole() -> None:
    assert draw(AGES, "all", len(AGES), 1, TRAINING).all()
    recent = within(AGES, "recent", TRAINING)
    assert np.array_equal(draw(AGES, "recent", len(AGES), 1, TRAINING), recent)
    assert recent.mean() == pytest.approx(TRAINING.recent_share, abs=1e-3)


def test_a_decayed_draw_takes_half_as_many_rows_a_half_life_earlier() -> None:
    drawn = draw(AGES, "decayed", len(AGES), 1, TRAINING)
    half_life = TRAINING.half_life_share * AGES[0]
    newest, before = (drawn[(k * half_life <= AGES) & ((k + 1) * half_life > AGES)].sum() for k in (0, 1))
    assert before / newest == pytest.approx(0.5, abs=0.05)
    assert drawn[-1]


@pytest.mark.parametrize(("labels", "rows"), [("0110100", 5), ("1111011", 0), ("00110", 4), ("", 0)])
def test_enough_of_each_class_reaches_back_as_far_as_it_takes(labels: str, rows: int) -> None:
    assert enough_of_each(np.array([float(label) for label in labels]), "binary", 2) == rows
    assert enough_of_each(np.array([float(label) for label in labels]), "regression", 2) == 0

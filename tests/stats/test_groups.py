from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from hpcretrain.stats.groups import FEWEST, Apart, Groups, between, miscalibration, within

PARTS = 10


def drawn(rng: np.random.Generator, rows: int, means: np.ndarray) -> Groups:
    place = rng.integers(0, len(means), rows)
    return Groups.of(place, rng.normal(size=rows) + means[place])


def test_groups_hold_count_mean_and_squares_around_it() -> None:
    groups = Groups.of([0, 2, 2, 2], [5.0, 1.0, 2.0, 6.0])
    assert groups.rows.tolist() == [1, 0, 3]
    assert groups.means.tolist() == [5, 0, 3]
    assert groups.squares.tolist() == [0, 0, 14]
    assert not len(Groups.of([], []).rows)


def test_means_that_differ_by_chance_alone_lie_apart_by_nothing_on_average_and_as_widely_as_is_said() -> None:
    rng = np.random.default_rng(1)
    found = [within(drawn(rng, 1_000, np.zeros(PARTS))) for _ in range(1_000)]
    values = np.array([each.value for each in found])
    assert abs(values.mean()) < 4 * values.std() / math.sqrt(len(values))
    assert found[0].chance_se == pytest.approx(values.std(), rel=0.2)


def test_chance_lifts_the_bound_above_0_no_more_often_than_is_said() -> None:
    rng = np.random.default_rng(2)
    pairs = ((drawn(rng, 1_500, np.zeros(PARTS)), drawn(rng, 1_500, np.zeros(PARTS))) for _ in range(2_000))
    found = [between(newer, older) for newer, older in pairs]
    lifted = [sum(each.lower(p) > 0 for each in found) / len(found) for p in (0.05, 0.002)]
    assert 0.03 < lifted[0] < 0.07
    assert lifted[1] < 0.006
    # A normal's tail, which is not this one's, would be passed more often.
    assert sum(each.value > 2.88 * each.chance_se for each in found) / len(found) > 0.006


@pytest.mark.parametrize(("rate", "risen"), [(0.01, 0.05), (0.05, 0.1), (0.4, 0.4)])
def test_a_rate_that_rose_everywhere_lifts_no_bound(rate: float, risen: float) -> None:
    rng = np.random.default_rng(6)

    def sample(rows: int, share: float) -> Groups:
        return Groups.of(rng.integers(0, PARTS, rows), rng.random(rows) < share)

    found = [between(sample(500, risen), sample(5_000, rate)).lower(0.002) for _ in range(500)]
    assert sum(each > 0 for each in found) <= 5


def test_what_truly_lies_apart_is_found_and_its_bound_is_below_it_about_as_often_as_is_said() -> None:
    rng, means = np.random.default_rng(3), np.linspace(-0.3, 0.3, PARTS)
    found = [within(drawn(rng, 1_000, means)) for _ in range(500)]
    assert np.mean([each.value for each in found]) == pytest.approx(means.var(), rel=0.1)
    assert 0.85 < np.mean([each.lower(0.05) < means.var() for each in found]) <= 1
    assert np.mean([each.lower(0.001) > 0 for each in found]) > 0.5
    assert np.mean([each.se for each in found]) == pytest.approx(np.std([each.value for each in found]), rel=0.3)


@settings(deadline=None, max_examples=20)
@given(st.floats(-1e3, 1e3))
def test_what_all_groups_moved_together_does_not_count(shift: float) -> None:
    rng = np.random.default_rng(4)
    older, place, values = drawn(rng, 2_000, np.zeros(PARTS)), rng.integers(0, PARTS, 2_000), rng.normal(size=2_000)
    alone, moved = between(Groups.of(place, values), older), between(Groups.of(place, values + shift), older)
    assert moved.value == pytest.approx(alone.value, abs=1e-9)
    assert moved.chance == pytest.approx(alone.chance)


def test_groups_of_few_rows_do_not_count() -> None:
    few = [0] * 100 + [1] * (FEWEST - 1) + [2] * 100
    values = [0.0, 1.0] * 50 + [9.0] * (FEWEST - 1) + [0.0, 1.0] * 50
    newer = Groups.of(few, values)
    assert between(newer, newer).value == pytest.approx(-between(newer, newer).chance)
    assert within(newer).value < 0
    alone = Groups.of([0] * 50, [0.0, 1.0] * 25)
    assert math.isnan(within(alone).value)
    assert math.isnan(between(newer, alone).lower(0.01))


def test_what_no_chance_has_a_part_in_is_its_own_bound() -> None:
    certain = Groups.of([0] * 50 + [1] * 50, [0.0] * 50 + [1.0] * 50)
    assert within(certain) == Apart(0.25, 0.0, 0.0)
    assert within(certain).lower(0.001) == 0.25


def test_a_bold_model_is_off_at_both_ends_a_calibrated_one_nowhere_and_a_biased_one_everywhere_alike() -> None:
    rng = np.random.default_rng(5)
    score = rng.normal(size=50_000)
    labels = (rng.random(len(score)) < expit(score)).astype(float)
    right, bold = miscalibration("binary", labels, expit(score)), miscalibration("binary", labels, expit(2 * score))
    assert right.value < 4 * right.se
    assert bold.value == pytest.approx(np.var(expit(2 * score) - expit(score)), rel=0.1)
    assert bold.value > 10 * bold.se
    values = score + rng.normal(size=len(score))
    shifted, flat = (miscalibration("regression", values, told) for told in (score + 3, score / 2))
    assert shifted.value < 4 * shifted.se
    assert flat.value == pytest.approx(0.25, rel=0.1)


@pytest.mark.parametrize(
    ("labels", "predictions"),
    [([], []), ([0.0, 1.0] * 50, [0.5] * 100), ([0.0, 1.0] * 50, [math.nan] * 100), ([0.0, 1.0] * 5, [0.2, 0.8] * 5)],
)
def test_miscalibration_that_cannot_be_told_is_not_a_number(labels: list[float], predictions: list[float]) -> None:
    found = miscalibration("binary", labels, predictions)
    assert math.isnan(found.value)
    assert math.isnan(found.se)
    with pytest.raises(ValueError, match="task"):
        miscalibration("ranking", labels, predictions)

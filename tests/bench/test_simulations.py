from __future__ import annotations

import numpy as np
import pytest
from bench.releases import Contest, draw, promoted
from bench.simulate import Change, World, asks, days, past, scored, watch
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.config.load import shipped_policy
from hpcretrain.counts import totals
from hpcretrain.records import Family, Outcome
from hpcretrain.stats.metrics import bias, measure

SMALL = World(rows=1_000, days=12, features=4)


@settings(deadline=None, max_examples=10)
@given(st.floats(0.6, 0.9), st.floats(0.0, 0.08), st.integers(0, 99))
def test_simulated_scores_have_the_auc_asked_for_and_lose_it_without_bias(auc: float, lost: float, seed: int) -> None:
    world = World(auc=auc)
    labels, predictions = scored(world, 40_000, auc - lost, np.random.default_rng(seed))
    found, off = measure("auc", labels, predictions), bias("binary", labels, predictions)
    assert abs(found.value - (auc - lost)) < 5 * found.se
    assert abs(off.value) < 5 * off.se + 0.005


def test_a_change_shifts_the_first_features_from_its_day_on_and_no_others() -> None:
    batches = [batch.counts for batch in days(SMALL, Change(5, features=2, shift=2.0), np.random.default_rng(0))]
    lowest_before, lowest_after = (
        [counts[0] / (1_000 * len(part)) for counts in totals(part, [f"x{number}" for number in range(4)])]
        for part in (batches[:4], batches[4:])
    )
    assert lowest_before == pytest.approx([0.1] * 4, abs=0.02)
    assert lowest_after == pytest.approx([0.0005, 0.0005, 0.1, 0.1], abs=0.02)


def test_the_reference_is_judged_on_a_quarter_of_itself_or_the_most_that_the_policy_takes() -> None:
    policy = shipped_policy()
    assert past(SMALL, policy, np.random.default_rng(0)).readings["auc"].n == 3_000
    assert (
        past(World(rows=4_000, features=1), policy, np.random.default_rng(0)).readings["auc"].n == policy.gate.max_rows
    )


def test_a_collapse_is_asked_about_and_a_quiet_history_is_not() -> None:
    policy = shipped_policy()
    assert asks(SMALL, policy, Change(4, auc_lost=0.2), seed=1)
    assert not asks(SMALL, policy, None, seed=1)


def test_every_family_is_measured_once_its_data_are_there() -> None:
    *_, last = watch(SMALL, shipped_policy(), None, seed=1)
    assert {finding.check for finding in last.findings if finding.outcome is Outcome.INSUFFICIENT} == {
        Family.DATA_QUALITY.value,
        Family.SERVING.value,
    }


def test_more_rows_to_learn_from_are_no_alarm() -> None:
    policy = shipped_policy()
    world = World(rows=1_000, days=40, features=1)
    *_, last = watch(world, policy, None, seed=1)
    assert last.score >= policy.score.threshold > last.decline
    assert not asks(world, policy, None, seed=1)


def test_small_days_are_taken_together() -> None:
    *_, last = watch(World(rows=200, days=8, features=2), shipped_policy(), None, seed=1)
    measured = {Family.PERFORMANCE.value, Family.CALIBRATION.value, Family.INPUT_DRIFT.value}
    assert not measured & {each.check for each in last.findings if each.outcome is Outcome.INSUFFICIENT}


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_simulated_models_correlate_as_asked_within_a_class(correlation: float) -> None:
    contest = Contest(0.02, rows=50_000, correlation=correlation)
    labels, champion, candidate = draw(contest, np.random.default_rng(0))
    logits = [np.log(p / (1 - p))[labels == 0] for p in (champion, candidate)]
    assert np.corrcoef(logits)[0, 1] == pytest.approx(correlation, abs=0.01)
    assert measure("auc", labels, candidate).value - measure("auc", labels, champion).value == pytest.approx(
        0.02, abs=0.01
    )


def test_a_much_better_candidate_is_promoted_and_a_worse_one_is_not() -> None:
    gate = shipped_policy().gate
    assert promoted(Contest(0.08), gate, seed=1)
    assert not promoted(Contest(-0.08), gate, seed=1)

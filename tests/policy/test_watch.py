from __future__ import annotations

from dataclasses import replace

import numpy as np
from records_for_tests import POLICY

from hpcretrain.policy.watch import Sight, look
from hpcretrain.records import Outcome

RANDOM = np.random.default_rng(6)
N = 3000
TRUTH = RANDOM.normal(size=N)
LABELS = (RANDOM.random(N) < 1 / (1 + np.exp(-TRUTH))).astype(np.float64)
GOOD = 1 / (1 + np.exp(-TRUTH))
BAD = 1 / (1 + np.exp(-(TRUTH + RANDOM.normal(size=N) * 3) / 3))
RULES = POLICY.watch.model_copy(update={"looks": 2})


def sight(released: np.ndarray, previous: np.ndarray, at_look: int = 1) -> Sight:
    return Sight(LABELS, released, previous, "auc", ("log_loss",), at_look)


def test_a_release_that_disappoints_is_rolled_back() -> None:
    assert look(sight(BAD, GOOD), RULES)[0] is Outcome.FAIL


def test_a_good_release_is_watched_and_then_kept() -> None:
    assert look(sight(GOOD, BAD), RULES)[0] is Outcome.WAIT
    assert look(sight(GOOD, BAD, RULES.looks), RULES)[0] is Outcome.PASS


def test_a_worse_ranking_with_a_better_guard_is_not_rolled_back() -> None:
    # The model before ranks better, but its probabilities are off: a stale model on a noisy metric.
    assert look(sight(BAD, GOOD * 0.02), RULES)[0] is Outcome.WAIT


def test_too_few_rows_say_nothing() -> None:
    few = Sight(LABELS[:100], BAD[:100], GOOD[:100], "auc", (), 1)
    assert look(few, RULES)[0] is Outcome.INSUFFICIENT


def test_rows_of_one_class_say_nothing() -> None:
    assert look(replace(sight(BAD, GOOD), labels=np.ones(N)), RULES)[0] is Outcome.INSUFFICIENT


def test_predictions_that_are_not_finite_are_taken_back_at_once() -> None:
    broken = GOOD.copy()
    broken[0] = np.inf
    assert look(sight(broken, BAD), RULES)[0] is Outcome.FAIL


def test_equal_models_are_seldom_rolled_back_over_all_looks() -> None:
    alarms = 0
    for seed in range(400):
        random = np.random.default_rng(seed)
        truth = random.normal(size=800)
        labels = (random.random(800) < 1 / (1 + np.exp(-truth))).astype(np.float64)
        one, other = (truth + random.normal(size=800) for _ in range(2))
        views = [Sight(labels[:n], one[:n], other[:n], "auc", (), k) for k, n in ((1, 400), (2, 800))]
        alarms += any(look(view, RULES)[0] is Outcome.FAIL for view in views)
    assert alarms / 400 <= RULES.alpha + 0.02

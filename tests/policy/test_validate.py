from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from records_for_tests import POLICY

from hpcretrain.canonical import rounded
from hpcretrain.policy.validate import Question, check_refit, judge, readings
from hpcretrain.records import Finding, Outcome
from hpcretrain.stats.compare import spend

RANDOM = np.random.default_rng(5)
GATE = POLICY.gate
N = 4000
TRUTH = RANDOM.normal(size=N)
LABELS = (RANDOM.random(N) < 1 / (1 + np.exp(-TRUTH))).astype(np.float64)


def scores(noise: float, seed: int = 1) -> np.ndarray:
    """Predictions that see the truth through noise."""
    seen = TRUTH + np.random.default_rng(seed).normal(size=N) * noise
    return np.asarray(1 / (1 + np.exp(-seen / (1 + noise**2))))


BETTER = Question(
    labels=LABELS,
    champion=scores(2.0),
    candidate=scores(0.3),
    task="binary",
    primary="auc",
    guards=("log_loss",),
    use=1,
    seen_share=0.0,
    usual_share=0.0,
)


def outcome(question: Question) -> Outcome:
    return Outcome.worst(finding.outcome for finding in judge(question, POLICY.gate))


def seen(check: str, question: Question) -> Finding:
    return next(finding for finding in judge(question, POLICY.gate) if finding.check == check)


def test_a_clearly_better_candidate_passes() -> None:
    assert outcome(BETTER) is Outcome.PASS


def test_an_equal_candidate_is_not_released() -> None:
    assert outcome(replace(BETTER, candidate=BETTER.champion)) is Outcome.FAIL


def test_a_worse_candidate_fails_on_both_counts() -> None:
    worse = replace(BETTER, champion=BETTER.candidate, candidate=BETTER.champion)
    assert seen("superior:auc", worse).outcome is Outcome.FAIL
    assert seen("not_inferior:log_loss", worse).outcome is Outcome.FAIL


def test_a_better_ranking_with_ruined_probabilities_is_stopped_by_the_guard() -> None:
    squeezed = replace(BETTER, candidate=BETTER.candidate * 0.2)
    assert seen("superior:auc", squeezed).outcome is Outcome.PASS
    assert seen("not_inferior:log_loss", squeezed).outcome is Outcome.FAIL
    assert outcome(squeezed) is Outcome.FAIL


@pytest.mark.parametrize("side", ["champion", "candidate"])
def test_a_prediction_that_is_not_finite_is_an_error_and_never_fine(side: str) -> None:
    broken = getattr(BETTER, side).copy()
    broken[7] = np.nan
    assert outcome(replace(BETTER, **{side: broken})) is Outcome.ERROR


def test_too_few_rows_or_one_class_is_insufficient() -> None:
    few = replace(BETTER, labels=LABELS[:99], champion=BETTER.champion[:99], candidate=BETTER.candidate[:99])
    assert seen("holdout_rows", few).outcome is Outcome.INSUFFICIENT
    rare = replace(BETTER, labels=np.where(np.arange(N) < GATE.min_class_rows - 1, 1.0, 0.0))
    assert seen("holdout_labels", rare).outcome is Outcome.INSUFFICIENT
    one = replace(BETTER, labels=np.ones(N))
    assert seen("holdout_labels", one).outcome is Outcome.INSUFFICIENT
    assert seen("superior:auc", one).outcome is Outcome.INSUFFICIENT
    assert outcome(one) is not Outcome.PASS


def test_each_reuse_of_rows_asks_for_stronger_evidence() -> None:
    for use in (1, 2, 3, 10, 100):
        assert seen("superior:auc", replace(BETTER, use=use)).limit == rounded(spend(POLICY.gate.alpha, use))
    assert sum(spend(POLICY.gate.alpha, use) for use in range(1, 10_000)) <= POLICY.gate.alpha


def test_rows_that_were_learned_are_leakage_unless_usual() -> None:
    assert seen("leakage", replace(BETTER, seen_share=0.5)).outcome is Outcome.FAIL
    assert seen("leakage", replace(BETTER, seen_share=0.5, usual_share=0.5)).outcome is Outcome.PASS


def test_a_refit_must_not_be_worse_than_its_twin() -> None:
    def worst(refit: np.ndarray) -> Outcome:
        found = check_refit(LABELS, BETTER.candidate, refit, ("auc", "log_loss"), POLICY.gate)
        return Outcome.worst(finding.outcome for finding in found)

    assert worst(BETTER.candidate) is Outcome.PASS
    assert worst(scores(0.3, seed=2)) is Outcome.PASS
    assert worst(BETTER.champion) is Outcome.FAIL
    assert worst(np.full(N, np.nan)) is Outcome.ERROR


def test_readings_leave_out_what_is_not_defined() -> None:
    names = [reading.metric for reading in readings(LABELS, BETTER.candidate, "binary", ("auc", "log_loss"), GATE)]
    assert names == ["auc", "log_loss", "bias", "miscalibration"]
    assert readings(np.ones(N), BETTER.candidate, "binary", ("auc", "log_loss"), GATE) == ()
    broken = np.full(N, np.nan)
    assert readings(LABELS, broken, "binary", ("auc", "log_loss"), GATE) == ()

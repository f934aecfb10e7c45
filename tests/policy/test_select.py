from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from records_for_tests import POLICY

from hpcretrain.policy.select import Contest, select
from hpcretrain.records import Outcome

GATE = POLICY.gate
RANDOM = np.random.default_rng(5)
LABELS = (RANDOM.random(3000) < 0.4).astype(float)


def scores(skill: float) -> np.ndarray:
    """Calibrated probabilities of a given skill."""
    evidence = RANDOM.normal(LABELS * skill, 1) * skill - skill**2 / 2
    return np.asarray(1 / (1 + np.exp(-evidence - np.log(0.4 / 0.6))))


CONTEST = Contest(
    labels=LABELS,
    champion=scores(0.8),
    contestants={"all": scores(1.0), "recent": scores(1.2), "decayed": scores(0.6)},
    primary="auc",
    guards=("log_loss",),
    learned=False,
)


def test_the_best_on_the_primary_metric_wins_and_promises_a_gain() -> None:
    ranking = select(CONTEST, GATE)
    assert ranking.winner == "recent"
    assert ranking.outcome is Outcome.PASS
    assert [finding.check for finding in ranking.findings] == [
        "contest:all", "contest:recent", "contest:decayed", "promise",
    ]  # fmt: skip


def test_no_contestant_better_than_the_champion_is_no_promise() -> None:
    ranking = select(replace(CONTEST, champion=scores(2.0)), GATE)
    assert ranking.winner == "recent"
    assert ranking.outcome is Outcome.FAIL
    assert "not worth its cost" in ranking.findings[-1].reason


def test_an_equal_contestant_is_no_promise() -> None:
    assert select(replace(CONTEST, contestants={"all": CONTEST.champion}), GATE).outcome is Outcome.FAIL


def test_one_that_buys_the_primary_metric_with_a_guard_metric_does_not_win() -> None:
    # The same order, so the same AUC, but probabilities that are far off.
    bold = CONTEST.contestants["recent"] ** 0.2
    ranking = select(replace(CONTEST, contestants={"all": CONTEST.contestants["all"], "bold": bold}), GATE)
    assert ranking.winner == "all"
    assert ranking.findings[1].outcome is Outcome.FAIL
    alone = select(replace(CONTEST, contestants={"bold": bold}), GATE)
    assert alone.winner == "bold"


def test_a_champion_that_has_learned_the_slice_is_not_compared_with() -> None:
    ranking = select(replace(CONTEST, champion=LABELS, learned=True), GATE)
    assert ranking.outcome is Outcome.PASS
    assert "only the gate" in ranking.findings[-1].reason


@pytest.mark.parametrize("labels", [np.zeros(3000), np.empty(0)])
def test_what_cannot_be_measured_is_insufficient(labels: np.ndarray) -> None:
    some = len(labels)
    contest = replace(
        CONTEST, labels=labels, champion=CONTEST.champion[:some], contestants={"all": CONTEST.champion[:some]}
    )
    ranking = select(contest, GATE)
    assert ranking.winner is None
    assert ranking.outcome is Outcome.INSUFFICIENT


def test_a_contestant_that_predicts_no_numbers_cannot_win_and_a_broken_champion_is_no_excuse() -> None:
    broken = np.full(3000, np.nan)
    assert select(replace(CONTEST, contestants={"recent": broken, "all": scores(1.0)}), GATE).winner == "all"
    assert select(replace(CONTEST, champion=broken), GATE).outcome is Outcome.FAIL


def test_for_a_loss_less_is_better() -> None:
    target = RANDOM.normal(size=500)
    contest = Contest(target, target + 1, {"all": target + 0.5, "recent": target + 2}, "rmse", ("mae",), learned=False)
    assert select(contest, GATE).winner == "all"
    assert select(contest, GATE).outcome is Outcome.PASS

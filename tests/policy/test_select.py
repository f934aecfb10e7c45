from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from records_for_tests import POLICY

from hpcretrain.policy.select import Contest, Round, select
from hpcretrain.records import Outcome

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
    pilots=("all", "recent", "decayed"),
    task="binary",
    primary="auc",
    guards=("log_loss",),
    learned=False,
)


def test_the_best_on_the_primary_metric_wins_and_promises_a_gain() -> None:
    ranking = select(CONTEST, POLICY)
    assert ranking.winner == "recent"
    assert ranking.outcome is Outcome.PASS
    assert [finding.check for finding in ranking.findings] == [
        "contest:all", "contest:recent", "contest:decayed", "promise",
    ]  # fmt: skip


def test_no_contestant_better_than_the_champion_is_no_promise() -> None:
    ranking = select(replace(CONTEST, champion=scores(2.0)), POLICY)
    assert ranking.winner == "recent"
    assert ranking.outcome is Outcome.FAIL
    assert "not worth its cost" in ranking.findings[-1].reason


def test_an_equal_contestant_is_no_promise() -> None:
    assert select(replace(CONTEST, contestants={"all": CONTEST.champion}), POLICY).outcome is Outcome.FAIL


def test_one_that_buys_the_primary_metric_with_a_guard_metric_does_not_win() -> None:
    # The same order, so the same AUC, but probabilities that are far off.
    bold = CONTEST.contestants["recent"] ** 0.2
    ranking = select(replace(CONTEST, contestants={"all": CONTEST.contestants["all"], "bold": bold}), POLICY)
    assert ranking.winner == "all"
    assert ranking.findings[1].outcome is Outcome.FAIL
    alone = select(replace(CONTEST, contestants={"bold": bold}), POLICY)
    assert alone.winner == "bold"


def test_a_champion_that_has_learned_the_slice_is_not_compared_with() -> None:
    ranking = select(replace(CONTEST, champion=LABELS, learned=True), POLICY)
    assert ranking.outcome is Outcome.PASS
    assert "only the gate" in ranking.findings[-1].reason


@pytest.mark.parametrize("labels", [np.zeros(3000), np.empty(0)])
def test_what_cannot_be_measured_is_insufficient(labels: np.ndarray) -> None:
    some = len(labels)
    contest = replace(
        CONTEST, labels=labels, champion=CONTEST.champion[:some], contestants={"all": CONTEST.champion[:some]}
    )
    ranking = select(contest, POLICY)
    assert ranking.winner is None
    assert ranking.outcome is Outcome.INSUFFICIENT


def test_a_contestant_that_predicts_no_numbers_cannot_win_and_a_broken_champion_is_no_excuse() -> None:
    broken = np.full(3000, np.nan)
    assert select(replace(CONTEST, contestants={"recent": broken, "all": scores(1.0)}), POLICY).winner == "all"
    assert select(replace(CONTEST, champion=broken), POLICY).outcome is Outcome.INSUFFICIENT


def loss(earlier: tuple[Round, ...] = ()) -> Contest:
    target = np.linspace(0, 1, 500)
    contestants = {"all": target + 0.1, "recent": target + 0.2, "decayed": target + 0.15}
    names = ("all", "recent", "decayed")
    return Contest(target, target + 0.3, contestants, names, "regression", "rmse", ("mae",), False, earlier)


def test_for_a_loss_less_is_better() -> None:
    assert select(loss(), POLICY).winner == "all"
    assert select(loss(), POLICY).outcome is Outcome.PASS
    before = Round({"all": 3.0, "recent": 1.0, "decayed": 2.0}, rows=100_000)
    assert select(loss((before,)), POLICY).winner == "recent"


def test_what_earlier_selections_saw_counts_by_their_rows() -> None:
    luckier = Round({"all": 0.80, "recent": 0.60, "decayed": 0.70}, rows=20)
    assert select(replace(CONTEST, earlier=(luckier,)), POLICY).winner == "recent"
    often = select(replace(CONTEST, earlier=(replace(luckier, rows=3000),) * 3), POLICY)
    assert often.winner == "all"
    assert "over 4 selections" in often.findings[0].reason


def test_what_earlier_selections_saw_is_forgotten_by_rows() -> None:
    ages_ago = Round({"all": 0.9, "recent": 0.3, "decayed": 0.6}, rows=3000)
    since = Round({"all": 0.7, "recent": 0.7, "decayed": 0.7}, rows=POLICY.training.memory_rows)
    assert select(replace(CONTEST, earlier=(ages_ago,)), POLICY).winner == "all"
    assert select(replace(CONTEST, earlier=(ages_ago, *(since,) * 8)), POLICY).winner == "recent"


def test_a_contestant_that_was_not_there_before_is_known_by_this_selection_alone() -> None:
    before = Round({"all": 0.7, "recent": 0.7}, rows=3000)
    contestants = {**CONTEST.contestants, "recent, averaged": scores(2.0)}
    ranking = select(replace(CONTEST, contestants=contestants, earlier=(before,)), POLICY)
    assert ranking.winner == "recent, averaged"
    assert "over" not in ranking.findings[3].reason


def test_guards_do_not_decide_against_a_champion_that_has_learned_these_rows() -> None:
    bold = CONTEST.contestants["recent"] ** 0.2
    contestants = {"all": CONTEST.contestants["all"], "recent": bold}
    ranking = select(replace(CONTEST, contestants=contestants, pilots=("all", "recent"), learned=True), POLICY)
    assert ranking.winner == "recent"
    assert ranking.outcome is Outcome.PASS


def test_a_handful_of_positives_is_no_contest() -> None:
    labels = np.zeros(3000)
    labels[:5] = 1
    ranking = select(replace(CONTEST, labels=labels), POLICY)
    assert ranking.outcome is Outcome.INSUFFICIENT
    assert ranking.findings[-1].observed == 5


def test_the_best_standing_counts_among_those_that_beat_the_champion() -> None:
    # "all" stood best for long, but does not beat the champion here; "recent" does.
    before = Round({"all": 0.9, "recent": 0.6, "decayed": 0.7}, rows=100_000)
    contest = replace(CONTEST, champion=scores(1.1), earlier=(before,))
    ranking = select(contest, POLICY)
    assert (ranking.winner, ranking.outcome) == ("recent", Outcome.PASS)
    hopeless = select(replace(contest, champion=scores(2.0)), POLICY)
    assert (hopeless.winner, hopeless.outcome) == ("all", Outcome.FAIL)

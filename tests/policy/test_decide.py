from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from records_for_tests import PASSED, POLICY, START, WEEK

from hpcretrain.policy.decide import Situation, decide, withdraw
from hpcretrain.records import Action, Facts, Finding, Outcome, PriorityClass

ROWS = Facts(
    attended=False,
    training_rows=45_000,
    selection_rows=5000,
    holdout_rows=5000,
    fresh_rows=5000,
    class_rows=500,
    passes=100,
)
READY = Situation(
    now=START,
    batch=WEEK,
    last_run=START - 3 * WEEK,
    rejections=0,
    looks=None,
    spent=(),
    facts=ROWS,
    data=(PASSED,),
    action=Finding("action", Outcome.PASS, "decline lasts", "retrain", "retrain"),
)
STANDARD = PriorityClass.STANDARD


def seen(check: str, situation: Situation, priority_class: PriorityClass = STANDARD) -> Finding:
    return next(finding for finding in decide(priority_class, situation, POLICY).findings if finding.check == check)


def test_when_every_check_passes_the_training_runs_and_its_cost_is_known() -> None:
    choice = decide(STANDARD, READY, POLICY)
    assert choice.action is Action.RUN
    assert choice.cost_mrow_passes == pytest.approx((3 * 8000 + 55_000) * 100 / 1e6)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"holdout_rows": 99}, "holdout_rows"),
        ({"training_rows": 99}, "training_rows"),
        ({"selection_rows": 99}, "selection_rows"),
        ({"fresh_rows": 99}, "fresh_rows"),
        ({"class_rows": 24}, "class_rows"),
        ({"looks": 1}, "watch"),
        ({"last_run": START - 0.9 * WEEK}, "cooldown"),
        ({"last_run": START - WEEK, "rejections": 1}, "cooldown"),
        ({"spent": ((START - WEEK, 16 * 5.5 - 7.8),)}, "budget"),
    ],
)
def test_what_time_will_mend_makes_it_wait(change: dict[str, object], check: str) -> None:
    rows = {name: value for name, value in change.items() if hasattr(ROWS, name)}
    rest = {name: value for name, value in change.items() if name not in rows}
    facts = replace(READY, facts=replace(ROWS, **rows), **rest)  # type: ignore[arg-type]
    assert seen(check, READY).outcome is Outcome.PASS
    assert seen(check, facts).outcome is Outcome.WAIT
    assert decide(STANDARD, facts, POLICY).action is Action.WAIT


def test_a_watch_counts_its_looks() -> None:
    found = seen("watch", replace(READY, looks=1))
    assert (found.observed, found.limit) == (1, POLICY.watch.looks)
    assert seen("watch", READY).observed == 0


@pytest.mark.parametrize("outcome", [Outcome.INSUFFICIENT, Outcome.FAIL, Outcome.ERROR])
def test_data_that_is_not_known_to_be_fine_holds_everything(outcome: Outcome) -> None:
    facts = replace(READY, data=(PASSED, Finding(check="missing:x", outcome=outcome, reason="bad")))
    choice = decide(STANDARD, facts, POLICY)
    assert choice.action is Action.HOLD
    assert choice.outcome is outcome


def test_no_finding_about_the_data_is_not_a_pass() -> None:
    assert decide(STANDARD, replace(READY, data=()), POLICY).action is Action.HOLD


def test_cost_older_than_the_budget_period_is_forgotten() -> None:
    facts = replace(READY, spent=((START - timedelta(days=30), 1e9),))
    assert seen("budget", facts).outcome is Outcome.PASS


def test_the_cooldown_doubles_with_each_rejection_up_to_its_limit() -> None:
    limits = [seen("cooldown", replace(READY, rejections=count)).limit for count in range(6)]
    assert limits == [1.0, 2.0, 2.0, 2.0, 2.0, 2.0]


def test_background_work_waits_longer() -> None:
    facts = replace(READY, last_run=START - WEEK)
    assert decide(STANDARD, facts, POLICY).action is Action.RUN
    assert decide(PriorityClass.BACKGROUND, facts, POLICY).action is Action.WAIT


def test_a_request_is_withdrawn_only_once_the_evidence_has_clearly_gone() -> None:
    assert withdraw(POLICY.score.threshold - 1, POLICY) is None
    assert withdraw(POLICY.score.withdraw_below, POLICY) is None
    dropped = withdraw(POLICY.score.withdraw_below - 1, POLICY)
    assert dropped is not None
    assert dropped.action is Action.DROP


def test_every_finding_carries_its_numbers_or_says_why_not() -> None:
    for finding in decide(STANDARD, READY, POLICY).findings:
        assert finding.reason
        assert finding.observed is not None or finding.check in ("watch", "x")

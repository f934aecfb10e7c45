from __future__ import annotations

import pytest
from records_for_tests import POLICY, assessment, signal

from hpcretrain.policy.request import Wish, wish
from hpcretrain.policy.types import Score
from hpcretrain.records import Advice, Family, PriorityClass, Signal


def asked(signals: list[Signal]) -> Wish | None:
    return wish(assessment(signals), POLICY.score)


def weeks(family: Family, count: int, bound: float) -> list[Signal]:
    return [signal(family, week, bound) for week in range(count)]


def test_a_model_that_holds_its_ground_asks_for_nothing() -> None:
    assert asked(weeks(Family.PERFORMANCE, 10, 0.0)) is None


def test_a_lasting_decline_asks_and_names_the_family_that_leads() -> None:
    wanted = asked(weeks(Family.PERFORMANCE, 3, 0.2) + weeks(Family.INPUT_DRIFT, 3, 0.01))
    assert wanted is not None
    assert wanted.triggers == ("performance",)
    assert wanted.priority_class is PriorityClass.STANDARD


def test_a_collapse_is_urgent() -> None:
    wanted = asked(weeks(Family.PERFORMANCE, 8, 1.0))
    assert wanted is not None
    assert wanted.priority_class is PriorityClass.URGENT


def test_new_rows_alone_ask_in_the_background_and_say_so() -> None:
    wanted = asked(weeks(Family.FRESHNESS, 12, 1.5))
    assert wanted is not None
    assert wanted.triggers == ("freshness",)
    assert wanted.priority_class is PriorityClass.BACKGROUND


def test_noise_on_top_of_new_rows_is_not_mistaken_for_decline() -> None:
    rows = weeks(Family.FRESHNESS, 12, 0.2) + weeks(Family.PERFORMANCE, 12, 0.02)
    assert assessment(rows).score > 0
    assert asked(rows) is None


def test_what_retraining_does_not_cure_is_not_asked_for() -> None:
    rows = [*weeks(Family.PERFORMANCE, 3, 0.2), signal(Family.DATA_QUALITY, 2, 1.0, "missing")]
    assert assessment(rows).action is Advice.MEND_DATA
    assert asked(rows) is None


def test_a_policy_that_would_withdraw_every_request_at_once_is_refused() -> None:
    score = POLICY.score.model_dump() | {"withdraw_below": POLICY.score.threshold + 1}
    with pytest.raises(ValueError, match="withdraw_below must not be above threshold"):
        Score.model_validate(score)

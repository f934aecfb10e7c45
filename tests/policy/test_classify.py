from __future__ import annotations

from datetime import timedelta

import pytest
from records_for_tests import POLICY, START

from hpcretrain.policy.classify import Case, classify
from hpcretrain.policy.types import Classes, ClassRule
from hpcretrain.records import PriorityClass


def by(score: int, *, hours: float | None = None, impact: float = 1.0, duration: float = 4.0) -> PriorityClass:
    deadline = None if hours is None else START + timedelta(hours=hours)
    return classify(Case(score, impact, deadline, duration, START), POLICY.classes)[0]


def test_the_score_decides_where_nothing_presses() -> None:
    assert [by(score) for score in (0, 299, 300, 699, 700)] == [
        PriorityClass.BACKGROUND,
        PriorityClass.BACKGROUND,
        PriorityClass.STANDARD,
        PriorityClass.STANDARD,
        PriorityClass.URGENT,
    ]


def test_a_deadline_counts_less_the_expected_duration() -> None:
    assert by(0, hours=29) is PriorityClass.STANDARD
    assert by(0, hours=29, duration=6) is PriorityClass.URGENT
    assert by(0, hours=-5) is PriorityClass.URGENT


def test_all_that_a_rule_says_must_hold() -> None:
    rule = ClassRule(score=100, impact=0.5, duration_hours=2, reason="small, quick, and much depends on it")
    urgent = POLICY.classes.urgent.model_copy(update={"when": (rule,)})
    classes = POLICY.classes.model_copy(update={"urgent": urgent})
    found, why = classify(Case(150, 0.6, None, 1.0, START), classes)
    assert found is PriorityClass.URGENT
    assert "score 150, at least 100; impact 0.6, at least 0.5; duration_hours 1, at most 2" in why.reason
    for case in (Case(99, 0.6, None, 1.0, START), Case(150, 0.4, None, 1.0, START), Case(150, 0.6, None, 3.0, START)):
        assert classify(case, classes)[0] is PriorityClass.BACKGROUND


def test_the_last_class_names_the_rules_that_do_not_hold_with_their_numbers() -> None:
    _, why = classify(Case(120, 1.0, START + timedelta(hours=999), 4.0, START), POLICY.classes)
    assert (why.observed, why.limit) == (120, 300)
    assert "urgent: score 120, at least 700" in why.reason
    assert "standard: slack_hours 995, at most 336" in why.reason
    _, why = classify(Case(120, 1.0, None, 4.0, START), POLICY.classes)
    assert "urgent: slack_hours none, at most 24" in why.reason


def test_where_retraining_is_not_what_helps_the_class_is_that_of_a_retraining() -> None:
    for score, named in ((720, "urgent"), (10, "background")):
        found, why = classify(Case(score, 1.0, None, 4.0, START, retrains=False), POLICY.classes)
        assert (found.value, why.reason.split(":")[0]) == (named, f"retraining is not what helps; one would be {named}")


def test_a_rule_that_says_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        ClassRule(reason="r")


def test_the_last_class_takes_what_is_left_and_has_no_rules() -> None:
    content = POLICY.classes.model_dump()
    content["background"]["when"] = [{"score": 1, "reason": "r"}]
    with pytest.raises(ValueError, match=r"background\.when"):
        Classes.model_validate(content)

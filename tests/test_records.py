from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.canonical import canonical, rounded
from hpcretrain.records import KINDS, Baseline, Decision, Finding, Outcome, Slice, Stage, Verdict, parse

AT = datetime(2024, 5, 1, 12, tzinfo=UTC)


def baseline(**changes: object) -> Baseline:
    values: dict[str, object] = {
        "model": "m",
        "at": AT,
        "config_digest": "c",
        "policy_digest": "p",
        "rule_version": "1",
        "contract_digest": "k",
        "batch_s": 86400,
        "reference": Slice(AT, AT, 3, "d"),
    }
    return Baseline(**{**values, **changes})  # type: ignore[arg-type]


def verdict(observed: float) -> Verdict:
    return Verdict(
        model="m",
        at=AT,
        answers=("candidate-1",),
        stage=Stage.GATE,
        candidate="candidate-1",
        twin=None,
        outcome=Outcome.FAIL,
        holdout=Slice(AT, AT + timedelta(days=1), 5, "d"),
        use=1,
        findings=(Finding(check="a", outcome=Outcome.FAIL, reason="é", observed=observed, limit=1),),
        readings=(),
    )


def test_a_record_comes_back_from_its_own_text_with_the_same_identifier() -> None:
    record = verdict(1 / 3)
    again = parse(record.body)
    assert again == record
    assert again.id == record.id


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_rounding_once_is_enough(value: float) -> None:
    assert rounded(rounded(value)) == rounded(value)


def test_noise_in_the_last_bits_does_not_change_an_identifier() -> None:
    assert verdict(0.1 + 0.2).id == verdict(0.3).id
    assert verdict(0.3001).id != verdict(0.3).id


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_cannot_be_recorded(value: float) -> None:
    with pytest.raises(ValueError, match="cannot be recorded"):
        verdict(value)


def test_the_same_instant_in_another_zone_is_the_same_record() -> None:
    elsewhere = AT.astimezone(timezone(timedelta(hours=5)))
    assert baseline(at=elsewhere).id == baseline().id


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        baseline(at=datetime(2024, 1, 1))


def test_every_kind_has_one_class_and_a_decision_is_a_decision() -> None:
    assert len(KINDS) == 17
    assert KINDS["decision"] is Decision


@pytest.mark.parametrize("text", ["{}", '{"kind": "wish"}', '{"kind": "baseline", "model": 3}'])
def test_text_that_is_no_record_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic's own error is a ValueError
        parse(text)


def test_canonical_json_is_sorted_dense_and_keeps_letters() -> None:
    assert canonical({"b": 1, "a": "é"}) == '{"a":"é","b":1}'
    assert json.loads(verdict(1.0).body)["kind"] == "verdict"


@given(st.lists(st.sampled_from(list(Outcome)), min_size=1))
@settings(deadline=None)
def test_the_worst_outcome_wins_in_any_order(outcomes: list[Outcome]) -> None:
    worst = Outcome.worst(outcomes)
    assert worst == Outcome.worst(reversed(outcomes))
    assert all(worst.severity >= outcome.severity for outcome in outcomes)


def test_nothing_checked_is_insufficient_and_never_a_pass() -> None:
    assert Outcome.worst([]) is Outcome.INSUFFICIENT

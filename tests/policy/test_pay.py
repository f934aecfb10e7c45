"""Whether a retraining pays: sums worked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from admissions import rules as admission
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.evidence import Outcome
from hpcretrain.policy.pay import Outlay, pays
from hpcretrain.policy.types import ClassAdmission, Worth

RULES = Worth(currency="EUR", loss_per_day=100.0, horizon_days=10.0, reason="a test")
LIMITS = ClassAdmission(most_running=1, delay_hours=0, hour_price=0.5, lost_share=0.25, reason="a test")
OUTLAY = Outlay(points=300, kept=2, ended=2, cpu_hours=40.0, measured=False)


def test_what_is_expected_back_and_what_it_costs_are_worked_by_hand() -> None:
    found = pays(OUTLAY, LIMITS, RULES)
    assert found.observed == pytest.approx(100 * 0.3 * 10 * 3 / 4)
    assert found.limit == pytest.approx(40 * 1.25 * 0.5)
    assert found.outcome is Outcome.PASS
    assert "225 EUR are expected back" in found.reason
    assert "25% that preemption loses" in found.reason


def test_past_jobs_tell_what_preemption_loses() -> None:
    found = pays(replace(OUTLAY, measured=True), LIMITS, RULES)
    assert found.limit == pytest.approx(20.0)
    assert "preemption" not in found.reason


def test_what_does_not_pay_waits_unless_somebody_asks_for_it() -> None:
    dear = LIMITS.model_copy(update={"hour_price": 50.0})
    found = pays(OUTLAY, dear, RULES)
    assert found.outcome is Outcome.WAIT
    assert "requests it" in found.reason
    asked = pays(replace(OUTLAY, in_person="ada"), dear, RULES)
    assert asked.outcome is Outcome.PASS
    assert "ada asks for it all the same" in asked.reason
    assert (asked.observed, asked.limit) == (found.observed, found.limit)


def test_before_any_training_came_to_an_end_the_chance_is_one_half() -> None:
    assert replace(OUTLAY, kept=0, ended=0).chance == 0.5


def test_a_return_may_be_asked_for() -> None:
    assert pays(OUTLAY, LIMITS, RULES.model_copy(update={"least_return": 10.0})).outcome is Outcome.WAIT


@given(st.integers(0, 1000), st.integers(0, 1000), st.floats(0, 1e4), st.floats(0, 1e4))
def test_more_decline_never_speaks_against_a_training_and_more_cost_never_for_it(
    points: int, more: int, hours: float, longer: float
) -> None:
    few, many = sorted((points, more))
    short, long = sorted((hours, longer))

    def passes(points: int, hours: float) -> bool:
        return pays(replace(OUTLAY, points=points, cpu_hours=hours), LIMITS, RULES).outcome is Outcome.PASS

    assert passes(few, short) <= passes(many, short)
    assert passes(few, long) <= passes(few, short)


def test_all_that_the_rules_lack_is_said_at_once() -> None:
    with pytest.raises(ValueError, match=r"hour_price.*most_operational_risk.*headroom\.signal") as refused:
        admission(
            worth=RULES.model_dump(),
            operational_risk={"latency": 1.0, "memory": 0.0, "reliability": 0.0, "reason": "a test"},
        )
    assert str(refused.value).count("hour_price: is missing") == 3

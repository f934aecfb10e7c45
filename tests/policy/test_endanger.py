"""How likely a retraining is to harm serving: scores worked by hand."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.evidence import Finding, Outcome
from hpcretrain.policy.endanger import Stakes, operational_risk
from hpcretrain.policy.types import OperationalRisk

RULES = OperationalRisk(latency=0.5, memory=0.25, reliability=0.25, growth=3.0, reason="a test")


def serving(effect: float | None, limit: float = 20.0, outcome: Outcome = Outcome.PASS) -> Finding:
    return Finding("headroom:serving", outcome, "how much worse it is", effect, limit)


STAKES = Stakes(serving(5.0), fits_now=1, fits_after=2, rolled_back=0, watched=2)


def points(reason: str) -> list[int]:
    return [int(each) for each in re.findall(r"(?:latency|memory|reliability) (\d+) \(", reason)]


def test_a_score_worked_by_hand() -> None:
    found = operational_risk(STAKES, RULES, 500)
    slow, grown, fails = 5 / 20, (2 - 1) / (3 - 1), (0 + 1) / (2 + 2)
    assert found.observed == round(1000 * (0.5 * (1 - (1 - slow) * (1 - slow * grown)) + 0.25 * grown + 0.25 * fails))
    assert found.observed == 359
    assert found.outcome is Outcome.PASS
    assert points(found.reason) == [172, 125, 62]
    assert "serving is at 25% of what it may be worse" in found.reason


def test_more_than_the_class_may_waits_and_says_what_to_do() -> None:
    assert operational_risk(STAKES, RULES, 359).outcome is Outcome.PASS
    for stakes, help_ in (
        (STAKES, "more room"),
        (replace(STAKES, serving=serving(0.0), fits_after=3), "average_with"),
        (replace(STAKES, serving=serving(0.0), fits_after=1), "approvals.overrule"),
    ):
        found = operational_risk(stakes, RULES, 50)
        assert found.outcome is Outcome.WAIT
        assert help_ in found.reason


def test_the_figures_of_the_document_come_out() -> None:
    rules = OperationalRisk(latency=0.5, memory=0.2, reliability=0.3, reason="a test")
    for effect, score in ((0.0, 243), (10.0, 618), (20.0, 743)):
        found = operational_risk(Stakes(serving(effect), 1, 3, 0, 5), rules, 1000)
        assert found.observed == score


@pytest.mark.parametrize("heard", [serving(None), serving(1.0, outcome=Outcome.INSUFFICIENT)])
def test_what_is_not_known_of_serving_counts_in_full(heard: Finding) -> None:
    found = operational_risk(replace(STAKES, serving=heard), RULES, 1000)
    assert found.observed == operational_risk(replace(STAKES, serving=serving(20.0)), RULES, 1000).observed
    assert "not known" in found.reason


@given(
    st.floats(0, 100), st.floats(0, 100), st.integers(1, 9), st.integers(1, 9), st.integers(0, 20), st.integers(0, 20)
)
def test_it_is_bounded_and_adds_up_and_a_slower_serving_never_lowers_it(
    effect: float, worse: float, now: int, after: int, back: int, kept: int
) -> None:
    low, high = sorted((effect, worse))
    scores = []
    for each in (low, high):
        found = operational_risk(Stakes(serving(each), now, after, back, back + kept), RULES, 1000)
        assert isinstance(found.observed, int)
        assert 0 <= found.observed == sum(points(found.reason)) <= 1000
        scores.append(found.observed)
    assert scores[0] <= scores[1]


def test_a_smaller_model_is_no_growth() -> None:
    same = operational_risk(replace(STAKES, fits_now=3, fits_after=3), RULES, 1000)
    assert operational_risk(replace(STAKES, fits_now=3, fits_after=1), RULES, 1000).observed == same.observed


def test_rules_that_weigh_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        OperationalRisk(latency=0, memory=0, reliability=0, reason="a test")

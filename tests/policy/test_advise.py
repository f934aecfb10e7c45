from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import scores
from records_for_tests import POLICY, START, WEEK, measure

from hpcretrain.appraise import Appraisal, Subject, appraise
from hpcretrain.evidence import Measure
from hpcretrain.policy.advise import State, advise
from hpcretrain.policy.assess import Grid
from hpcretrain.policy.types import Policy, Score
from hpcretrain.records import Advice, Family, PriorityClass

LOOKED_AT = POLICY.model_copy(update={"score": POLICY.score.model_copy(update={"abrupt_slots": 1})})
LABELED = measure(Family.CALIBRATION, 0, 0.0, "bias")


def weeks(family: Family, *bounds: float | None) -> list[Measure]:
    return [measure(family, week, bound) for week, bound in enumerate(bounds)]


def action(*measures: Measure, released: int | None = None, policy: Policy = LOOKED_AT) -> Advice:
    return found(*measures, released=released, policy=policy).action


def found(*measures: Measure, released: int | None = None, policy: Policy = LOOKED_AT) -> Appraisal:
    now = max(each.at for each in measures)
    since = None if released is None else START + released * WEEK
    return appraise(measures, policy, Grid(now, WEEK), Subject(now, since))


def test_what_holds_its_ground_needs_nothing() -> None:
    assert action(*weeks(Family.PERFORMANCE, 0.0, 0.0), LABELED) is Advice.NOTHING


def test_a_gradual_decline_is_retrained_for() -> None:
    assert action(*weeks(Family.PERFORMANCE, 0.05, 0.1, 0.15)) is Advice.RETRAIN


def test_data_that_broke_comes_first() -> None:
    decline = weeks(Family.PERFORMANCE, 0.15, 0.15, 0.15)
    assert action(*decline, measure(Family.DATA_QUALITY, 2, 1.0, "missing")) is Advice.MEND_DATA
    assert action(*decline, measure(Family.UPSTREAM, 2, 1.0, "feed")) is Advice.MEND_DATA
    # Once the newest batch is whole again, what was broken before holds nothing back.
    mended = [measure(Family.DATA_QUALITY, week, 1.0 - week, "missing") for week in (0, 1)]
    assert action(*decline[:2], *mended) is Advice.RETRAIN


def test_everything_breaking_at_once_asks_a_person_and_is_retrained_for_if_it_stays() -> None:
    families = (Family.PERFORMANCE, Family.CALIBRATION, Family.PREDICTION_SHIFT, Family.INPUT_DRIFT)
    quiet = [measure(family, 0, 0.0) for family in families]
    broken = [[measure(family, week, 9.0) for family in families] for week in (1, 2)]
    assert action(*quiet, *broken[0]) is Advice.HOLD_AND_INVESTIGATE
    assert action(*quiet, *broken[0], *broken[1]) is Advice.RETRAIN
    assert action(*quiet, *broken[0], policy=POLICY) is Advice.RETRAIN, "by the policy that ships nobody is waited for"


def test_what_breaks_right_after_a_release_is_taken_back() -> None:
    families = (Family.PERFORMANCE, Family.CALIBRATION, Family.PREDICTION_SHIFT, Family.INPUT_DRIFT)
    broken = [measure(family, 1, 9.0) for family in families]
    assert action(*broken, released=0) is Advice.ROLL_BACK
    later = [each._replace(at=START + 9 * WEEK) for each in broken]
    assert action(LABELED, *later, released=0) is Advice.HOLD_AND_INVESTIGATE


def test_drift_without_any_labels_asks_for_labels() -> None:
    drift = weeks(Family.INPUT_DRIFT, *[9.0] * 6) + weeks(Family.PREDICTION_SHIFT, *[9.0] * 6)
    assert action(*drift) is Advice.COLLECT_LABELS
    assert action(*drift, LABELED) is Advice.RETRAIN


def test_slow_serving_and_silence_are_looked_into_and_not_retrained_for() -> None:
    assert action(*weeks(Family.SERVING, *[9.0] * 6), LABELED) is Advice.HOLD_AND_INVESTIGATE
    assert action(LABELED, LABELED._replace(at=START + 9 * WEEK, lower_bound=None)) is Advice.HOLD_AND_INVESTIGATE


def test_new_rows_alone_are_worth_a_try() -> None:
    fresh = found(*weeks(Family.FRESHNESS, *[1.0] * 12), LABELED)
    assert (fresh.action, fresh.priority_class) == (Advice.RETRAIN, PriorityClass.BACKGROUND)
    assert "more to learn from" in fresh.findings[-1].reason
    due = measure(Family.EXTERNAL, 0, 0.0, "new law")._replace(deadline=START + 12 * WEEK)
    pressed = found(*weeks(Family.FRESHNESS, *[1.0] * 12), LABELED, due)
    assert pressed.priority_class is not PriorityClass.BACKGROUND


def test_a_decline_that_lasts_below_the_threshold_is_not_told_as_nothing_worse() -> None:
    falling = weeks(Family.PERFORMANCE, *[0.15] * 6, 0.0, 0.0, 0.0)
    told = found(*falling, *weeks(Family.FRESHNESS, *[1.0] * 9))
    assert POLICY.score.withdraw_below <= told.scored.decline < POLICY.score.threshold
    assert told.action is Advice.RETRAIN
    assert "nothing got worse" not in told.findings[-1].reason


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_not_finite_is_looked_into(number: float) -> None:
    decline = weeks(Family.PERFORMANCE, 0.15, 0.15, 0.15)
    assert action(*decline, measure(Family.CALIBRATION, 2, number, "bias")) is Advice.HOLD_AND_INVESTIGATE


def test_whoever_asks_from_outside_is_heard() -> None:
    assert action(LABELED, measure(Family.EXTERNAL, 0, None, "audit")) is Advice.RETRAIN
    due = measure(Family.EXTERNAL, 0, 0.0, "new law")._replace(deadline=START + 3 * WEEK)
    assert action(LABELED, due) is Advice.RETRAIN


def test_a_deadline_is_told_from_what_asks_without_one() -> None:
    event = measure(Family.EXTERNAL, 0, None, "audit")
    told = found(LABELED, event).findings[-2]
    assert told.reason == "somebody outside asks for it, without a deadline: audit"
    assert (told.observed, told.limit) == (1, 1)
    due = event._replace(name="new law", deadline=START + 3 * WEEK)
    told = found(LABELED, event, due).findings[-2]
    assert told.reason == "the deadline of new law asks for it; 504 hours are left"
    assert (told.observed, told.limit) == (504, 0)


def test_a_deadline_asks_for_a_slot_after_it_has_passed_and_then_is_history() -> None:
    due = measure(Family.EXTERNAL, 0, None, "new law")._replace(deadline=START + 2.5 * WEEK)
    late, over = (found(LABELED, due, LABELED._replace(at=START + weeks * WEEK)) for weeks in (3, 4))
    assert late.action is Advice.RETRAIN
    assert late.findings[-2].reason == "the deadline of new law asks for it; it passed 84 hours ago"
    assert over.action is Advice.NOTHING


def test_where_nothing_is_retrained_the_class_says_whose_it_is() -> None:
    broken = found(*weeks(Family.PERFORMANCE, 9.0, 9.0), measure(Family.DATA_QUALITY, 1, 1.0, "missing"))
    assert broken.action is Advice.MEND_DATA
    assert broken.findings[-1].reason.startswith("retraining is not what helps; one would be ")


def test_the_nearer_the_deadline_the_more_urgent() -> None:
    def by(days: float) -> str:
        due = measure(Family.EXTERNAL, 0, 0.0, "new law")._replace(deadline=START + days / 7 * WEEK)
        return found(LABELED, due).priority_class.value

    assert [by(days) for days in (60, 10, 1)] == ["background", "standard", "urgent"]


@given(
    scores(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.lists(st.integers(0, 3), max_size=2),
    st.one_of(st.none(), st.floats(0, 5)),
    st.floats(0, 1),
)
@settings(deadline=None)
def test_every_action_tells_its_rule_with_its_numbers(
    score: Score, sustained: bool, labeled: bool, asked: bool, jumps: list[int], released: float | None, level: float
) -> None:
    levels = dict.fromkeys(score.families, level)
    advised = advise(State(500, 100, levels, levels, sustained, jumps, labeled, (), released, ["audit"] * asked), score)
    assert advised.finding.check == "action"
    assert advised.finding.reason
    assert advised.finding.observed is not None
    assert advised.finding.limit is not None
    if advised.action is Advice.RETRAIN:
        assert sustained or asked or score.threshold <= 100

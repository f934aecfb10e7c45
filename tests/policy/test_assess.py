from __future__ import annotations

import math
import random
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policies import scores
from records_for_tests import POLICY, START, WEEK, measure

from hpcretrain.evidence import Measure
from hpcretrain.policy.assess import Grid, Scored, assess, combine
from hpcretrain.policy.types import Business, Score
from hpcretrain.records import Family, Outcome

SCORE = POLICY.score
END = START + 12 * WEEK
GRID = Grid(END, WEEK)
numbers = st.one_of(st.none(), st.floats(0, 5), st.just(math.nan), st.just(math.inf))
events = st.lists(
    st.builds(
        measure,
        st.sampled_from(Family),
        st.integers(-3, 14),
        numbers,
        st.sampled_from(["s", "t", "estimated_s"]),
        st.sampled_from([50, 1000]),
    ),
    max_size=30,
)


def scored(measures: list[Measure], score: Score = SCORE) -> Scored:
    return assess(measures, score, Grid(max((each.at for each in measures), default=END), WEEK))


def weeks(family: Family, *bounds: float | None) -> list[Measure]:
    return [measure(family, week, bound) for week, bound in enumerate(bounds)]


@given(events, scores())
@settings(deadline=None)
def test_a_score_is_whole_bounded_and_the_sum_of_its_contributions_under_any_policy(
    measures: list[Measure], score: Score
) -> None:
    found = assess(measures, score, GRID, 5.0)
    assert 0 <= found.score <= 1000
    assert sum(found.contributions.values()) == found.score
    assert all(isinstance(points, int) and points >= 0 for points in found.contributions.values())
    assert found.decline <= found.score + 1
    assert set(found.contributions) == set(found.levels) == set(score.families)


@given(events, scores(), st.integers(0, 1000))
@settings(deadline=None)
def test_signals_in_any_order_or_twice_score_the_same_under_any_policy(
    measures: list[Measure], score: Score, seed: int
) -> None:
    mixed = [*measures, *measures[:5]]
    random.Random(seed).shuffle(mixed)
    assert assess(mixed, score, GRID) == assess(measures, score, GRID)


@given(events, scores(), st.sampled_from(Family), st.integers(0, 12), st.floats(0, 5), st.floats(0, 5))
@settings(deadline=None)
def test_a_worse_signal_never_lowers_the_score_under_any_policy(
    measures: list[Measure], score: Score, family: Family, week: int, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    better = assess([*measures, measure(family, week, low, "z")], score, GRID, 5.0)
    worse = assess([*measures, measure(family, week, high, "z")], score, GRID, 5.0)
    assert better.score <= worse.score
    assert better.decline <= worse.decline
    assert better.sustained <= worse.sustained


def test_a_copy_of_the_rules_counts_by_its_own_families() -> None:
    assert SCORE.rule(Family.INPUT_DRIFT).weight > 0
    drift = SCORE.families["input_drift"].model_copy(update={"weight": 0.0})
    deaf = SCORE.model_copy(update={"families": {**SCORE.families, "input_drift": drift}})
    assert deaf.rule(Family.INPUT_DRIFT).weight == 0


def test_ten_thousand_signals_at_once_count_as_one() -> None:
    storm = [measure(Family.PERFORMANCE, 0, 0.2)._replace(name=f"s{number}") for number in range(10_000)]
    assert scored(storm).score == scored(storm[:1]).score > 0
    again = [measure(Family.PERFORMANCE, 0, 0.2)] * 10_000
    assert scored(again) == scored(again[:1])


def test_evidence_fades_by_half_in_its_half_life() -> None:
    bounds = [5.0] + [0.0] * 6
    levels = [scored(weeks(Family.PERFORMANCE, *bounds[:count])).levels["performance"] for count in range(1, 8)]
    assert abs(levels[2] / levels[0] - 0.5) < 1e-9
    assert abs(levels[4] / levels[0] - 0.25) < 1e-9


def test_a_slot_without_numbers_holds_the_last_value_and_is_blind() -> None:
    heard, silent = scored(weeks(Family.PERFORMANCE, 5.0, 5.0)), scored(weeks(Family.PERFORMANCE, 5.0, None))
    assert silent.levels["performance"] == heard.levels["performance"]
    assert heard.levels["blind"] == 0.0 < silent.levels["blind"]


def test_silence_after_good_news_is_not_health() -> None:
    found = assess(weeks(Family.PERFORMANCE, 0.0), SCORE, GRID)
    assert found.contributions["performance"] == 0
    assert found.contributions["blind"] > SCORE.act_from


def test_a_family_never_measured_is_insufficient_and_not_fine() -> None:
    outcomes = {finding.check: finding.outcome for finding in scored([measure(Family.PERFORMANCE, 0, None)]).findings}
    assert outcomes["performance"] is outcomes["input_drift"] is Outcome.INSUFFICIENT


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_evidence_and_no_score(number: float) -> None:
    found = scored([measure(Family.PERFORMANCE, 0, number, "auc")])
    assert found.score == 0
    assert found.broken == ("performance:auc",)
    [finding] = [each for each in found.findings if each.check == "performance"]
    assert finding.outcome is Outcome.ERROR
    assert "auc" in finding.reason


def test_what_was_mended_is_broken_no_more() -> None:
    assert scored(weeks(Family.PERFORMANCE, math.nan, 0.1)).broken == ()
    assert scored(weeks(Family.PERFORMANCE, 0.1, math.nan)).broken == ("performance:s",)


def test_a_measurement_on_too_few_rows_does_not_count_and_says_so() -> None:
    found = scored([measure(Family.INPUT_DRIFT, 0, 5.0, n=499)])
    assert found.score == 0
    [finding] = [each for each in found.findings if each.check == "input_drift"]
    assert finding.outcome is Outcome.INSUFFICIENT
    assert (finding.observed, finding.limit) == (0, 1)
    assert (
        "1 signals in the newest slot, none with a number that counts, 1 of them on fewer than 500 rows, 499 at most"
        in (finding.reason)
    )


def test_the_future_does_not_count_and_is_reported() -> None:
    found = assess([*weeks(Family.PERFORMANCE, 0.1), measure(Family.PERFORMANCE, 13, 5.0)], SCORE, GRID)
    assert found.score == assess(weeks(Family.PERFORMANCE, 0.1), SCORE, GRID).score
    [finding] = [each for each in found.findings if each.check == "future"]
    assert (finding.outcome, finding.observed) == (Outcome.INSUFFICIENT, 1)


def test_what_comes_late_counts_in_the_slot_that_it_is_about() -> None:
    on_time = weeks(Family.PERFORMANCE, 0.0, 0.15, 0.0)
    assert scored([on_time[0], on_time[2], on_time[1]]) == scored(on_time)


def test_an_estimate_raises_a_score_and_never_lowers_it() -> None:
    known = weeks(Family.PERFORMANCE, 0.1, None)
    guess = [measure(Family.PERFORMANCE, 1, bound, "estimated_auc") for bound in (0.0, 0.15)]
    assert scored([*known, guess[0]]).levels == scored(known).levels
    assert scored([*known, guess[1]]).levels["performance"] > scored(known).levels["performance"]
    over = [*known, guess[1], measure(Family.PERFORMANCE, 2, 0.0)]
    assert scored(over).newest["performance"] == 0.0


def test_decline_asks_once_it_lasts_and_until_it_has_clearly_gone() -> None:
    lasting = SCORE.model_copy(update={"sustain_slots": 3})
    one, three = weeks(Family.PERFORMANCE, 1.0, 1.0), weeks(Family.PERFORMANCE, 1.0, 1.0, 1.0, 1.0)
    assert scored(one).sustained
    assert not scored(one, lasting).sustained
    assert scored(three, lasting).sustained
    fading = [*three, measure(Family.PERFORMANCE, 4, 0.0), measure(Family.PERFORMANCE, 5, 0.0)]
    assert SCORE.withdraw_below <= scored([*fading, measure(Family.PERFORMANCE, 6, 0.0)]).decline < SCORE.threshold
    assert scored([*fading, measure(Family.PERFORMANCE, 6, 0.0)]).sustained
    assert not scored([*fading, *(measure(Family.PERFORMANCE, week, 0.0) for week in range(6, 9))]).sustained


def test_a_signal_that_swings_asks_once() -> None:
    bounds = [0.12 if week % 2 else 0.02 for week in range(40)]
    asks = [scored(weeks(Family.PERFORMANCE, *bounds[:count])).sustained for count in range(1, 41)]
    assert sum(now and not before for before, now in zip([False, *asks], asks, strict=False)) == 1


def test_one_drifted_feature_among_many_says_little_and_a_tenth_of_them_says_all() -> None:
    def drifted(count: int) -> int:
        return scored(
            [measure(Family.INPUT_DRIFT, 0, 5.0 if number < count else 0.0, f"f{number}") for number in range(50)]
        ).score

    assert 0 < drifted(1) * 4 < drifted(5)
    assert drifted(5) == drifted(50)


def test_input_drift_alone_never_reaches_the_threshold() -> None:
    assert scored(weeks(Family.INPUT_DRIFT, *[9.0] * 100)).score < SCORE.threshold


def test_a_score_worked_by_hand() -> None:
    # performance: 0.8 * 0.5 = 0.4, input drift: 0.25 * 0.4 = 0.1; 1 - 0.6 * 0.9 = 0.46;
    # -log(0.6) : -log(0.9) = 0.829 : 0.171
    total, contributions = combine({"performance": 0.5, "input_drift": 0.4}, SCORE)
    assert total == 460
    assert contributions == {"performance": 381, "input_drift": 79}


def test_a_model_of_half_the_impact_scores_half() -> None:
    half = SCORE.model_copy(update={"business": Business(impact=0.5, reason="r")})
    assert combine({"performance": 0.5, "input_drift": 0.4}, half)[0] == 230


def test_an_error_budget_that_runs_out_presses() -> None:
    pressed = SCORE.model_copy(
        update={"business": Business(error_budget_hours=1000, most_pressure=1.0, reason="a contract")}
    )
    bad = weeks(Family.PERFORMANCE, *[1.0] * 8)
    points = [assess(bad[:count], pressed, Grid(bad[count - 1].at, WEEK), 24.0).score for count in (1, 8)]
    free = [scored(bad[:count]).score for count in (1, 8)]
    # With all of the budget left a decline counts half here, and in full when none is.
    assert points[0] < free[0] * 0.55
    assert points[1] == free[1]


def test_the_newest_slot_ends_now_and_holds_its_end() -> None:
    grid = Grid(END, timedelta(hours=1))
    assert [grid.slot(END - timedelta(minutes=minutes)) for minutes in (-1, 0, 59, 60)] == [-1, 0, 0, 1]


def test_long_silence_never_clears_a_model() -> None:
    bad = weeks(Family.PERFORMANCE, *[0.15] * 6)
    for later in (3, 30, 300):
        found = assess(bad, SCORE, Grid(bad[-1].at + later * WEEK, WEEK, SCORE.memory_slots))
        assert found.decline >= SCORE.threshold
        assert found.sustained
        assert found.levels["blind"] > 0


def test_good_news_of_one_measure_does_not_silence_another() -> None:
    bad = weeks(Family.PERFORMANCE, *[0.15] * 6)
    fine = [measure(Family.PERFORMANCE, week, 0.0, "accuracy") for week in range(6, 12)]
    found = scored([*bad, *fine])
    assert found.decline >= SCORE.threshold
    assert found.levels["blind"] > 0


def test_one_more_feature_that_did_not_move_hardly_changes_what_the_others_say() -> None:
    def points(quiet: int) -> int:
        return scored(
            [
                measure(Family.INPUT_DRIFT, 0, 5.0, "bad"),
                *(measure(Family.INPUT_DRIFT, 0, 0.0, f"f{n}") for n in range(quiet)),
            ]
        ).score

    assert points(9) * 0.9 <= points(10) <= points(9)


def test_a_number_that_was_not_finite_long_ago_holds_nothing_back() -> None:
    retired = measure(Family.PERFORMANCE, 0, math.nan, "old")
    for week in range(1, 6):
        found = scored([retired, *(measure(Family.PERFORMANCE, each, 0.0) for each in range(1, week + 1))])
        assert bool(found.broken) == (week < SCORE.broken_slots)


def test_what_was_never_finite_is_blind_once_it_is_waited_for_no_more() -> None:
    broken = measure(Family.PERFORMANCE, 0, math.nan)
    for weeks_later in (SCORE.broken_slots, 2 * SCORE.memory_slots):
        grid = Grid(START + weeks_later * WEEK, WEEK, SCORE.memory_slots)
        found = assess([broken], SCORE, grid)
        assert found.broken == ()
        assert found.newest["blind"] > 0
    silent = assess([broken], SCORE, Grid(START + WEEK, WEEK))
    assert silent.broken == ("performance:s",)


def test_only_a_measurement_takes_a_broken_number_back() -> None:
    broken = measure(Family.PERFORMANCE, 0, math.nan)
    nothing = measure(Family.PERFORMANCE, 1, None)
    few = measure(Family.PERFORMANCE, 1, 0.0)._replace(n=0)
    assert scored([broken, nothing]).broken
    assert scored([broken, few._replace(n=SCORE.rule(Family.PERFORMANCE).min_n - 1)]).broken
    assert not scored([broken, measure(Family.PERFORMANCE, 1, 0.0)]).broken


def test_a_finding_says_how_long_ago_a_family_was_measured() -> None:
    found = scored([measure(Family.PERFORMANCE, 0, 0.1), measure(Family.CALIBRATION, 3, 0.0)])
    said = {each.check: each.reason for each in found.findings}
    assert "as measured 3 slots before" in said["performance"]
    assert "before" not in said["calibration"]


def test_a_collapse_is_a_jump_while_it_stands_and_decay_is_none() -> None:
    assert scored(weeks(Family.PERFORMANCE, 0.0, 0.5)).jumps == (0,)
    assert scored(weeks(Family.PERFORMANCE, 0.0, 0.5, 0.5)).jumps == (1,)
    assert scored(weeks(Family.PERFORMANCE, 0.0, 0.5, 0.0)).jumps == ()
    assert scored(weeks(Family.PERFORMANCE, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)).jumps == ()
    assert scored(weeks(Family.INPUT_DRIFT, 0.0, 5.0)).jumps == ()

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from records_for_tests import POLICY, signal

from hpcretrain.policy.assess import DECLINE, SCORED, assess, combine
from hpcretrain.records import Family, Outcome, Signal

SCORE = POLICY.score
events = st.lists(
    st.tuples(st.sampled_from(SCORED), st.integers(0, 12), st.one_of(st.none(), st.floats(0, 5))), max_size=40
)


def signals(rows: list[tuple[Family, int, float | None]]) -> list[Signal]:
    return [signal(family, week, bound, f"s{number}") for number, (family, week, bound) in enumerate(rows)]


@given(events)
@settings(deadline=None)
def test_a_score_is_whole_bounded_and_the_sum_of_its_contributions(
    rows: list[tuple[Family, int, float | None]],
) -> None:
    scored = assess(signals(rows), SCORE)
    assert 0 <= scored.score <= 1000
    assert sum(scored.contributions.values()) == scored.score
    assert all(points >= 0 for points in scored.contributions.values())


@given(events, st.integers(0, 1000))
@settings(deadline=None)
def test_the_order_of_signals_and_repeats_do_not_matter(
    rows: list[tuple[Family, int, float | None]], seed: int
) -> None:
    ordered = signals(rows)
    mixed = ordered + ordered[:3]
    random.Random(seed).shuffle(mixed)
    # Input drift is a mean over features, so a repeat of one feature is told by its identity, not by luck.
    unique = {record.id: record for record in mixed}
    assert assess(list(unique.values()), SCORE) == assess(ordered, SCORE)


@given(events, st.sampled_from(DECLINE), st.integers(0, 12), st.floats(0, 5), st.floats(0, 5))
@settings(deadline=None)
def test_a_worse_signal_never_lowers_the_score(
    rows: list[tuple[Family, int, float | None]], family: Family, week: int, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    base = signals(rows)
    assert (
        assess([*base, signal(family, week, low, "z")], SCORE).score
        <= assess([*base, signal(family, week, high, "z")], SCORE).score
    )


def test_evidence_fades_by_half_in_its_half_life() -> None:
    weeks = [signal(Family.PERFORMANCE, 0, 5.0)] + [signal(Family.PERFORMANCE, week, 0.0) for week in range(1, 7)]
    levels = [assess(weeks[:count], SCORE).levels["performance"] for count in range(1, 8)]
    assert abs(levels[2] / levels[0] - 0.5) < 1e-9
    assert abs(levels[4] / levels[0] - 0.25) < 1e-9


def test_a_slot_without_numbers_holds_the_last_value() -> None:
    known = [signal(Family.PERFORMANCE, 0, 5.0), signal(Family.PERFORMANCE, 1, 5.0)]
    blind = [signal(Family.PERFORMANCE, 0, 5.0), signal(Family.PERFORMANCE, 1, None)]
    assert assess(blind, SCORE).levels == assess(known, SCORE).levels


def test_a_family_never_measured_is_insufficient_and_not_fine() -> None:
    scored = assess([signal(Family.PERFORMANCE, 0, None)], SCORE)
    assert {finding.outcome for finding in scored.findings} == {Outcome.INSUFFICIENT}


def test_one_drifted_feature_among_many_says_little_and_a_tenth_of_them_says_all() -> None:
    def drifted(count: int) -> int:
        return assess(
            [signal(Family.INPUT_DRIFT, 0, 5.0 if number < count else 0.0, f"f{number}") for number in range(50)], SCORE
        ).score

    assert 0 < drifted(1) * 4 < drifted(5)
    assert drifted(5) == drifted(50)


def test_input_drift_alone_never_reaches_the_threshold() -> None:
    forever = [signal(Family.INPUT_DRIFT, week, 9.0) for week in range(100)]
    assert assess(forever, SCORE).score < SCORE.threshold


def test_a_score_worked_by_hand() -> None:
    # performance: 0.8 * 0.5 = 0.4, input drift: 0.25 * 0.4 = 0.1; 1 - 0.6 * 0.9 = 0.46;
    # -log(0.6) : -log(0.9) = 0.829 : 0.171
    total, contributions = combine({"performance": 0.5, "input_drift": 0.4}, SCORE)
    assert total == 460
    assert contributions == {"performance": 381, "input_drift": 79}

"""The scope ladder: the deepest rung that fits; lighter ones are checked as much."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hpcretrain.config.load import shipped_policy
from hpcretrain.facts import Facts
from hpcretrain.policy.decide import cost_of_training
from hpcretrain.policy.scope import Room, choose, on
from hpcretrain.policy.types import Policy, Rung, Training

AMPLE = Room(hours=4.0, hours_left=None, cpu_hours_left=None, load=None, asked_load=False, warm_starts=0)
COSTS = [10.0, 4.0, 1.0]


def rung(name: str, share: float, **more: Any) -> Rung:
    rows = int(1000 * share)
    content = {"windows": ["all"], "pilot_rows": rows, "full_rows": rows, "average_with": 0, "reason": "a test"}
    return Rung.model_validate({**content, "name": name, "hours_share": share, **more})


LADDER = [rung("deep", 1.0, windows=["all", "recent"]), rung("middle", 0.5), rung("light", 0.25)]


@pytest.mark.parametrize(
    ("change", "taken", "said"),
    [
        ({}, "deep", "rung 1 of 3, the deepest that fits"),
        ({"hours_left": 4.0}, "deep", ""),
        ({"hours_left": 3.9}, "middle", "deep: 4 h are expected and 3.9 h left"),
        ({"hours_left": 1.0}, "light", "middle: 2 h are expected"),
        ({"hours_left": 0.1}, "light", "the lightest, though 1 h are expected and 0.1 h left"),
        ({"cpu_hours_left": 9.9}, "middle", "10 CPU hours are expected and 9.9 left"),
        ({"cpu_hours_left": 0.0}, "light", "though 1 CPU hours"),
    ],
)
def test_the_deepest_rung_that_fits_is_taken_and_said_why(change: dict[str, Any], taken: str, said: str) -> None:
    found, finding = choose(LADDER, COSTS, replace(AMPLE, **change))
    assert found.name == finding.observed == taken
    assert said in finding.reason


def test_under_load_a_lighter_rung_is_taken_and_unknown_load_is_no_room() -> None:
    ladder = [rung("deep", 1.0, most_load=0.5), rung("light", 0.25)]
    for load, taken in ((0.4, "deep"), (0.6, "light"), (None, "light")):
        found, finding = choose(ladder, COSTS[:2], replace(AMPLE, load=load, asked_load=True))
        assert found.name == taken
        assert load is not None or "not known" in finding.reason
    assert choose(ladder, COSTS[:2], AMPLE)[0].name == "deep", "nobody is there to be asked in a replay"


def test_after_so_many_warm_starts_in_a_row_the_next_rung_is_taken() -> None:
    ladder = [rung("warm", 1.0, warm_share=0.25, most_warm_starts=2), rung("light", 0.25)]
    for starts, taken in ((0, "warm"), (1, "warm"), (2, "light"), (3, "light")):
        found, finding = choose(ladder, COSTS[:2], replace(AMPLE, warm_starts=starts))
        assert found.name == taken
        assert starts < 2 or f"warm: what serves comes from {starts} warm starts in a row" in finding.reason


def test_trials_are_paid_for_as_pilots() -> None:
    rules = shipped_policy().training
    rows = dict.fromkeys(("selection_rows", "holdout_rows", "fresh_rows", "class_rows"), 0)
    facts = Facts(attended=False, training_rows=500, passes=100, **rows)
    plain, tuned = on(rules, rung("a", 1.0)), on(rules, rung("a", 1.0, trials=3))
    # One pilot and a full fit read 500 rows 100 times; three trials more, three times as often again.
    assert (cost_of_training(facts, plain), cost_of_training(facts, tuned)) == (0.1, 0.25)


rooms = st.none() | st.floats(0, 12)


@given(rooms, rooms, st.floats(0, 5), st.floats(0, 5))
def test_more_time_and_room_never_take_a_lighter_rung(
    hours: float | None, cpu: float | None, more: float, still: float
) -> None:
    names = [each.name for each in LADDER]
    less = replace(AMPLE, hours_left=hours, cpu_hours_left=cpu)
    ample = replace(
        less, hours_left=None if hours is None else hours + more, cpu_hours_left=None if cpu is None else cpu + still
    )
    assert names.index(choose(LADDER, COSTS, ample)[0].name) <= names.index(choose(LADDER, COSTS, less)[0].name)


def test_a_rung_changes_what_is_trained_and_nothing_that_is_checked() -> None:
    policy = shipped_policy()
    light = on(policy.training, rung("light", 0.25))
    assert (light.windows, light.full_rows, light.average_with) == (("all",), 250, 0)
    kept = {"recent_share", "half_life_share", "memory_rows"}
    assert light.model_dump(include=kept) == policy.training.model_dump(include=kept)
    assert not set(Rung.model_fields) & set(Policy.model_fields["gate"].annotation.model_fields)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rungs", "said"),
    [
        ([rung("a", 1.0), rung("a", 0.5)], "named twice"),
        ([rung("a", 0.5), rung("b", 1.0)], "the deepest comes first"),
        ([rung("a", 1.0, windows=["all", "all"])], "each window once"),
        ([rung("a", 1.0, trials=4, warm_share=0.2)], "begins from nothing"),
        ([rung("a", 1.0, most_warm_starts=2)], "says nothing without warm_share"),
        ([rung("a", 1.0, warm_share=0.5, most_warm_starts=2)], "wants a lighter rung without warm_share"),
        ([rung("a", 1.0), rung("b", 0.5, trials=1)], "the deepest comes first"),
        ([], "at least 1"),
    ],
)
def test_a_ladder_that_is_none_is_refused(rungs: list[Rung], said: str) -> None:
    content = {**shipped_policy().training.model_dump(), "rungs": [each.model_dump() for each in rungs]}
    with pytest.raises(ValidationError, match=said):
        Training.model_validate(content)

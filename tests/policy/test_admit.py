"""Who is admitted: order, slots, budgets, risk, dependencies, deadlines, stops; and that nobody waits for ever."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from admissions import DELAYS, HOUR, NOW, rules, runs, waits
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hpcretrain.backlog import Entry, Risk, Spent, Stop, Waiting
from hpcretrain.config.load import shipped_policy
from hpcretrain.evidence import Finding, Outcome, PriorityClass
from hpcretrain.policy.admit import State, admit, gather, merged, ordered, turn
from hpcretrain.policy.expect import Turn, starts
from hpcretrain.policy.types import Admission, Dimension, Training

BUDGET = {"reason": "a test"}


def finding(backlog: list[Waiting], state: State, check: str, **changes: Any) -> Finding:
    """The finding of a check about the last of the backlog."""
    last = admit(backlog, state, rules(**changes), NOW)[-1]
    return next(each for each in last.findings if each.check == check)


def started(backlog: list[Waiting], state: State, **changes: Any) -> list[str]:
    return [each.request.model for each in admit(backlog, state, rules(**changes), NOW) if each.runs]


def test_classes_go_by_urgency_until_they_have_waited_long_enough() -> None:
    backlog = [waits("b", "background", -30), waits("s", "standard", 0), waits("u", "urgent", 0)]
    assert [each.model for each in ordered(backlog, rules())] == ["u", "s", "b"]
    old = [waits("b", "background", -80), *backlog[1:]]
    assert [each.model for each in ordered(old, rules())] == ["b", "u", "s"]


def test_a_deadline_brings_a_request_forward_to_its_latest_start_but_not_before_it_was_asked() -> None:
    near = waits("d", "background", 0, deadline=NOW + 5 * HOUR)
    assert turn(near, rules()) == NOW + 3 * HOUR
    assert turn(replace(near, deadline=NOW + HOUR), rules()) == NOW
    assert turn(replace(near, deadline=NOW + 500 * HOUR), rules()) == NOW + 72 * HOUR


def test_a_request_with_a_deadline_never_comes_later_than_without() -> None:
    assert [each.model for each in ordered([waits("a"), waits("d", deadline=NOW + 9 * HOUR)], rules())] == ["d", "a"]


def test_a_deadline_that_passed_asks_for_a_person() -> None:
    late = finding([waits("d", asked=-9, deadline=NOW - HOUR)], State(), "deadline")
    assert late.outcome is Outcome.FAIL
    assert "request it anew, or cancel it" in late.reason
    assert finding([waits("d", deadline=NOW + HOUR)], State(), "deadline").outcome is Outcome.PASS


def test_two_requests_of_a_model_are_one_with_the_earliest_turn_and_the_most_urgent_class() -> None:
    first = waits("m", "urgent", -5, deadline=NOW + HOUR, request="first")
    [one] = merged([waits("m", "background", -1, request="second", cpu_hours=9.0), first])
    assert (one.request, one.asked_at, one.cpu_hours) == ("second", first.asked_at, 9.0)
    assert one.priority_class is PriorityClass.URGENT
    assert one.deadline == first.deadline


def test_a_class_runs_as_many_as_its_limit_and_other_classes_pass_it_only_then() -> None:
    backlog = [waits("s1", asked=-9), waits("s2", asked=-8), waits("b", "background", -50)]
    assert started(backlog, State(), standard={"most_running": 1}) == ["s1", "b"]
    assert started(backlog, State(), most_running=2) == ["s1", "s2"]
    found = finding([waits("s")], State(running=[runs("x")]), "running:standard", standard={"most_running": 1})
    assert (found.outcome, found.observed, found.limit) == (Outcome.WAIT, 1, 1)


def test_a_more_urgent_request_takes_the_slot_of_its_own_models_lesser_training() -> None:
    state = State(running=[runs("m", "background")])
    assert started([waits("m", "urgent")], state, most_running=1) == ["m"]
    assert started([waits("other", "urgent")], state, most_running=1) == []


def test_what_gives_way_leaves_its_slot_to_others_too() -> None:
    state = State(running=[runs("m", "background")])
    assert started([waits("m", "urgent", -2), waits("other", "urgent", -1)], state, most_running=2) == ["m", "other"]


def test_who_is_ahead_keeps_its_slot_though_its_home_has_not_looked_yet() -> None:
    ahead, behind = waits("a", asked=-9), waits("b", asked=-1)
    assert started([behind, ahead], State(), most_running=1) == ["a"]
    assert started([behind, replace(ahead, lacks="training_rows")], State(), most_running=1) == ["b"]


@pytest.mark.parametrize(("what", "limit"), [("model", 10.0), ("team", 10.0), ("all", 10.0)])
def test_hours_used_and_reserved_in_the_month_leave_less(what: str, limit: float) -> None:
    budget = {**BUDGET, what: limit}
    asks = waits("m", team="t")
    state = State(spent=[Spent("m", "t", "2026-11", 4.0)], running=[runs("m", team="t", cpu_hours=2.0)])
    found = finding([asks], state, f"hours:{what}", hours=budget)
    assert (found.outcome, found.observed, found.limit) == (Outcome.PASS, 9.0, 10.0)
    assert finding([replace(asks, cpu_hours=5.0)], state, f"hours:{what}", hours=budget).outcome is Outcome.WAIT
    other_month = State(spent=[Spent("m", "t", "2026-10", 400.0)])
    assert finding([asks], other_month, f"hours:{what}", hours=budget).outcome is Outcome.PASS


def test_two_that_fit_the_budget_one_by_one_do_not_both_fit_it() -> None:
    assert started([waits("a", asked=-2), waits("b", asked=-1)], State(), hours={**BUDGET, "all": 5.0}) == ["a"]


def test_months_follow_the_time_zone() -> None:
    berlin = rules(time_zone="Europe/Berlin")
    assert berlin.next_month(NOW).isoformat() == "2026-11-30T23:00:00+00:00"
    state, budget = State(spent=[Spent("m", None, "2026-12", 9.0)]), {**BUDGET, "model": 10.0}
    late = NOW.replace(day=30, hour=23, minute=30)
    in_berlin = rules(time_zone="Europe/Berlin", hours=budget)
    assert admit([waits("m")], state, in_berlin, late)[0].outcome is Outcome.WAIT
    assert admit([waits("m")], state, rules(hours=budget), late)[0].outcome is Outcome.PASS


def test_a_team_budget_does_not_pass_a_model_of_nobody() -> None:
    found = finding([waits("m")], State(), "hours:team", hours={**BUDGET, "team": 99.0})
    assert (found.outcome, found.observed, found.limit) == (Outcome.INSUFFICIENT, "no team", 99.0)
    assert "a team 99 CPU hours a month" in found.reason


def test_releases_of_the_last_days_spend_risk() -> None:
    budget = {**BUDGET, "days": 30.0, "model": 3.0, "rollback_points": 2.0}
    spent = [Risk("m", None, NOW - 48 * HOUR, 2.0), Risk("m", None, NOW - timedelta(days=31), 9.0)]
    assert finding([waits("m")], State(risks=spent), "risk:model", risk=budget).observed == 3.0
    over = [*spent, Risk("m", None, NOW - HOUR, 1.0)]
    assert finding([waits("m")], State(risks=over), "risk:model", risk=budget).outcome is Outcome.WAIT
    assert finding([waits("other")], State(risks=over), "risk:model", risk=budget).outcome is Outcome.PASS


def test_what_comes_after_another_waits_until_that_was_refreshed() -> None:
    asks = waits("b", after=("a",), trained_at=NOW - 5 * HOUR)
    fresh, stale = State(refreshed={"a": NOW - HOUR}), State(refreshed={"a": NOW - 9 * HOUR})
    assert finding([asks], fresh, "after:a").outcome is Outcome.PASS
    assert finding([asks], stale, "after:a").outcome is Outcome.WAIT
    unknown, limit = finding([asks], State(), "after:a"), (NOW - 5 * HOUR).isoformat()
    assert (unknown.outcome, unknown.observed, unknown.limit) == (Outcome.INSUFFICIENT, "never heard of", limit)
    assert finding([replace(asks, trained_at=None)], fresh, "after:a").limit == "never trained"
    busy = State(refreshed={"a": NOW - HOUR}, running=[runs("a")])
    assert finding([asks], busy, "after:a").outcome is Outcome.WAIT


@pytest.mark.parametrize(("scope", "held"), [("", True), ("all", True), ("standard", True), ("urgent", False)])
def test_a_stop_holds_what_it_is_about(scope: str, held: bool) -> None:
    stop = Stop(scope, "ann", NOW - HOUR, "an incident")
    found = finding([waits("m")], State(stops=[stop]), "stop")
    assert found.outcome is (Outcome.WAIT if held else Outcome.PASS)
    assert (found.observed, found.limit) == (int(held), 0)
    assert not held or "ann stopped" in found.reason


def test_what_cannot_be_read_is_not_taken_for_free() -> None:
    trouble = Finding("board", Outcome.INSUFFICIENT, "home-a.json cannot be read")
    assert started([waits("m")], State(troubles=(trouble,))) == []


def test_a_silent_home_keeps_its_reservation_and_loses_its_place() -> None:
    old = Entry("h", "a", NOW - 25 * HOUR, waiting=(waits("a", "urgent"),), running=(runs("a", cpu_hours=7.0),))
    new = Entry("g", "b", NOW, waiting=(waits("b"),))
    backlog, state = gather([old, new], rules(), NOW)
    assert [each.model for each in backlog] == ["b"]
    assert [each.cpu_hours for each in state.running] == [7.0]


FURTHER = {"most_running": 50, "delay_hours": 48.0, "reason": "a class that the site names"}
ALL_DELAYS = {**DELAYS, "nightly": 48.0}
classes = st.sampled_from(sorted(ALL_DELAYS))
arrivals = st.lists(
    st.tuples(classes, st.integers(0, 200), st.integers(1, 9), st.none() | st.integers(0, 100)), min_size=1, max_size=20
)


@settings(deadline=None, max_examples=40)
@given(arrivals, st.integers(1, 3))
def test_nobody_is_overtaken_by_what_is_asked_later_than_its_delay_after_it(
    asked: list[tuple[str, int, int, int | None]], slots: int
) -> None:
    """Requests come for weeks, slots become free, and the order decides anew each time."""
    law = rules(most_running=slots, nightly=FURTHER, **{name: {"most_running": 50} for name in DELAYS})
    coming = [
        waits(f"m{n}", wanted, at, hours=float(length), deadline=None if due is None else NOW + (at + due) * HOUR)
        for n, (wanted, at, length, due) in enumerate(asked)
    ]
    begun: dict[str, int] = {}
    busy: dict[str, int] = {}
    hour = 0
    while len(begun) < len(coming):
        now = NOW + hour * HOUR
        busy = {model: end for model, end in busy.items() if end > hour}
        here = [each for each in coming if each.asked_at <= now and each.model not in begun]
        # A deadline that passed needs a person; here one says at once that it is still wanted.
        here = [replace(each, deadline=None) if each.deadline and each.deadline <= now else each for each in here]
        state = State(running=[runs(model) for model in busy])
        for each in admit(here, state, law, now):
            if each.runs:
                begun[each.request.model], busy[each.request.model] = hour, hour + int(each.request.hours)
        assert len(busy) <= slots
        hour += 1
    for one in coming:
        bound = one.asked_at + ALL_DELAYS[one.priority_class.value] * HOUR
        for other in coming:
            if other.asked_at > bound:
                assert begun[other.model] >= begun[one.model]


@settings(deadline=None, max_examples=30)
@given(arrivals, st.randoms())
def test_the_order_in_which_requests_are_told_does_not_matter(
    asked: list[tuple[str, int, int, int | None]], chance: Any
) -> None:
    backlog = [waits(f"m{n}", wanted, at, hours=float(length)) for n, (wanted, at, length, _) in enumerate(asked)]
    mixed = list(backlog)
    chance.shuffle(mixed)
    assert admit(mixed, State(), rules(most_running=2), NOW) == admit(backlog, State(), rules(most_running=2), NOW)


@settings(deadline=None, max_examples=30)
@given(arrivals, st.integers(1, 4), st.integers(0, 4))
def test_never_more_begin_than_there_is_room_and_budget(
    asked: list[tuple[str, int, int, int | None]], slots: int, busy: int
) -> None:
    backlog = [waits(f"m{n}", wanted, at, cpu_hours=float(length)) for n, (wanted, at, length, _) in enumerate(asked)]
    state = State(running=[runs(f"r{n}") for n in range(busy)])
    law = rules(most_running=slots, hours={**BUDGET, "all": 20.0}, urgent={"most_running": 1})
    begun = [each.request for each in admit(backlog, state, law, NOW) if each.runs]
    assert len(begun) <= max(slots - busy, 0)
    assert sum(each.cpu_hours for each in begun) + 3.0 * busy <= 20.0 or not begun
    assert sum(each.priority_class is PriorityClass.URGENT for each in begun) <= 1


def test_expected_starts_follow_slots_windows_and_months() -> None:
    law = rules(most_running=2, standard={"most_running": 1})
    turns = [
        Turn(waits("a"), {"running:standard": Outcome.WAIT}),
        Turn(waits("b"), {"running:standard": Outcome.WAIT}),
        Turn(waits("w", "urgent", not_before=NOW + 9 * HOUR, lacks="window"), {}),
        Turn(waits("m", "urgent"), {"hours:all": Outcome.WAIT}),
        Turn(waits("x", "urgent", lacks="training_rows"), {}),
        Turn(waits("y", "urgent"), {"stop": Outcome.WAIT}),
        Turn(waits("z", "urgent"), {"hours:team": Outcome.INSUFFICIENT}),
    ]
    month = law.next_month(NOW)
    found = starts(turns, [runs("r", ends=1.0)], law, NOW, month)
    assert found == [NOW + HOUR, NOW + 3 * HOUR, NOW + 9 * HOUR, month, None, None, None]


def test_a_training_whose_end_nobody_knows_makes_the_start_behind_it_unknown() -> None:
    one = [Turn(waits("a"), {"running:all": Outcome.WAIT})]
    assert starts(one, [runs("r", ends=None)], rules(most_running=1), NOW, NOW) == [None]
    assert starts(one, [runs("r", ends=-5.0)], rules(most_running=1), NOW, NOW) == [NOW]
    more_than_may = [runs("r", ends=1.0), runs("q", ends=3.0)]
    assert starts(one, more_than_may, rules(most_running=1), NOW, NOW) == [NOW + 3 * HOUR]


def test_an_entry_is_read_as_it_was_written() -> None:
    entry = Entry(
        "h", "m", NOW, (waits("m", deadline=NOW, by="ann", after=("a",)),), (runs("m"),),
        (Spent("m", "t", "2026-11", 1.0),), (Risk("m", None, NOW, 2.0),), NOW,
    )  # fmt: skip
    assert Entry.parse(entry.text) == entry
    with pytest.raises(ValueError, match="waiting"):
        Entry.parse(entry.text.replace('"waiting":[', '"waiting":[1,'))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time_zone": "Mars/Olympus"}, "is no time zone"),
        ({"hours": BUDGET}, "says nothing"),
        ({"headroom": {"signal": "p95_ms", **BUDGET}}, "belong together"),
        ({"headroom": BUDGET}, "says nothing"),
        ({"risk": {"days": 1, "rollback_points": 1, **BUDGET}}, "says nothing"),
    ],
)
def test_rules_that_say_nothing_or_nonsense_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        rules(**change)


def test_the_rules_and_the_ladder_that_the_documents_show_load() -> None:
    text = (Path(__file__).parents[2] / "docs" / "admission.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    tables, worth, ladder, ranges = (tomllib.loads(block) for block in blocks)
    rules, more = tables["admission"], worth["admission"]
    Admission.model_validate(rules)
    priced = more.pop("background")
    Admission.model_validate({**rules, **more, **{name: {**rules[name], **priced} for name in DELAYS}})
    training = shipped_policy().training.model_dump()
    assert Training.model_validate({**training, "rungs": ladder["training"]["rungs"]}).rungs
    assert all(Dimension.model_validate(each) for each in ranges["model"]["search"].values())

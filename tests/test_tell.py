"""What others measured is told to a home that lives, and counts there as what the home measured itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lives import Home, slowly
from tables import configure, orders, write_policy

from hpcretrain import again
from hpcretrain.adapters.ledger import verify
from hpcretrain.answer import Answer
from hpcretrain.config.load import read_policy
from hpcretrain.errors import InputError
from hpcretrain.evidence import Advice, Family, Measure, PriorityClass
from hpcretrain.history import History
from hpcretrain.messages import MOST_SIGNALS, Message, Person, Verb, identifier, telling
from hpcretrain.records import Action, Outcome, Signal, parse

OWNER, EVE = Person("svc", owner=True), Person("eve")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture(scope="module")
def alive(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home after two batches of a table in which nothing changes; new rows alone ask for nothing."""
    folder = tmp_path_factory.mktemp("alive")
    config = configure(folder, orders(rows=6_000, minutes=20, change_at=None), **write_policy(folder, min_rows="400"))
    policy = folder / "policy.toml"
    fresh = "[score.families.freshness]\nweight = "
    policy.write_text(policy.read_text().replace(f"{fresh}0.35", f"{fresh}0.0"))
    home = Home(config, folder / "home")
    home.advance(home.until + 2 * home.step)
    return home


@pytest.fixture
def home(alive: Home, tmp_path: Path) -> Home:
    shutil.copytree(alive.place, tmp_path / "home")
    copied = Home.__new__(Home)
    vars(copied).update(vars(alive) | {"place": tmp_path / "home"})
    return copied


def tick(home: Home) -> datetime:
    """The newest batch."""
    return home.until + 2 * home.step


def line(home: Home, **changes: Any) -> Measure:
    """Serving that got slower by the full scale, measured three hours after the newest batch."""
    measure = Measure("orders", Family.SERVING, "latency_p95", tick(home) + 3 * HOUR, 1.0, 0.5, 600, reason="slower")
    return measure._replace(**changes)


def tell(home: Home, *measures: Measure, after: timedelta = 4 * HOUR, person: Person = OWNER) -> Answer:
    return home.answer(tick(home) + after, telling(measures), person)


def told(history: History) -> list[Signal]:
    return [each for each in history.known.values() if isinstance(each, Signal) and each.told_by]


def replayed(home: Home) -> list[again.Again]:
    return list(again.replay(home.history().known.values(), read_policy))


def test_what_is_told_counts_at_once_and_is_in_the_ledger_with_who_told_it(home: Home) -> None:
    before = home.history().assessment
    answer = tell(home, line(home))
    history = home.history()
    [signal] = told(history)
    assert answer.done
    assert "1 signals are new" in answer.reason
    assert (signal.told_by, signal.at, signal.measure.at) == ("svc", history.known[signal.id].at, line(home).at)
    assert (signal.effect, signal.lower_bound, signal.finding.outcome) == (1.0, 0.5, Outcome.FAIL)
    assert before is not None
    assert before.contributions["serving"] == 0
    assert history.assessment is not None
    assert history.assessment.contributions["serving"] > 0
    assert history.assessment.answers == (signal.id,)
    assert all(each.outcome is Outcome.PASS for each in verify(home.place / "ledger.jsonl"))


def test_told_signals_outlive_a_restart_and_replay_to_the_same_bytes(home: Home) -> None:
    measures = [
        line(home),
        line(home, name="late", at=tick(home) - 2 * DAY),
        line(home, family=Family.PERFORMANCE, name="kpi_returns", lower_bound=0.15),
        line(home, family=Family.EXTERNAL, name="launch", effect=None, lower_bound=None, deadline=tick(home) + 3 * DAY),
    ]
    tell(home, *measures)
    home.advance(home.until + 4 * home.step)
    assert {each.same for each in replayed(home)} == {True}
    assert all(parse(each.body).id == each.id for each in home.history().known.values())


def test_a_signal_that_names_no_deadline_and_no_teller_is_written_as_before(home: Home) -> None:
    own = home.history().signals[0]
    assert "deadline" not in json.loads(own.body)
    assert "told_by" not in json.loads(own.body)


def calm_course(home: Home, **gate: int) -> again.Course:
    """Under a policy by which decline never asks."""
    history = home.history()
    assert history.activation is not None
    policy = read_policy(history.activation.policy)
    score, rows = (part.model_copy(update=change) for part, change in
                   ((policy.score, {"threshold": 1000}), (policy.gate, gate)))  # fmt: skip
    return again.course(list(history.known.values()), policy.model_copy(update={"score": score, "gate": rows}))


def test_what_is_asked_from_outside_is_asked_under_any_policy_and_until_it_has_run(home: Home) -> None:
    assert not calm_course(home).asked
    tell(home, line(home, family=Family.EXTERNAL, name="new law", effect=None, lower_bound=None))
    once = calm_course(home)
    assert (once.asked, once.outside) == ([tick(home) + 4 * HOUR], 1)
    home.advance(tick(home) + 3 * home.step)
    later = calm_course(home)
    assert (len(later.asked), later.outside, len(later.ran)) == (1, 1, 1)
    assert later.cost_mrow_passes


def test_what_a_person_asks_for_counts_and_waits_until_he_takes_it_back(home: Home) -> None:
    def request(hours: int) -> Answer:
        wish = Message(identifier(), Verb.REQUEST, "audit", None, PriorityClass.BACKGROUND)
        return home.answer(tick(home) + hours * HOUR, wish, OWNER, slowly({}, 99))

    many = {"min_rows": 1_000_000, "max_rows": 2_000_000}
    asked = request(1)
    ran, waits = calm_course(home), calm_course(home, **many)
    assert (ran.asked, ran.outside, len(ran.ran)) == ([tick(home) + HOUR], 1, 1)
    assert (waits.asked, waits.outside, len(waits.ran)) == ([tick(home) + HOUR], 1, 0)
    request(2)
    assert len(calm_course(home, **many).asked) == 1, "the first still waits"
    home.answer(tick(home) + 3 * HOUR, Message(identifier(), Verb.CANCEL, "no", asked.subject), OWNER, slowly({}, 99))
    request(4)
    assert len(calm_course(home, **many).asked) == 2


def test_the_same_line_told_twice_is_one_whoever_tells_it(home: Home) -> None:
    tell(home, line(home), line(home))
    records = len(home.history().known)
    answer = tell(home, line(home), after=5 * HOUR, person=Person("other", owner=True))
    assert answer.done
    assert "1 were known already" in answer.reason
    assert len(home.history().known) == records
    assert len(told(home.history())) == 1


def test_what_is_measured_between_two_batches_counts_with_the_newest_and_then_with_the_next(home: Home) -> None:
    tell(home, line(home))
    between = home.history().assessment
    home.advance(tick(home) + home.step)
    after = home.history().assessment
    assert between is not None
    assert after is not None
    assert between.levels["serving"] == after.levels["serving"] > 0, "it is in the newest slot both times"
    home.advance(tick(home) + 2 * home.step)
    assert home.history().signals, "nothing was released meanwhile"
    fallen = home.history().assessment
    assert fallen is not None
    blind = fallen.levels["blind"]
    assert blind > 0, "what was heard and is not heard any more is no sign of health"


def test_what_is_told_late_falls_into_its_slot(home: Home) -> None:
    tell(home, line(home, at=tick(home) - home.step - HOUR), line(home, at=tick(home) - HOUR, lower_bound=0.0))
    late = home.history().assessment
    assert late is not None
    assert 0 < late.levels["serving"] < 0.3, "half a half-life old"


def test_what_is_ahead_of_time_counts_when_it_is_due_and_is_refused_beyond_a_batch(home: Home) -> None:
    ahead = tell(home, line(home, at=tick(home) + 6 * HOUR))
    waiting = home.history().assessment
    assert ahead.done
    assert waiting is not None
    assert waiting.contributions["serving"] == 0
    assert "future" in {each.check for each in waiting.findings}
    home.advance(tick(home) + home.step)
    due = home.history().assessment
    assert due is not None
    assert due.contributions["serving"] > 0
    records = len(home.history().known)
    refused = tell(home, line(home), line(home, at=tick(home) + 3 * home.step), after=home.step + HOUR)
    assert not refused.done
    assert "signal 2: is of" in refused.reason
    assert "see to the clock" in refused.reason
    assert len(home.history().known) == records, "all of a message or nothing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "other"}, "signal 1: is about other; this home is about orders"),
        ({"at": datetime.fromisoformat("2020-01-01T00:00Z")}, "when no model served yet"),
    ],
)
def test_what_cannot_be_about_what_serves_is_refused(home: Home, change: dict[str, Any], words: str) -> None:
    answer = tell(home, line(home, **change))
    assert not answer.done
    assert words in answer.reason
    assert not told(home.history())


def test_who_may_not_ask_may_not_tell(home: Home) -> None:
    answer = tell(home, line(home), person=EVE)
    assert not answer.done
    assert "may_ask" in answer.reason
    assert not told(home.history())


def test_ten_thousand_at_once_are_one_message_and_one_assessment(home: Home) -> None:
    before = len(home.history().known)
    storm = [line(home, lower_bound=0.5 * (k % 2), n=600 + k) for k in range(MOST_SIGNALS)]
    answer = tell(home, *storm)
    history = home.history()
    assert answer.done
    assert len(history.known) == before + MOST_SIGNALS + 1
    assert history.assessment is not None
    one = history.assessment.levels["serving"]
    assert 0 < one < 0.3, "a storm counts as one"
    with pytest.raises(InputError, match="10,001 signals; at most 10,000 are told at once"):
        telling([*storm, line(home)])


def test_what_is_not_finite_is_held_for_a_person(home: Home) -> None:
    tell(home, line(home, effect=float("nan"), lower_bound=None))
    history = home.history()
    assert told(history)[0].finding.outcome is Outcome.ERROR
    assert history.assessment is not None
    assert history.assessment.action is Advice.HOLD_AND_INVESTIGATE
    assert {each.same for each in replayed(home)} == {True}


def test_a_business_figure_that_falls_asks_for_a_retraining(home: Home) -> None:
    measures = [
        line(home, family=Family.PERFORMANCE, name="kpi_returns", effect=0.2, lower_bound=0.2, at=tick(home) - k * DAY)
        for k in (0, 8)
    ]
    answer = tell(home, *measures)
    [cycle] = home.history().cycles
    assert cycle.request.triggers == ("performance",)
    assert answer.subject == cycle.request.id
    assert cycle.run is not None or cycle.decisions[-1].action in (Action.WAIT, Action.HOLD)


@pytest.mark.parametrize(
    ("days", "wanted"), [(1, PriorityClass.URGENT), (10, PriorityClass.STANDARD), (40, PriorityClass.BACKGROUND)]
)
def test_an_event_with_a_deadline_asks_for_a_retraining_in_the_class_that_its_slack_gives(
    home: Home, days: int, wanted: PriorityClass
) -> None:
    event = line(
        home, family=Family.EXTERNAL, name="regulator", effect=None, lower_bound=None, n=0, reason="a new rule"
    )
    tell(home, event._replace(deadline=tick(home) + days * DAY))
    [cycle] = home.history().cycles
    assert cycle.request.priority_class is wanted
    assert cycle.request.triggers == ("external",)
    assert "a new rule" in cycle.request.reason
    assert {each.same for each in replayed(home)} == {True}


def test_an_event_without_a_deadline_asks_for_one_training(home: Home) -> None:
    event = line(home, family=Family.EXTERNAL, name="launch", effect=None, lower_bound=None, n=0, reason="a launch")
    tell(home, event)
    history = home.history()
    assert len(history.cycles) == 1
    assert history.cycles[0].review is not None, "nothing changes in this table, so no candidate is better"
    assert not history.standing
    home.advance(tick(home) + home.step)
    assert len(home.history().cycles) == 1


def test_a_message_that_tells_comes_through_as_it_was() -> None:
    measures = [Measure("orders", Family.BLIND, "ü", datetime.fromisoformat("2026-01-01T00:00Z"), None, None, 0)]
    message = telling(measures, "why")
    assert Message.parse(message.text) == message
    assert Message.parse(message.text).measures() == measures


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Message(identifier(), Verb.TELL, signals=" " * 4_000_001), "at most 4,000,000 bytes at once"),
        (lambda: Message(identifier(), Verb.TELL), "at most 4,000,000 bytes at once"),
        (lambda: Message(identifier(), Verb.APPROVE, subject="ask", signals="{}"), "only to tell holds"),
        (lambda: Message(identifier(), Verb.TELL, signals="{").measures(), "signals: line 1: is not JSON"),
        (lambda: Message(identifier(), Verb.TELL, signals="\n" * 10_001).measures(), "10,001 signals"),
    ],
)
def test_a_message_that_cannot_be_told_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()

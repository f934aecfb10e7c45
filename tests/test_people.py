"""What people ask of a home that lives: requests, approvals, denials, ends."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from lives import Home, Killed, mortal, slowly
from tables import configure, orders, write_policy

from hpcretrain.adapters.ledger import verify
from hpcretrain.cycle import Cycle
from hpcretrain.errors import InputError
from hpcretrain.messages import Message, Person, Verb, identifier
from hpcretrain.records import Action, Asked, Closing, Outcome, PriorityClass

HOUR = timedelta(hours=1)
ANN, BOB, EVE = Person("ann", frozenset({"staff"})), Person("bob", frozenset({"leads"})), Person("eve")
OWNER = Person("svc", owner=True)
OS = "operating system"
APPROVALS = """
[approvals]
run = ["urgent"]
release = ["standard"]
approvers = ["ann", "%leads"]
requesters = ["%staff"]
expires_h = 24
"""

TABLE = orders(rows=8_000, minutes=16, change_at=None)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing changes in this table: whatever is trained was asked for."""
    folder = tmp_path_factory.mktemp("people")
    return configure(folder, TABLE, **write_policy(folder, weight="0.001"))


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("governed")
    path = configure(folder, TABLE, **write_policy(folder, weight="0.001"))
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + APPROVALS)
    return path


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Here a new model is better, and its release wants an approval."""
    folder = tmp_path_factory.mktemp("changing")
    path = configure(folder, orders(rows=8_000, minutes=16), **write_policy(folder, weight="0.001"))
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + APPROVALS)
    return path


def asks(
    verb: Verb = Verb.REQUEST, subject: str | None = None, wanted: str = "urgent", key: str | None = None
) -> Message:
    priority_class = PriorityClass(wanted) if verb is Verb.REQUEST else None
    return Message(identifier(key), verb, "an incident", subject, priority_class)


def begun(config: Path, place: Path, batches: int = 4) -> tuple[Home, datetime]:
    """A home after some batches, and a time within the next."""
    home = Home(config, place)
    now = home.until + batches * home.step
    home.advance(now)
    return home, now + HOUR


def last(home: Home) -> Cycle:
    return home.history().cycles[-1]


def test_a_request_in_person_is_decided_and_trained_at_once(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    assert not home.history().cycles
    answer = home.answer(now, asks(), OWNER)
    cycle = last(home)
    assert answer.done
    assert answer.subject == cycle.request.id
    assert cycle.request.priority_class is PriorityClass.URGENT
    assert "svc asks for it: an incident" in cycle.request.reason
    assert cycle.run is not None
    assert {job.priority_class for job in cycle.jobs} == {PriorityClass.URGENT}
    assert cycle.run.at == now
    assert cycle.verdicts
    observed = home.history().slots[-1][1]
    assert all(job.window.end <= observed for job in cycle.jobs), "no row is learned that was not looked at"
    assert all(each.outcome is Outcome.PASS for each in verify(home.place / "ledger.jsonl"))


def test_only_the_owner_asks_where_the_policy_names_nobody(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    answer = home.answer(now, asks(), ANN)
    assert not answer.done
    assert "may_ask" in answer.reason
    assert "ann" in answer.reason
    assert not home.history().cycles


def test_the_same_request_twice_is_one_and_a_second_that_is_no_more_urgent_finds_the_first(
    config: Path, tmp_path: Path
) -> None:
    home, now = begun(config, tmp_path / "home")
    asked: dict[str, int] = {}
    slow = slowly(asked, 1_000)
    first = home.answer(now, asks(key="incident 7"), OWNER, slow)
    again = home.answer(now + HOUR, asks(key="incident 7"), OWNER, slow)
    other = home.answer(now + HOUR, asks(wanted="standard"), OWNER, slow)
    assert again == first
    assert other.done
    assert other.subject == first.subject
    assert "stands already" in other.reason
    assert len(home.history().cycles) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_request_that_is_cut_short_at_any_write_is_done_once_and_to_the_same_records(
    config: Path, tmp_path: Path, seed: int
) -> None:
    home, now = begun(config, tmp_path / "whole")
    home.answer(now, asks(key="one"), OWNER)
    whole = list(home.history().known)
    chance = random.Random(seed)
    killed = 0
    for number in range(3):
        home, now = begun(config, tmp_path / f"cut{number}")
        for _ in range(6):
            try:
                home.answer(now, asks(key="one"), OWNER, mortal(chance.randint(1, 9), chance.random() < 0.5))
                break
            except Killed:
                killed += 1
        home.advance(now)
        home.answer(now, asks(key="one"), OWNER)
        assert list(home.history().known) == whole
    assert killed >= 3


def test_an_urgent_request_takes_the_place_of_a_training_that_is_less_so(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    asked: dict[str, int] = {}
    slow = slowly(asked, 1_000)
    home.answer(now, asks(wanted="background"), OWNER, slow)
    background = last(home)
    assert background.under_way
    home.answer(now + HOUR, asks(), OWNER, slow)
    history = home.history()
    assert [cycle.request.priority_class.value for cycle in history.cycles] == ["background", "urgent"]
    assert history.cycles[0].review is not None
    assert history.cycles[0].review.closing is Closing.SUPERSEDED
    assert history.training is history.cycles[1]
    assert asked["withdrawn"] == len(background.jobs) > 0
    home.advance(now + 2 * HOUR, slow)
    assert asked["withdrawn"] == len(background.jobs), "withdrawn once"
    assert home.advance(now + 3 * HOUR).awaits == {}
    assert last(home).verdicts


def test_a_training_that_is_ended_gives_nothing_and_its_jobs_are_withdrawn(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home")
    asked: dict[str, int] = {}
    home.answer(now, asks(), OWNER, slowly(asked, 1_000))
    request = last(home).request.id
    ended = home.answer(now + HOUR, asks(Verb.CANCEL, request[:12]), OWNER, slowly(asked, 1_000))
    assert ended.done
    cycle = last(home)
    assert cycle.review is not None
    assert cycle.review.closing is Closing.CANCELED
    assert asked["withdrawn"] == len(cycle.jobs)
    assert not home.advance(now + 2 * HOUR).awaits
    assert len(home.history().releases) == 1
    again = home.answer(now + 2 * HOUR, asks(Verb.CANCEL, request), OWNER)
    assert not again.done
    assert "has ended already: canceled" in again.reason
    # What was broken off does not count as a training that one has to rest from.
    assert home.answer(now + 2 * HOUR, asks(), OWNER).done
    assert last(home).run is not None


def pending(home: Home, what: Asked = Asked.RUN) -> str:
    asked = last(home).asked(what)
    assert asked is not None
    return asked[0].id


def test_urgent_work_waits_for_somebody_else_to_approve_it(governed: Path, tmp_path: Path) -> None:
    home, now = begun(governed, tmp_path / "home")
    first = home.answer(now, asks(), ANN)
    assert first.done
    assert "wait" in first.reason
    assert last(home).run is None
    ask = pending(home)
    facts = {fact.check: fact for fact in last(home).asks[-1].facts}
    assert {"gain", "slack", "risk", "cost"} <= set(facts)
    said = {person.name: home.answer(now, asks(Verb.APPROVE, ask), person).reason for person in (ANN, EVE)}
    assert "four_eyes" in said["ann"]
    assert "not ann" in said["ann"]
    assert "may_ask" in said["eve"]
    assert last(home).run is None
    yes = home.answer(now + HOUR, asks(Verb.APPROVE, ask), BOB)
    assert yes.done, yes.reason
    cycle = last(home)
    assert cycle.run is not None
    [approval] = cycle.approvals[ask]
    assert approval.id in cycle.run.answers
    assert (approval.actor, approval.right, approval.identity) == ("bob", "by name (member of leads)", OS)
    late = home.answer(now + HOUR, asks(Verb.APPROVE, ask), BOB)
    assert not late.done
    assert "unanswered" in late.reason


def test_what_was_denied_or_has_expired_is_dropped_and_cannot_be_approved(governed: Path, tmp_path: Path) -> None:
    home, now = begun(governed, tmp_path / "home")
    home.answer(now, asks(), ANN)
    assert home.answer(now, asks(Verb.DENY, pending(home)), BOB).done
    cycle = last(home)
    assert cycle.review is not None
    assert cycle.review.closing is Closing.DROPPED
    assert "denied by bob" in str(cycle.decisions[-1].findings)
    home.answer(now + HOUR, asks(), ANN)
    ask = pending(home)
    tomorrow = now + 26 * HOUR
    refused = home.answer(tomorrow, asks(Verb.APPROVE, ask), BOB)
    assert not refused.done
    assert "approval:expiry" in refused.reason
    home.advance(home.until + 5 * home.step)
    assert last(home).decisions[-1].action is Action.DROP


def test_a_candidate_is_released_by_an_approval_of_that_very_candidate(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home", batches=8)
    home.answer(now, asks(wanted="standard"), OWNER)
    ask = last(home).asks[-1]
    assert ask.asked is Asked.RELEASE
    assert ask.model_digest == last(home).candidates[ask.subject].model_digest
    assert any(fact.check.startswith("superior") or "auc" in fact.check for fact in ask.facts), ask.facts
    home.advance(now + HOUR)
    assert len(home.history().releases) == 1, "it waits"
    assert len(last(home).asks) == 1, "it is asked once"
    assert not home.answer(now + HOUR, asks(Verb.APPROVE, "ask-0"), BOB).done
    assert home.answer(now + 2 * HOUR, asks(Verb.APPROVE, ask.id), BOB).done
    release = home.history().releases[-1]
    assert release.candidate == ask.subject
    assert {each.id for each in last(home).approvals[ask.id]} <= set(release.answers)


def test_a_candidate_that_is_denied_does_not_serve(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home", batches=8)
    home.answer(now, asks(wanted="standard"), OWNER)
    assert home.answer(now + HOUR, asks(Verb.DENY, last(home).asks[-1].id), BOB).done
    cycle = last(home)
    assert cycle.review is not None
    assert cycle.review.closing is Closing.REJECTED
    assert len(home.history().releases) == 1


def test_what_an_approver_sets_aside_is_named_and_nothing_else_is(governed: Path, tmp_path: Path) -> None:
    home, now = begun(governed, tmp_path / "home")
    home.answer(now, asks(wanted="background"), OWNER)
    assert last(home).run is not None
    home.advance(home.until + 5 * home.step)
    now += home.step
    home.answer(now, asks(wanted="background"), OWNER)
    cycle = last(home)
    assert cycle.run is None, "too soon after the other"
    ask = cycle.asks[-1]
    assert ask.overrules == ("cooldown",)
    assert home.answer(now, asks(Verb.APPROVE, ask.id), ANN).done
    run = last(home).run
    assert run is not None
    assert "set aside by ann" in next(each.reason for each in run.findings if each.check == "cooldown")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: asks(Verb.APPROVE), "name what"),
        (lambda: Message(identifier(), Verb.REQUEST, " ", None, PriorityClass.URGENT), "has a reason"),
        (lambda: Message(identifier(), Verb.REQUEST, "a\nb", None, PriorityClass.URGENT), "one line"),
        (lambda: Message("x", Verb.REQUEST, "a", None, PriorityClass.URGENT), "no identifier"),
        (lambda: Message(identifier(), Verb.REQUEST, "a"), "names a class"),
        (lambda: Message.parse("[]"), "no message"),
        (lambda: Message.parse("{"), "no message"),
        (lambda: Message.parse('{"id": 1}'), "no message"),
    ],
)
def test_what_is_no_message_is_refused(make: Callable[[], Message], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_a_message_is_the_same_after_it_was_written_down() -> None:
    for message in (asks(), asks(Verb.DENY, "ask-1")):
        assert Message.parse(message.text) == message


def test_a_training_whose_rows_change_is_given_up_and_never_doubled(tmp_path: Path) -> None:
    folder = tmp_path / "config"
    config = configure(folder, TABLE, **write_policy(folder, weight="0.001"))
    home, now = begun(config, tmp_path / "home")
    asked: dict[str, int] = {}
    slow = slowly(asked, 1_000)
    home.answer(now, asks(wanted="standard"), OWNER, slow)
    jobs = last(home).jobs
    late = TABLE.iloc[[1_000]].assign(time=TABLE["time"].iloc[1_000] + timedelta(minutes=1))
    pd.concat([TABLE, late]).sort_values("time").to_csv(folder / "table.csv", index=False)
    home.advance(now + HOUR, slow)
    cycle = last(home)
    assert cycle.jobs == jobs, "no job was ordered beside them"
    assert cycle.review is not None
    assert cycle.review.closing is Closing.SUPERSEDED
    assert asked["withdrawn"] == len(jobs)
    assert home.answer(now + 2 * HOUR, asks(wanted="standard"), OWNER).done
    assert last(home).run is not None
    assert last(home).verdicts

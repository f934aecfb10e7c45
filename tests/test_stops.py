"""Stops, resumes and roll-backs that people order, in homes that live."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from lives import Home, slowly
from tables import configure, orders, write_policy

from hpcretrain import again
from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.config.load import read_policy
from hpcretrain.errors import InputError
from hpcretrain.messages import Message, Person, Verb, identifier
from hpcretrain.records import Action, Closing, Outcome, PriorityClass, ReleaseKind
from hpcretrain.report.explain import headline

HOUR = timedelta(hours=1)
OWNER, EVE = Person("svc", owner=True), Person("eve")


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Here a new model is better; nothing is trained unless somebody asks."""
    folder = tmp_path_factory.mktemp("stops")
    return configure(folder, orders(rows=8_000, minutes=16), **write_policy(folder, weight="0.000001"))


@pytest.fixture(scope="module")
def declining(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Here a retraining is called for by what is measured."""
    return configure(tmp_path_factory.mktemp("stops"), orders(rows=8_000, minutes=16))


def says(verb: Verb, subject: str | None = None, *, now: bool = False, wanted: str = "urgent") -> Message:
    asked = PriorityClass(wanted) if verb is Verb.REQUEST else None
    return Message(identifier(), verb, "an incident", subject, asked, at_once=now)


def begun(config: Path, place: Path, batches: int = 4) -> tuple[Home, datetime]:
    home = Home(config, place)
    now = home.until + batches * home.step
    home.advance(now)
    return home, now + HOUR


def until_released(home: Home, now: datetime) -> datetime:
    """Ask at each batch until what is trained is released."""
    while now <= home.last:
        home.answer(now, says(Verb.REQUEST), OWNER)
        if len(home.history().releases) > 1:
            return now + HOUR
        now += home.step
        home.advance(now - HOUR / 2)
    raise AssertionError("nothing was released")


@pytest.mark.parametrize(("scope", "held"), [("urgent", True), ("background", False)])
def test_what_is_stopped_is_not_trained_until_it_is_resumed(
    changing: Path, tmp_path: Path, scope: str, held: bool
) -> None:
    home, now = begun(changing, tmp_path / "home")
    assert home.answer(now, says(Verb.STOP, scope), OWNER).done
    answer = home.answer(now + HOUR, says(Verb.REQUEST), OWNER)
    [cycle] = home.history().cycles
    assert (cycle.run is None) is held
    found = [each for each in cycle.decisions[0].findings if each.check == "stop"]
    assert [(each.outcome, each.observed, each.limit) for each in found] == ([(Outcome.WAIT, 1, 0)] if held else [])
    if not held:
        return
    assert f"svc stopped class {scope} at " in answer.reason
    assert "(seen 1, limit 0)" in answer.reason, "who reads of a check that does not pass sees its numbers"
    assert home.answer(now + 2 * HOUR, says(Verb.RESUME, scope), OWNER).done
    home.advance(now + home.step)
    assert home.history().cycles[0].run is not None
    assert all(each.outcome is Outcome.PASS for each in verify(home.place / "ledger.jsonl"))


def test_a_second_stop_says_who_stopped_it_and_leaves_the_first(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home", 1)
    slow = slowly({}, 1_000)
    home.answer(now, says(Verb.REQUEST), OWNER, slow)
    assert home.answer(now, says(Verb.STOP, "model"), OWNER, slow).done
    [first] = home.history().standing_stops
    known = len(home.history().known)
    second = home.answer(now + HOUR, replace(says(Verb.STOP, "model"), reason="another"), OWNER, slow)
    assert second.done
    assert f"the model is stopped already, since {first.at:%Y-%m-%d %H:%M} UTC, by svc: an incident" in second.reason
    assert len(home.history().known) == known
    at_once = home.answer(now + 2 * HOUR, says(Verb.STOP, "model", now=True), OWNER, slow)
    assert "is ended" in at_once.reason
    assert home.history().standing_stops == (first,)
    assert home.history().training is None
    assert home.answer(now + 3 * HOUR, says(Verb.STOP, "urgent"), OWNER, slow).reason.startswith(
        "class urgent is stopped:"
    )


def test_only_what_stands_is_resumed_and_only_by_who_may(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home", 1)
    assert "stopped is nothing" in home.answer(now, says(Verb.RESUME, "model"), OWNER).reason
    for verb, subject in ((Verb.STOP, "model"), (Verb.RESUME, "model"), (Verb.ROLLBACK, None)):
        refused = home.answer(now, says(verb, subject), EVE)
        assert not refused.done
        assert "may_ask" in refused.reason
    assert not home.history().outside


def test_a_training_under_way_pauses_at_a_stop_and_is_ended_where_it_is_to_stop_now(
    changing: Path, tmp_path: Path
) -> None:
    home, now = begun(changing, tmp_path / "home")
    asked: dict[str, int] = {}
    slow = slowly(asked, 1)
    home.answer(now, says(Verb.REQUEST), OWNER, slow)
    home.answer(now + HOUR, says(Verb.STOP, "model"), OWNER, slow)
    for hours in (2, 3, 4):
        assert not home.advance(now + hours * HOUR, slow).awaits
    assert home.history().training is not None
    assert not home.history().verdicts, "nothing goes on meanwhile"
    home.answer(now + 5 * HOUR, says(Verb.STOP, "urgent", now=True), OWNER, slow)
    history = home.history()
    assert history.training is None
    assert history.cycles[0].review is not None
    assert history.cycles[0].review.closing is Closing.CANCELED
    assert asked["withdrawn"] == len(history.cycles[0].jobs)


def test_what_was_paused_goes_on_where_it_was(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home")
    slow = slowly({}, 1)
    home.answer(now, says(Verb.REQUEST), OWNER, slow)
    home.answer(now + HOUR, says(Verb.STOP, "model"), OWNER, slow)
    jobs = [job.id for job in home.history().cycles[0].jobs]
    home.answer(now + 2 * HOUR, says(Verb.RESUME, "model"), OWNER, slow)
    for hours in (3, 4, 5):
        home.advance(now + hours * HOUR, slow)
    [cycle] = home.history().cycles
    assert cycle.verdicts
    assert [job.id for job in cycle.jobs][: len(jobs)] == jobs


def test_a_stop_comes_before_batches_that_are_due(declining: Path, tmp_path: Path) -> None:
    home, _ = begun(declining, tmp_path / "home", 1)
    home.answer(home.last, says(Verb.STOP, "model"), OWNER)
    home.advance(home.last)
    history = home.history()
    assert history.cycles, "batches are looked at, and requests are made"
    assert not [cycle for cycle in history.cycles if cycle.run]
    assert len(history.releases) == 1
    assert all(each.outcome is Outcome.PASS for each in verify(home.place / "ledger.jsonl"))


def test_a_roll_back_by_hand_is_verified_and_ends_the_watch(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home")
    now = until_released(home, now)
    before, released = home.history().releases
    assert home.history().watched is not None
    answer = home.answer(now, says(Verb.ROLLBACK), OWNER)
    history = home.history()
    back = history.releases[-1]
    assert answer.done
    assert back.release_kind is ReleaseKind.ROLLBACK
    assert (back.candidate, back.model_digest) == (before.candidate, before.model_digest)
    assert back.previous == released.id
    assert history.watched is None
    [cycle] = [each for each in history.cycles if each.release]
    assert cycle.rollback is not None
    assert cycle.review is not None
    assert cycle.review.closing is Closing.ROLLED_BACK
    assert headline(history.known[back.answers[0]]) == "rollback, by svc: an incident", "its token is no limit"
    confirmed = FileLedger(home.place / "ledger.jsonl", read_only=True).notes("release_confirmed", back.id)
    assert confirmed, "the alias was moved and read back"
    again = home.answer(now + HOUR, says(Verb.ROLLBACK), OWNER)
    assert not again.done, "a second one does not lead back to what was taken back"
    assert "no earlier release" in again.reason
    assert all(each.outcome is Outcome.PASS for each in verify(home.place / "ledger.jsonl"))


def lacks(home: Home) -> set[str]:
    """The checks of the open request's last decision that do not pass, by the name before the colon."""
    cycle = home.history().open_cycle
    assert cycle is not None
    findings = cycle.decisions[-1].findings
    return {each.check.partition(":")[0] for each in findings if each.outcome is not Outcome.PASS}


def test_what_waits_is_decided_anew_once_a_roll_back_ends_the_watch_and_once_a_stop_is_lifted(
    changing: Path, tmp_path: Path
) -> None:
    home, now = begun(changing, tmp_path / "home")
    now = until_released(home, now)
    home.answer(now, says(Verb.STOP, "model"), OWNER)
    home.answer(now + HOUR, says(Verb.REQUEST), OWNER)
    assert "watch" in lacks(home)
    back = home.answer(now + 2 * HOUR, says(Verb.ROLLBACK), OWNER)
    assert back.subject == home.history().champion.id
    assert "watch" not in lacks(home)
    assert "stop" in lacks(home)
    answer = home.answer(now + 3 * HOUR, says(Verb.RESUME, "model"), OWNER)
    assert "stop" not in lacks(home)
    assert "hold" in answer.reason, "of what serves again no batch was seen yet"
    history = home.history()
    assert history.open_cycle is not None
    assert all(each.same for each in again.replay(history.known.values(), read_policy))


def test_neither_stop_nor_cooldown_nor_what_is_due_or_under_way_delays_a_roll_back(
    changing: Path, tmp_path: Path
) -> None:
    home, now = begun(changing, tmp_path / "home")
    now = until_released(home, now)
    slow = slowly({}, 1_000)
    home.answer(now, says(Verb.STOP, "all"), OWNER, slow)
    answer = home.answer(now + 3 * home.step, says(Verb.ROLLBACK), OWNER, slow)
    assert answer.done
    back = home.history().releases[-1]
    assert back.release_kind is ReleaseKind.ROLLBACK
    assert home.history().slots[-1][1] < back.at < now + 3 * home.step, "it did not wait for batches that are due"
    home.advance(now + 3 * home.step, slow)
    home.answer(now + 4 * home.step, says(Verb.RESUME, "all"), OWNER, slow)
    assert home.history().champion.id == back.id
    assert all(each.outcome is Outcome.PASS for each in verify(home.place / "ledger.jsonl"))


def test_a_roll_back_closes_a_training_that_was_to_beat_what_no_longer_serves(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home")
    now = until_released(home, now)
    slow = slowly({}, 1_000)
    while home.history().training is None and now < home.last:
        now += home.step
        home.advance(now, slow)
        home.answer(now + HOUR, says(Verb.REQUEST), OWNER, slow)
    training = home.history().training
    assert training is not None
    assert home.answer(now + 2 * HOUR, says(Verb.ROLLBACK), OWNER, slow).done
    history = home.history()
    assert history.training is None
    closed = next(each for each in history.cycles if each.request.id == training.request.id)
    assert closed.review is not None
    assert closed.review.closing is Closing.SUPERSEDED


def test_without_an_earlier_release_a_roll_back_says_so(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home", 1)
    answer = home.answer(now, says(Verb.ROLLBACK), OWNER)
    assert not answer.done
    assert "no earlier release" in answer.reason
    assert len(home.history().releases) == 1


@pytest.mark.parametrize(
    ("verb", "subject", "reason", "said"),
    [
        (Verb.STOP, "every thing", "why", "cannot be stopped"),
        (Verb.STOP, "model", " ", "has a reason"),
        (Verb.ROLLBACK, None, "", "has a reason"),
    ],
)
def test_orders_without_scope_or_reason_are_refused(verb: Verb, subject: str | None, reason: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Message(identifier(), verb, reason, subject)


def test_a_decision_after_a_stop_says_which(changing: Path, tmp_path: Path) -> None:
    home, now = begun(changing, tmp_path / "home")
    home.answer(now, says(Verb.REQUEST), OWNER, slowly({}, 1_000))
    home.answer(now + HOUR, says(Verb.STOP, "background"), OWNER, slowly({}, 1_000))
    assert home.history().cycles[0].decisions[0].action is Action.RUN
    assert list(home.history().stops) == ["background"]

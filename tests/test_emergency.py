"""Breaking the glass: once, for minutes, never past a check, and reviewed by somebody else before it is done again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lives import Home, slowly
from test_governance import governed, says
from test_people import begun, last

from hpcretrain.adapters.home import IDENTITY
from hpcretrain.adapters.ledger import verify
from hpcretrain.adapters.livesettings import NAME, LiveSettings
from hpcretrain.again import replay
from hpcretrain.config.load import read_policy, shipped_policy
from hpcretrain.errors import InputError
from hpcretrain.lineup import backlog
from hpcretrain.messages import Message, Person, Verb, identifier
from hpcretrain.policy.emergency import holding, set_aside
from hpcretrain.policy.rights import Act, may
from hpcretrain.records import Asked, BreakGlass, Finding, Outcome, PriorityClass
from hpcretrain.report.text import show_backlog

ANN, BOB, CAT, OWNER = Person("ann"), Person("bob"), Person("cat"), Person("svc", owner=True)
MINUTE = timedelta(minutes=1)
RULES = """
[approvals]
run = ["urgent", "standard"]
release = ["urgent", "standard"]
expires_h = 24

[roles.engineer]
members = ["ann"]
ask = ["urgent", "standard"]

[roles.oncall]
members = ["ann", "bob"]
break_glass = true

[roles.lead]
members = ["ann", "cat"]
approve_run = ["urgent", "standard"]
approve_release = ["urgent", "standard"]
review = true
activate = true

[break_glass]
minutes = 30
review_h = 48
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return governed(tmp_path_factory.mktemp("glass"), RULES)


def asked(home: Home, now: object, wanted: str = "standard") -> str:
    home.answer(now, says(Verb.REQUEST, wanted=wanted), ANN)  # type: ignore[arg-type]
    return last(home).request.id


def test_it_begins_at_once_what_awaits_approval_and_is_owed_a_review_by_somebody_else(
    config: Path, tmp_path: Path
) -> None:
    home, now = begun(config, tmp_path / "home", batches=1)
    request = asked(home, now)
    assert last(home).run is None
    assert "break_glass:right" in home.answer(now, says(Verb.BREAK_GLASS, request), CAT).reason
    assert home.history().review_owed is None
    done = home.answer(now, says(Verb.BREAK_GLASS, request), ANN, slowly({}, 1_000))
    assert done.done, done.reason
    cycle, [broken] = last(home), home.history().broken
    assert cycle.run is not None
    assert broken.id in cycle.run.answers
    assert cycle.run.priority_class is PriorityClass.URGENT, "it overtakes"
    assert broken.expires_at - broken.at == 30 * MINUTE
    assert f"hpcretrain review {broken.id}" in done.reason
    again = home.answer(now + MINUTE, says(Verb.BREAK_GLASS, request), BOB, slowly({}, 1_000))
    assert not again.done
    assert "break_glass:reviewed" in again.reason
    assert f"hpcretrain review {broken.id}" in again.reason
    assert "review:other" in home.answer(now, says(Verb.REVIEW, broken.id), ANN, slowly({}, 1_000)).reason
    assert "review:right" in home.answer(now, says(Verb.REVIEW, broken.id), BOB, slowly({}, 1_000)).reason
    assert home.answer(now + MINUTE, says(Verb.REVIEW, broken.id[:18]), CAT, slowly({}, 1_000)).done
    history = home.history()
    assert history.review_owed is None
    assert history.glass_reviews[broken.id].right == "as lead"
    assert "review:owed" in home.answer(now + MINUTE, says(Verb.REVIEW, broken.id), CAT, slowly({}, 1_000)).reason
    assert all(each.outcome is Outcome.PASS for each in verify(home.place / "ledger.jsonl"))
    assert all(each.same for each in replay(history.known.values(), read_policy)), "by its records alone"


def test_it_sets_no_check_aside_and_is_reviewed_all_the_same(tmp_path: Path) -> None:
    home, now = begun(governed(tmp_path / "config", RULES, min_class_rows="100000"), tmp_path / "home", batches=1)
    request = asked(home, now)
    said = home.answer(now, says(Verb.BREAK_GLASS, request), BOB)
    assert said.done
    assert "class_rows" in said.reason
    assert last(home).run is None
    broken = home.history().review_owed
    assert broken is not None
    (home.place / IDENTITY).write_text("{}")
    (home.place / NAME).write_text(LiveSettings(home.config, None, 0.0, None, None).text())
    waiting = backlog(home.place)
    assert (waiting["review_owed"]["id"], waiting["review_owed"]["request"]) == (broken.id, request)
    assert show_backlog(waiting).startswith("REVIEW OWED: bob broke the glass")
    assert home.answer(now, says(Verb.REVIEW, broken.id), CAT).done
    assert backlog(home.place)["review_owed"] is None


def test_it_counts_for_minutes(tmp_path: Path) -> None:
    home, now = begun(governed(tmp_path / "config", RULES, cooldown_batches="2"), tmp_path / "home", batches=1)
    request = asked(home, now)
    home.answer(now, says(Verb.BREAK_GLASS, request), BOB)
    [broken] = home.history().broken
    assert home.answer(now, says(Verb.REVIEW, broken.id), CAT).done
    home.advance(now + home.step)
    second = asked(home, now + home.step)
    waits = last(home).decisions[-1]
    assert {each.check for each in waits.findings if each.outcome is Outcome.WAIT} >= {"approval"}
    assert second != request
    assert home.answer(now + home.step, says(Verb.BREAK_GLASS, second), BOB).done
    run = last(home).run
    assert run is not None
    cooldown = next(each for each in run.findings if each.check == "cooldown")
    assert "set aside: bob broke the glass" in cooldown.reason


def test_what_passed_the_gate_serves_by_it_and_only_while_it_counts(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home", batches=8)
    request = asked(home, now)
    ask = last(home).asks[-1]
    assert home.answer(now, says(Verb.APPROVE, ask.id), CAT).done
    released = last(home).asks[-1]
    assert released.asked is Asked.RELEASE
    assert home.answer(now, says(Verb.BREAK_GLASS, request), BOB).done
    [broken] = home.history().broken
    release = home.history().releases[-1]
    assert release.candidate == released.subject
    assert broken.id in release.answers
    refused = home.answer(now, says(Verb.BREAK_GLASS, request), BOB)
    assert "serves already" in refused.reason


@pytest.mark.parametrize("check", ["holdout_rows", "class_rows", "watch", "missing", "stop", "headroom", "action"])
def test_the_checks_of_data_and_models_are_not_among_what_it_sets_aside(check: str) -> None:
    broken = glass()
    waits = Finding(check=check, outcome=Outcome.WAIT, reason="x")
    fails = Finding(check="budget", outcome=Outcome.FAIL, reason="x")
    assert set_aside((waits, fails), broken) == (waits, fails)


@pytest.mark.parametrize("verb", [Verb.BREAK_GLASS, Verb.REVIEW])
def test_it_has_a_reason_and_so_has_its_review(verb: Verb) -> None:
    with pytest.raises(InputError, match="say why"):
        Message(identifier(), verb, " ", "request-1")


def test_without_roles_nobody_breaks_the_glass(tmp_path: Path) -> None:
    config = governed(tmp_path / "config", "")
    home, now = begun(config, tmp_path / "home", batches=0)
    home.answer(now, says(Verb.REQUEST), OWNER)
    refused = home.answer(now, says(Verb.BREAK_GLASS, last(home).request.id), OWNER)
    assert not refused.done
    assert "allow nobody to break glass" in refused.reason


def glass() -> BreakGlass:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return BreakGlass(
        model="m", at=at, answers=("request-1",), actor="bob", reason="", right="", identity="", token="",
        expires_at=at + 30 * MINUTE, review_by=at,
    )  # fmt: skip


def test_it_holds_until_it_expires() -> None:
    broken = glass()
    assert holding([broken], broken.at) is broken
    assert holding([broken], broken.expires_at - MINUTE) is broken
    assert holding([broken], broken.expires_at) is None
    assert holding([], broken.at) is None


def test_where_the_policy_lets_nobody_break_the_glass_the_refusal_says_so() -> None:
    refused = may(OWNER, Act.BREAK_GLASS, shipped_policy())
    assert refused.outcome is Outcome.FAIL
    assert "allow nobody to break glass" in refused.reason
    assert "ask them" not in refused.reason

"""A policy takes effect in a home that lives by an approved, recorded activation, and can be taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lives import Home, slowly
from tables import configure, orders, write_policy
from test_people import ANN, APPROVALS, BOB, EVE, OWNER, asks, begun

from hpcretrain import again, weigh
from hpcretrain.answer import Answer
from hpcretrain.config.load import load_policy, policy_text, read_policy
from hpcretrain.messages import Message, Person, Verb, identifier
from hpcretrain.records import RULE_VERSION, Activation, Decision, Proposal
from hpcretrain.report.explain import headline

HOUR = timedelta(hours=1)
TABLE = orders(rows=8_000, minutes=16, change_at=None)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return configure(folder, TABLE, **write_policy(folder, weight="0.0"))


@pytest.fixture(scope="module")
def governed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("governed")
    path = configure(folder, TABLE, **write_policy(folder, weight="0.0"))
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + APPROVALS)
    return path


def text(folder: Path, rest: str = "", **changes: str) -> str:
    write_policy(folder, weight="0.0", **changes)
    path = folder / "policy.toml"
    path.write_text(path.read_text() + rest)
    return policy_text(load_policy(path))


def propose(home: Home, now: datetime, person: Person, policy: str) -> Answer:
    return home.answer(now, Message(identifier(), Verb.PROPOSE, "calmer", policy=policy), person)


def test_the_owner_of_a_home_without_approvals_activates_and_takes_back(plain: Path, tmp_path: Path) -> None:
    home, now = begun(plain, tmp_path / "home")
    before = home.history().activation
    assert before is not None
    assert before.actor is None
    other = text(tmp_path, min_rows="200")
    assert propose(home, now, EVE, other).done is False
    answer = propose(home, now, OWNER, other)
    assert answer.done
    assert "is in force, without anybody's approval: the policy before it has no [approvals]" in answer.reason
    now_in_force = home.history().activation
    assert now_in_force is not None
    assert (now_in_force.actor, now_in_force.policy) == ("svc", other)
    assert headline(before) == f"policy {before.policy_digest[:16]} is in force under rules {RULE_VERSION}"
    assert headline(now_in_force).endswith("as svc proposed, without anybody's approval: the one before asks for none")
    assert "in force already" in propose(home, now + HOUR, OWNER, other).reason
    assert propose(home, now + 2 * HOUR, OWNER, before.policy).done
    assert [each.policy for each in home.history().known.values() if isinstance(each, Activation)] == [
        before.policy, other, before.policy,
    ]  # fmt: skip


def test_a_policy_under_approvals_waits_for_somebody_else(governed: Path, tmp_path: Path) -> None:
    home, now = begun(governed, tmp_path / "home")
    before = home.history().activation
    other = text(tmp_path, APPROVALS, min_rows="200")
    asked = propose(home, now, ANN, other)
    assert asked.subject is not None
    assert [finding.check for finding in asked.findings] == ["policy:gate.min_rows", "policy:score.min_rows",
                                                             "policy:watch.min_rows"]  # fmt: skip
    assert home.history().activation == before
    own = home.answer(now + HOUR, asks(Verb.APPROVE, asked.subject), ANN)
    assert own.done is False
    assert "four_eyes" in own.reason
    assert home.answer(now + HOUR, asks(Verb.APPROVE, asked.subject), BOB).done
    activation = home.history().activation
    assert activation is not None
    assert activation.policy == other
    assert headline(activation).endswith("as ann proposed, with 1 approval")
    assert activation.policy_digest == home.history().known[activation.answers[0]].policy_digest  # type: ignore[attr-defined]


def test_who_proposed_a_policy_may_withdraw_it_and_not_approve_it(governed: Path, tmp_path: Path) -> None:
    home, now = begun(governed, tmp_path / "home")
    before = home.history().activation
    # The owner of the home may propose, and is no approver.
    asked = propose(home, now, OWNER, text(tmp_path, APPROVALS, min_rows="200"))
    assert not home.answer(now + HOUR, asks(Verb.APPROVE, asked.subject), OWNER).done
    withdrawn = home.answer(now + HOUR, asks(Verb.DENY, asked.subject), OWNER)
    assert withdrawn.done
    assert "withdrawn" in withdrawn.reason
    assert not home.history().proposals
    assert not home.answer(now + 2 * HOUR, asks(Verb.APPROVE, asked.subject), BOB).done
    assert home.history().activation == before


def test_a_denied_or_expired_policy_does_not_take_effect(governed: Path, tmp_path: Path) -> None:
    home, now = begun(governed, tmp_path / "home")
    before = home.history().activation
    denied = propose(home, now, ANN, text(tmp_path, APPROVALS, min_rows="200"))
    assert home.answer(now + HOUR, asks(Verb.DENY, denied.subject), BOB).done
    assert home.answer(now + HOUR, asks(Verb.APPROVE, denied.subject), BOB).done is False
    late = propose(home, now + HOUR, ANN, text(tmp_path, APPROVALS, min_rows="300"))
    told = home.answer(now + 26 * HOUR, asks(Verb.APPROVE, late.subject), BOB)
    assert told.done is False
    assert "expiry" in told.reason
    assert home.history().activation == before


def test_what_is_no_policy_is_refused_and_leaves_nothing(plain: Path, tmp_path: Path) -> None:
    home, now = begun(plain, tmp_path / "home")
    for wrong in ("{", "[]", '{"name": "x"}', text(tmp_path).replace("threshold", "treshold")):
        told = propose(home, now, OWNER, wrong)
        assert told.done is False
        assert "policy" in told.reason
    assert not [each for each in home.history().known.values() if isinstance(each, Proposal)]


def test_decisions_name_the_policy_of_their_time_and_are_made_again_by_it(plain: Path, tmp_path: Path) -> None:
    home, now = begun(plain, tmp_path / "home")
    first = home.history().activation
    assert home.answer(now, asks(wanted="standard"), OWNER).done
    home.advance(now + HOUR)
    strict = text(tmp_path, max_rows="9000000", cooldown_batches="9", cooldown_max_batches="9")
    assert propose(home, now + 2 * HOUR, OWNER, strict).done
    second = home.history().activation
    assert home.answer(now + 3 * HOUR, asks(wanted="urgent"), OWNER).done
    history = home.history()
    assert first is not None
    assert second is not None
    decisions = [each for each in history.known.values() if isinstance(each, Decision)]
    assert [each.policy_digest for each in decisions] == [first.policy_digest, second.policy_digest]
    cooldowns = [next(f.limit for f in each.findings if f.check == "cooldown") for each in decisions]
    assert cooldowns[0] != cooldowns[1]
    assert all(each.same for each in again.replay(history.known.values(), read_policy))


def test_a_home_lives_on_when_the_rules_are_renewed_and_each_decision_goes_by_those_of_its_time(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, now = begun(plain, tmp_path / "home")
    assert home.answer(now, asks(wanted="standard"), OWNER).done
    before = home.history().activation
    assert before is not None

    decide = weigh.decide

    def relaxed(*facts: Any) -> weigh.Weighed:
        made = decide(*facts)
        return replace(made, decision=replace(made.decision, rule_version="next", cost_mrow_passes=7.0))

    rules = {**weigh.CODE, "next": replace(weigh.CODE[RULE_VERSION], decide=relaxed)}
    with monkeypatch.context() as renewed:
        renewed.setattr("hpcretrain.steps.activate.RULE_VERSION", "next")
        renewed.setattr("hpcretrain.weigh.decide", relaxed)
        assert home.answer(now + 2 * HOUR, asks(wanted="urgent"), OWNER).done
        home.advance(now + 3 * HOUR)
    history = home.history()
    after = history.activation
    assert after is not None
    assert (after.rule_version, after.policy, after.answers) == ("next", before.policy, (before.id,))
    assert sum(isinstance(each, Activation) for each in history.known.values()) == 2, "it is recorded once"
    decisions = [each for each in history.known.values() if isinstance(each, Decision)]
    assert [each.rule_version for each in decisions] == [RULE_VERSION, "next"]
    assert all(each.same for each in again.replay(history.known.values(), read_policy, rules))
    by_one = list(
        again.replay(history.known.values(), read_policy, {RULE_VERSION: rules["next"], "next": rules["next"]})
    )
    assert [each.record for each in by_one if each.same is False] == decisions[:1]


def test_a_training_under_way_ends_under_the_policy_that_ordered_it(plain: Path, tmp_path: Path) -> None:
    home, now = begun(plain, tmp_path / "home")
    slow = slowly({}, 2)
    assert home.answer(now, asks(wanted="standard"), OWNER, slow).done
    assert home.history().training is not None
    assert propose(home, now + HOUR, OWNER, text(tmp_path, alpha="0.000001")).done
    for hours in range(2, 12):
        home.advance(now + hours * HOUR, slow)
    cycle = home.history().cycles[-1]
    assert cycle.judged is not None
    limits = [f.limit for verdict in cycle.verdicts for f in verdict.findings if f.check.startswith("superior")]
    assert 1e-6 not in limits

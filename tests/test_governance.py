"""Who may do what in a home that lives: by roles, by several people, apart from each other."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tables import configure, orders, write_policy
from test_people import begun, last, pending

from hpcretrain.config.load import load_policy, policy_text
from hpcretrain.errors import InputError
from hpcretrain.messages import Message, Person, Verb, identifier
from hpcretrain.policy.rights import Act, holders, may
from hpcretrain.records import Ask, Asked, Outcome, PriorityClass, parse

HOUR = timedelta(hours=1)
ANN, BOB, CAT = Person("ann", frozenset({"ml"})), Person("bob", frozenset({"leads"})), Person("cat")
DAN, EVE, OWNER = Person("dan", frozenset({"leads"})), Person("eve"), Person("svc", owner=True)
HOURS = "[approvals]\nexpires_h = 1\n"
ROLES = """
[approvals]
run = ["urgent"]
release = ["urgent", "standard"]
expires_h = 24
other_releaser = true
needed = { urgent = 2 }

[roles.engineer]
members = ["%ml", "bob"]
ask = ["urgent", "standard"]

[roles.lead]
members = ["%leads", "cat"]
approve_run = ["urgent"]
approve_release = ["standard"]
stop = true

[roles.keeper]
members = ["dan"]
activate = true

[roles.product]
members = ["cat", "fay"]
approve_release = ["urgent", "standard"]
"""


def governed(folder: Path, text: str = ROLES, **changes: str) -> Path:
    path = configure(folder, orders(rows=8_000, minutes=16), **write_policy(folder, weight="0.001", **changes))
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + text)
    return path


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return governed(tmp_path_factory.mktemp("roles"))


def says(verb: Verb, subject: str | None = None, wanted: str = "urgent") -> Message:
    priority_class = PriorityClass(wanted) if verb is Verb.REQUEST else None
    return Message(identifier(), verb, "an incident", subject, priority_class)


def test_what_is_urgent_runs_once_two_others_said_yes_and_the_releaser_is_a_third(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home", batches=8)
    assert home.answer(now, says(Verb.REQUEST), BOB).done
    run = pending(home)
    assert last(home).asks[-1].needed == 2
    mine = home.answer(now, says(Verb.APPROVE, run), BOB)
    assert "four_eyes" in mine.reason
    assert "ask %leads, cat" in mine.reason
    half = home.answer(now, says(Verb.APPROVE, run), CAT)
    assert half.done
    assert "an approval beside that of cat" in half.reason
    assert last(home).run is None
    again = home.answer(now, says(Verb.APPROVE, run), CAT)
    assert not again.done
    assert "each_once" in again.reason
    assert home.answer(now, says(Verb.APPROVE, run), DAN).done
    cycle = last(home)
    assert cycle.run is not None
    assert {each.id for each in cycle.approvals[run]} <= set(cycle.run.answers)
    assert [each.right for each in cycle.approvals[run]] == ["as lead", "as lead (member of leads)"]
    release = pending(home, Asked.RELEASE)
    not_she = home.answer(now, says(Verb.APPROVE, release), CAT)
    assert "other_releaser" in not_she.reason
    assert "ask fay" in not_she.reason
    not_he = home.answer(now, says(Verb.APPROVE, release), DAN)
    assert "may approve release what is urgent: cat, fay" in not_he.reason
    assert len(home.history().releases) == 1


def test_one_denial_is_enough(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home", batches=1)
    home.answer(now, says(Verb.REQUEST), ANN)
    run = pending(home)
    assert home.answer(now, says(Verb.APPROVE, run), CAT).done
    assert home.answer(now, says(Verb.DENY, run), DAN).done
    cycle = last(home)
    assert cycle.run is None
    assert cycle.review is not None
    assert "unanswered" in home.answer(now, says(Verb.APPROVE, run), BOB).reason


def test_a_class_is_asked_for_and_a_request_ended_by_who_may(config: Path, tmp_path: Path) -> None:
    home, now = begun(config, tmp_path / "home", batches=1)
    refused = home.answer(now, says(Verb.REQUEST, wanted="background"), ANN)
    assert not refused.done
    assert "may ask what is background: the owner of the home" in refused.reason
    assert "who may ask" in home.answer(now, says(Verb.REQUEST), EVE).reason
    assert home.answer(now, says(Verb.REQUEST), OWNER).done
    request = last(home).request.id
    assert "may_stop" in home.answer(now, says(Verb.CANCEL, request), ANN).reason
    assert home.answer(now, says(Verb.CANCEL, request), CAT).done


def test_who_is_alone_in_a_role_hears_whom_to_ask(tmp_path: Path) -> None:
    alone = ROLES.replace('["%leads", "cat"]', '["bob"]').replace("needed = { urgent = 2 }\n", "")
    home, now = begun(governed(tmp_path / "config", alone), tmp_path / "home", batches=1)
    home.answer(now, says(Verb.REQUEST), BOB)
    refused = home.answer(now, says(Verb.APPROVE, pending(home)), BOB)
    assert "nobody else may: whoever keeps the policy must name another approver" in refused.reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[approvals]\nexpires_h = 1\n', "approvals.approvers: is missing"),
        ('[approvals]\nexpires_h = 1\napprovers = ["a"]\n[roles.x]\nmembers = ["a"]\n', "leave approvers"),
        ('[roles.x]\nmembers = ["a"]\n', "approvals: is missing"),
        (f'{HOURS}[roles.x]\nmembers = ["a"]\n', "could never be changed"),
        (f'{HOURS}[roles.x]\nmembers = ["a"]\nactivate = true\nbreak_glass = true\n', "break_glass: is missing"),
        ("[break_glass]\nminutes = 5\nreview_h = 1\n", "no role may break the glass"),
        (
            f'{HOURS}[roles.x]\nmembers = ["a"]\nactivate = true\nbreak_glass = true\n'
            "[break_glass]\nminutes = 5\nreview_h = 1\n",
            "no role may review it",
        ),
        ('[approvals]\nexpires_h = 1\napprovers = ["a"]\nrun = ["urgent"]\nneeded = { urgent = 2 }\n',
         "needed.urgent: 2 must approve a training that is urgent, and 1 may: a; name more who have approve_run"),
        ('[roles.x]\nmembers = []\n', "roles.x.members"),
        ('[roles.x]\nmembers = ["a"]\nfly = true\n', "roles.x.fly: unknown key"),
    ],
)  # fmt: skip
def test_a_governance_that_cannot_work_is_refused(tmp_path: Path, text: str, words: str) -> None:
    write_policy(tmp_path)
    policy = tmp_path / "policy.toml"
    policy.write_text(policy.read_text() + "\n" + text)
    with pytest.raises(InputError, match=words):
        load_policy(policy)


SHORT = """[approvals]
expires_h = 1
release = ["standard"]
overrule = []
needed = { standard = 3, policy = 2 }
other_releaser = true
[roles.keeper]
members = ["ann"]
activate = true
[roles.lead]
members = ["bob", "ann"]
approve_run = ["standard", "urgent"]
approve_release = ["standard"]
"""


def short_of(text: str, tmp_path: Path) -> str:
    write_policy(tmp_path)
    policy = tmp_path / "policy.toml"
    policy.write_text(f"{policy.read_text()}\n{text}")
    try:
        load_policy(policy)
    except InputError as error:
        return str(error)
    return ""


def test_more_approvals_than_people_who_may_give_them_are_refused_all_at_once(tmp_path: Path) -> None:
    told = short_of(SHORT, tmp_path)
    assert "approvals.needed.standard: 3 must approve a release that is standard, and 2 may: ann, bob" in told
    assert "approvals.needed.policy: 2 must approve a policy, and 1 may: ann" in told
    assert "a training" not in told, "none is asked about"
    assert short_of(SHORT.replace("standard = 3, policy = 2", "standard = 2"), tmp_path) == ""


def test_people_who_approve_trainings_and_others_who_approve_their_releases_must_be_enough_for_both(
    tmp_path: Path,
) -> None:
    both = SHORT.replace("standard = 3, policy = 2", "standard = 2").replace(
        "expires_h", 'run = ["standard"]\nexpires_h'
    )
    assert "4 must approve a training that is standard and, others, its release, and 2 may" in short_of(both, tmp_path)
    assert short_of(both.replace("other_releaser = true", "other_releaser = false"), tmp_path) == ""


def test_checks_that_an_approval_sets_aside_need_as_many_people(tmp_path: Path) -> None:
    some = SHORT.replace("standard = 3, policy = 2", "urgent = 3").replace("overrule = []", 'overrule = ["cooldown"]')
    assert "3 must approve a training that is urgent, and 2 may" in short_of(some, tmp_path)


def test_the_members_of_a_group_are_not_counted(tmp_path: Path) -> None:
    assert short_of(SHORT.replace('["bob", "ann"]', '["bob", "%leads"]').replace('["ann"]', '["%ops"]'), tmp_path) == ""


def test_without_roles_the_approvals_say_who_may_and_nobody_breaks_the_glass(tmp_path: Path) -> None:
    write_policy(tmp_path)
    file = tmp_path / "policy.toml"
    file.write_text(file.read_text() + '\n[approvals]\nexpires_h = 1\napprovers = ["%leads"]\nrequesters = ["ann"]\n')
    policy = load_policy(file)
    allowed = {act.value: holders(act, policy) for act in Act}
    assert allowed["approve_run"] == allowed["activate"] == ("%leads",)
    assert allowed["ask"] == allowed["stop"] == ("%leads", "ann")
    assert allowed["break_glass"] == ()
    assert may(OWNER, Act.ROLL_BACK, policy).outcome is Outcome.PASS
    assert may(OWNER, Act.BREAK_GLASS, policy).outcome is Outcome.FAIL
    assert may(Person("leads"), Act.APPROVE_RUN, policy).outcome is Outcome.FAIL


def test_a_policy_without_the_new_tables_keeps_its_digest(tmp_path: Path) -> None:
    text = policy_text(load_policy(None))
    assert not {"roles", "break_glass", "deadlines", "needed"} & set(text.replace(":", '"').split('"'))


def test_an_ask_of_an_earlier_version_keeps_its_identifier() -> None:
    ask = an_ask()
    assert "needed" not in ask.body
    assert '"needed":2' in dataclasses.replace(ask, needed=2).body
    assert parse(ask.body) == ask


def an_ask() -> Ask:
    return Ask(
        model="m", at=datetime(2026, 1, 1, tzinfo=UTC), answers=("decision-1",), asked=Asked.RUN, subject="request-1",
        model_digest=None, policy_digest="", priority_class=PriorityClass.URGENT, requester=None, overrules=(),
        facts=(), expires_at=datetime(2026, 1, 2, tzinfo=UTC),
    )  # fmt: skip


def test_a_policy_takes_effect_once_enough_others_who_may_activate_say_so(tmp_path: Path) -> None:
    text = ROLES.replace("needed = { urgent = 2 }", "needed = { policy = 2 }").replace(
        'members = ["dan"]', 'members = ["cat", "dan", "eve"]'
    )
    config = governed(tmp_path / "config", text)
    home, now = begun(config, tmp_path / "home", batches=1)
    wanted = load_policy(tmp_path / "config" / "policy.toml")
    other = wanted.model_copy(update={"name": "other"})
    proposal = Message(identifier(), Verb.PROPOSE, "quieter nights", policy=policy_text(other))
    assert "may_propose" in home.answer(now, proposal, ANN).reason
    ask = home.answer(now, proposal, DAN).subject
    assert ask is not None
    assert "four_eyes" in home.answer(now, says(Verb.APPROVE, ask), DAN).reason
    assert "may activate: cat, dan, eve" in home.answer(now, says(Verb.APPROVE, ask), BOB).reason
    half = home.answer(now, says(Verb.APPROVE, ask), CAT)
    assert half.done
    assert half.reason == "approved; it takes 1 more"
    assert "each_once" in home.answer(now, says(Verb.APPROVE, ask), CAT).reason
    assert home.history().activation.actor is None  # type: ignore[union-attr]
    assert home.answer(now, says(Verb.APPROVE, ask), EVE).done
    assert home.history().activation.actor == "dan"  # type: ignore[union-attr]

"""A class that a site names, in homes that live: from the request to the job, through stops, policies and profiles."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from lives import Home, slowly
from nightly import ADMISSION, NIGHTLY
from tables import configure, orders, write_policy

from hpcretrain import again
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.cli import main
from hpcretrain.config.cluster import load_cluster, require_classes
from hpcretrain.config.load import load_policy, policy_text, read_policy
from hpcretrain.errors import InputError
from hpcretrain.livehome import at_work, start_live
from hpcretrain.messages import Message, Person, Verb, identifier
from hpcretrain.records import Action, Finding, Outcome, PriorityClass
from hpcretrain.steps.desk import Desk

HOUR = timedelta(hours=1)
OWNER = Person("svc", owner=True)
KNOWN = "there are urgent, standard, nightly, background"
SITE = """
name = "site"
spool = {path = "/shared/spool"}
inference = {nodes = "serve[1-2]"}
environment = {python = "/shared/python"}
preemption = {grace_s = 30}
[classes]
urgent = {partition = "gpu", time_limit_min = 60}
standard = {partition = "gpu", time_limit_min = 60}
background = {partition = "gpu", time_limit_min = 60}
"""
NIGHT = 'nightly = {below = "standard", partition = "night", qos = "night", time_limit_min = 60}\n'


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing changes in this table: whatever is trained was asked for."""
    folder = tmp_path_factory.mktemp("further")
    path = configure(folder, orders(rows=8_000, minutes=16, change_at=None), **write_policy(folder, weight="0.000001"))
    policy = folder / "policy.toml"
    policy.write_text(policy.read_text() + NIGHTLY + ADMISSION)
    return path


def with_room(desk: Desk) -> None:
    """Here what trains answers."""
    idle = Finding(check="load", outcome=Outcome.PASS, reason="nobody is here", observed=0, limit=8)
    desk.trainer.outlook = lambda _: (idle,)  # type: ignore[method-assign]


def says(verb: Verb, subject: str | None = None, wanted: str | None = None, policy: str | None = None) -> Message:
    asked = PriorityClass(wanted) if wanted else None
    return Message(identifier(), verb, "a trial", subject, asked, policy=policy)


def without(config: Path, folder: Path) -> str:
    """The policy, but without the further class."""
    text = (config.parent / "policy.toml").read_text().replace(NIGHTLY, "")
    (folder / "plain.toml").write_text(text.replace(ADMISSION, ""))
    return policy_text(load_policy(folder / "plain.toml"))


def test_a_request_of_a_further_class_is_decided_and_trained_in_it_and_made_again(config: Path, tmp_path: Path) -> None:
    home = Home(config, tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now)
    answer = home.answer(now + HOUR, says(Verb.REQUEST, wanted="nightly"), OWNER, with_room)
    assert answer.done, answer
    [cycle] = home.history().cycles
    assert cycle.request.priority_class.value == "nightly"
    assert (cycle.decisions[0].action, cycle.decisions[0].priority_class.value) == (Action.RUN, "nightly")
    assert {each.check: each.limit for each in cycle.decisions[0].findings}["running:nightly"] == 1
    assert {job.priority_class.value for job in cycle.jobs} == {"nightly"}
    records = list(FileLedger(home.place / "ledger.jsonl", read_only=True).records())
    assert all(each.same for each in again.replay(records, read_policy))
    changed = again.what_if(records, read_policy(without(config, tmp_path)))
    assert [each.after["class"] for each in changed if "not_passed" in each.after] == ["background"]


def test_what_is_more_urgent_follows_the_order_of_the_policy(config: Path, tmp_path: Path) -> None:
    home = Home(config, tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now)
    home.answer(now, says(Verb.STOP, "model"), OWNER)
    for wanted, closed in (("background", 0), ("nightly", 1), ("background", 1), ("standard", 2), ("nightly", 2)):
        now += HOUR / 10
        assert home.answer(now, says(Verb.REQUEST, wanted=wanted), OWNER).done
        assert sum(each.review is not None for each in home.history().cycles) == closed, wanted


def test_a_stop_holds_a_further_class_and_can_be_lifted_after_it_is_gone(config: Path, tmp_path: Path) -> None:
    home = Home(config, tmp_path / "home")
    now = home.until + 4 * home.step
    home.advance(now)
    for message in (says(Verb.STOP, "weekly"), says(Verb.REQUEST, wanted="weekly")):
        refused = home.answer(now, message, OWNER)
        assert (refused.done, KNOWN in refused.reason) == (False, True), refused
    assert home.answer(now, says(Verb.STOP, "nightly"), OWNER).done
    home.answer(now + HOUR, says(Verb.REQUEST, wanted="nightly"), OWNER, with_room)
    [cycle] = home.history().cycles
    waits = [each.check for each in cycle.decisions[0].findings if each.outcome is not Outcome.PASS]
    assert waits == ["stop"]
    home.answer(now + 2 * HOUR, says(Verb.PROPOSE, policy=without(config, tmp_path)), OWNER)
    assert not home.answer(now + 2 * HOUR, says(Verb.REQUEST, wanted="nightly"), OWNER).done
    home.advance(now + home.step, slowly({}, 9))
    [cycle] = home.history().cycles
    waits = [each.check for each in cycle.decisions[-1].findings if each.outcome is not Outcome.PASS]
    assert (cycle.run, "stop" in waits) == (None, True), "nobody resumed it"
    now += home.step
    resumed = home.answer(now + 3 * HOUR, says(Verb.RESUME, "nightly"), OWNER, slowly({}, 9))
    assert resumed.done
    [cycle] = home.history().cycles
    assert cycle.decisions[-1].priority_class is PriorityClass.BACKGROUND, "this policy has no such class"
    records = list(FileLedger(home.place / "ledger.jsonl", read_only=True).records())
    assert all(each.same for each in again.replay(records, read_policy))


def test_a_policy_whose_class_the_cluster_lacks_does_not_take_effect(config: Path, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    site = load_cluster(tmp_path / "site.toml")

    def prepare(desk: Desk) -> None:
        desk.fits = lambda policy: require_classes(site, policy.classes.order)

    folder = tmp_path / "plain"
    write_policy(folder, weight="0.000001")
    plain = configure(folder, orders(rows=4_000, minutes=32, change_at=None), policy__file='file = "policy.toml"')
    home = Home(plain, tmp_path / "home")
    home.advance(home.until + home.step)
    named = policy_text(load_policy(config.parent / "policy.toml"))
    refused = home.answer(home.until + home.step + HOUR, says(Verb.PROPOSE, policy=named), OWNER, prepare)
    assert not refused.done
    assert 'write [classes.nightly] with below = "standard"' in refused.reason
    assert not home.history().proposals


def test_a_home_is_refused_with_a_cluster_that_lacks_a_class_of_its_policy(config: Path, tmp_path: Path) -> None:
    site, home = tmp_path / "site.toml", tmp_path / "home"
    site.write_text(SITE)
    lacks = r"classes\.nightly: is missing, and the policy has that class; write \[classes\.nightly\] with below"
    with pytest.raises(InputError, match=lacks):
        start_live(config, home, site)
    assert not home.exists()
    site.write_text(SITE + NIGHT.replace("standard", "urgent"))
    with pytest.raises(InputError, match="are urgent, nightly, standard, background, and in the policy urgent"):
        start_live(config, home, site)
    site.write_text(SITE + NIGHT)
    start_live(config, home, site)
    with at_work(home, lambda _: None):
        pass
    site.write_text(SITE)
    with pytest.raises(InputError, match=lacks), at_work(home, lambda _: None):
        pass


def test_the_command_line_names_the_classes_that_there_are(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start_live(config, tmp_path / "home")
    for command, wanted, said in (
        ("request", "weekly", f"weekly is no class of policy standard; {KNOWN}"),
        ("stop", "weekly", f"weekly is no class of policy standard; {KNOWN}"),
        ("request", "Night!", "'Night!' is no name of a class"),
        ("stop", "Night!", "'Night!' cannot be stopped; name model, a class, or all"),
    ):
        assert main([command, "--home", str(tmp_path / "home"), "--class", wanted, "--reason", "a trial"]) == 2
        assert said in capsys.readouterr().err

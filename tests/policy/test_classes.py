"""Further classes that a policy names: their order, what they need, and what is refused."""

from __future__ import annotations

import copy
import pickle
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from admissions import NOW, rules, runs, waits
from hypothesis import given
from hypothesis import strategies as st
from nightly import ADMISSION, NIGHTLY
from records_for_tests import START

from hpcretrain.backlog import Entry
from hpcretrain.canonical import canonical
from hpcretrain.config.load import known_key, load_policy, policy_text, read_policy, shipped_policy
from hpcretrain.errors import InputError
from hpcretrain.policy.admit import State, admit, gather
from hpcretrain.policy.classify import Case, classify
from hpcretrain.policy.expect import Turn, starts
from hpcretrain.policy.types import Policy
from hpcretrain.priority import BUILT_IN, TAKEN, PriorityClass, lined_up

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,39}", fullmatch=True).filter(lambda name: name not in {*BUILT_IN, *TAKEN})
NIGHT = PriorityClass("nightly")


def policy(folder: Path, text: str) -> Policy:
    (folder / "policy.toml").write_text(f'extends = "standard.toml"\nname = "site"\n{text}', encoding="utf-8")
    return load_policy(folder / "policy.toml")


def refused(folder: Path, text: str) -> str:
    with pytest.raises(InputError) as error:
        policy(folder, text)
    return "\n".join(error.value.problems)


@given(st.lists(NAMES, unique=True, max_size=6), st.integers(0, 6), st.randoms())
def test_each_class_comes_right_after_the_one_that_it_is_below(
    names: list[str], split: int, chance: random.Random
) -> None:
    urgent, standard = names[:split], names[split:]
    order = ["urgent", *urgent, "standard", *standard, "background"]
    below = [(name, order[order.index(name) - 1]) for name in names]
    chance.shuffle(below)
    assert list(lined_up(dict(below))) == order


def test_a_class_is_the_same_object_wherever_its_name_comes_from() -> None:
    assert PriorityClass("nightly") is NIGHT
    assert copy.deepcopy(NIGHT) is NIGHT
    assert pickle.loads(pickle.dumps(NIGHT)) is NIGHT
    assert canonical({"class": NIGHT}) == '{"class":"nightly"}'
    for name in ("", "Nightly", "9", "a b", "a" * 41, "-a", "nightly\n"):
        with pytest.raises(ValueError, match="is no name of a class"):
            PriorityClass(name)


@pytest.mark.parametrize(
    ("below", "said"),
    [
        ({"nightly": "background"}, "nightly.below: nothing comes after background"),
        ({"nightly": "weekly"}, "nightly.below: there is no class weekly; there are urgent, standard, background"),
        ({"nightly": "standard", "weekly": "standard"}, "nightly and weekly both come right after standard"),
        ({"nightly": "weekly", "weekly": "nightly"}, "weekly.below: by way of nightly it comes after itself"),
        ({"nightly": "nightly"}, "comes after itself"),
        ({"all": "standard"}, "all is no name of a class"),
        ({"Nightly": "standard"}, "'Nightly' is no name of a class"),
    ],
)
def test_a_place_that_is_none_is_refused(below: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        lined_up(below)


def test_all_that_is_wrong_with_the_order_is_told_at_once(tmp_path: Path) -> None:
    told = refused(tmp_path, NIGHTLY.replace('"standard"', '"background"') + NIGHTLY.replace("nightly", "all"))
    assert "nightly.below: nothing comes after background" in told
    assert "all is no name of a class" in told


def test_a_request_is_of_the_most_urgent_class_of_which_a_rule_holds(tmp_path: Path) -> None:
    classes = policy(tmp_path, NIGHTLY).classes
    found = [classify(Case(score, 1.0, None, 4.0, START), classes) for score in (199, 200, 299, 300, 700)]
    assert [each.value for each, _ in found] == ["background", "nightly", "nightly", "standard", "urgent"]
    assert "the night has room (score 200, at least 200)" in found[1][1].reason
    assert "nightly: score 199, at least 200" in found[0][1].reason
    assert found[0][1].limit == 200


def test_the_policy_that_ships_says_nothing_of_further_classes_and_a_file_with_them_can_be_kept(tmp_path: Path) -> None:
    assert shipped_policy().classes.order == BUILT_IN
    assert '"below"' not in policy_text(shipped_policy())
    named = policy(tmp_path, NIGHTLY + ADMISSION)
    assert read_policy(policy_text(named)).classes == named.classes
    assert read_policy(policy_text(named)).admission == named.admission
    for key in ("classes.nightly.fits_per_30d", "classes.nightly.when.0.score", "admission.nightly.delay_hours"):
        assert known_key(key.split("."))
    assert not known_key(["classes", "nightly", "color"])


def test_a_policy_that_extends_one_with_further_classes_changes_their_keys(tmp_path: Path) -> None:
    policy(tmp_path, NIGHTLY)
    (tmp_path / "policy.toml").rename(tmp_path / "site.toml")
    (tmp_path / "team.toml").write_text('extends = "site.toml"\n[classes.nightly]\nfits_per_30d = 2.5\n')
    classes = load_policy(tmp_path / "team.toml").classes
    assert classes.limits(NIGHT).fits_per_30d == 2.5
    assert classes.order == (*BUILT_IN[:2], NIGHT, BUILT_IN[2])


PEOPLE = '[approvals]\napprovers = ["ann"]\nexpires_h = 24\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            NIGHTLY.replace('below = "standard"\n', ""),
            ["classes.nightly.below: is missing; nightly is no key of its own"],
        ),
        ("[classes]\nnightly = 3\n", ["classes.nightly: unknown key; known here are: background, cooldown_growth"]),
        ('[classes.urgent]\nbelow = "standard"\n', ["classes.urgent.below: unknown key"]),
        (NIGHTLY.replace("nightly", "hours"), ["classes.hours: is no name of a class: it is a key of [admission]"]),
        (NIGHTLY + ADMISSION.split("[admission.nightly]")[0], ["admission.nightly: is missing; each of the classes"]),
        (ADMISSION, ["admission: nightly is no class; the classes are urgent, standard, background"]),
        (
            NIGHTLY + ADMISSION.replace("delay_hours = 48", "delay_hours = 3"),
            ["admission: delay_hours: a more urgent class may not have the longer delay"],
        ),
        (NIGHTLY + ADMISSION.replace("delay_hours = 48", "delay_hours = 73"), ["may not have the longer delay"]),
        (
            f'{NIGHTLY}{PEOPLE}run = ["nightli"]\nrelease = ["nightly", "weekly"]\n[approvals.needed]\nnigthly = 2\n',
            [
                "approvals.run: nightli is no class; the classes are urgent, standard, nightly, background",
                "approvals.release: weekly is no class",
                "approvals.needed: nigthly is no class",
            ],
        ),
        (f'{PEOPLE}run = ["Bad name"]\n', ["approvals.run.0: 'Bad name' is no name of a class"]),
        (
            f'{NIGHTLY}{PEOPLE}run = ["nightly"]\n[approvals.needed]\nnightly = 2\n',
            ["approvals.needed.nightly: 2 must approve a training that is nightly, and 1 may: ann"],
        ),
        (
            f'{NIGHTLY}[approvals]\nexpires_h = 24\n[roles.lead]\nmembers = ["a"]\nactivate = true\nask = ["weekly"]\n',
            ["roles.lead.ask: weekly is no class; the classes are urgent, standard, nightly, background"],
        ),
    ],
)
def test_a_name_that_no_table_defines_is_refused_with_what_is_known(tmp_path: Path, text: str, said: list[str]) -> None:
    told = refused(tmp_path, text)
    assert [each for each in said if each not in told] == [], told


def test_people_are_needed_by_class(tmp_path: Path) -> None:
    text = f'{NIGHTLY}{PEOPLE.replace("ann", "%staff")}run = ["nightly"]\n[approvals.needed]\nnightly = 2\n'
    approvals = policy(tmp_path, text).approvals
    assert approvals is not None
    assert [approvals.people(each) for each in (*BUILT_IN, NIGHT)] == [1, 1, 1, 2]


def test_what_a_policy_does_not_know_is_of_the_background_to_it(tmp_path: Path) -> None:
    classes, law = shipped_policy().classes, rules(background={"most_running": 1, "delay_hours": 99.0})
    assert classes.known(NIGHT) is PriorityClass.BACKGROUND
    assert classes.rank(NIGHT) == 2
    unknown = waits("a", "weekly", -99)
    found = admit([unknown, waits("b", asked=-1)], State(running=[runs("r", "weekly")]), law, NOW)
    assert [each.request.model for each in found] == ["a", "b"], "its turn is that of the background"
    assert {each.check: each.limit for each in found[0].findings}["running:weekly"] == 1
    begins = starts([Turn(unknown, {})], [runs("r", "weekly", ends=3.0)], law, NOW, NOW)
    assert begins == [NOW + timedelta(hours=3)]


def test_of_two_requests_for_a_model_the_class_that_the_policy_calls_more_urgent_is_taken(tmp_path: Path) -> None:
    asked: list[Any] = [waits("m", "background", -2), waits("m", "nightly", -1)]
    entries = [Entry(f"h{n}", "m", NOW, waiting=(each,)) for n, each in enumerate(asked)]
    order = policy(tmp_path, NIGHTLY).classes.order
    [one], _ = gather(entries, rules(), NOW, order)
    assert one.priority_class is NIGHT
    [one], _ = gather([Entry("h", "m", NOW, waiting=(waits("m", "weekly", -2), waits("m", asked=-1)))], rules(), NOW)
    assert one.priority_class is PriorityClass.STANDARD, "of a class that is not known nobody can tell that it presses"

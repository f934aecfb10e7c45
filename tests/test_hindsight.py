"""Past decisions, made again: by their own rules to the byte, and by other policies."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from replays import replay as run
from tables import configure, orders, write_policy

from hpcretrain import again, hindsight, weigh
from hpcretrain.adapters.home import IDENTITY
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.config.load import load_policy, policy_text, read_policy
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.policy.types import Policy
from hpcretrain.records import (
    RULE_VERSION,
    Action,
    Activation,
    Advice,
    Assessment,
    Decision,
    Job,
    Outcome,
    Record,
    RetrainRequest,
    Verdict,
    Watch,
)
from hpcretrain.report.hindsight import show_sweep, show_what_if


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Those of a replay in which the world changes."""
    folder = tmp_path_factory.mktemp("hindsight")
    return list(run(configure(folder, orders()), folder / "home").known.values())


@pytest.fixture(scope="module")
def policy(records: list[Record]) -> Policy:
    return read_policy(next(each.policy for each in records if isinstance(each, Activation)))


def with_score(policy: Policy, **changes: object) -> Policy:
    return policy.model_copy(update={"score": policy.score.model_copy(update=changes)})


def test_everything_that_was_decided_comes_out_the_same_to_the_byte(records: list[Record]) -> None:
    found = list(again.replay(records, read_policy))
    kinds = (Assessment, RetrainRequest, Decision, Verdict, Watch)
    assert len(found) == sum(isinstance(each, kinds) for each in records)
    assert {type(each.record) for each in found} == set(kinds)
    assert [each.why for each in found if each.same is not True] == []


def test_a_decision_that_its_facts_do_not_give_is_found_and_said_how(records: list[Record]) -> None:
    at = next(place for place, each in enumerate(records) if isinstance(each, Decision))
    forged = replace(records[at], facts=replace(records[at].facts, holdout_rows=1))  # type: ignore[attr-defined, call-arg]
    *_, last = again.replay([*records[:at], forged], read_policy)
    assert last.same is False
    assert "holdout_rows" in last.why
    assert "limit 100" in last.why


def test_a_verdict_and_a_look_that_their_measurements_do_not_give_are_found(records: list[Record]) -> None:
    for kind in (Verdict, Watch):
        at = max(place for place, each in enumerate(records) if isinstance(each, kind))
        found = records[at]
        assert isinstance(found, kind)
        for outcome in set(Outcome) - {found.outcome}:
            *_, last = again.replay([*records[:at], replace(found, outcome=outcome)], read_policy)
            assert (last.same, last.why) == (False, f"outcome {outcome.value} -> {found.outcome.value}")


def test_an_upgrade_replays_what_came_before_it_by_the_rules_of_its_time(records: list[Record]) -> None:
    def stricter(history: History, assessment: Assessment, wanted: Policy) -> RetrainRequest | None:
        return None

    newer = replace(weigh.CODE[RULE_VERSION], request=stricter)
    both = {**weigh.CODE, "5": newer}
    assert all(each.same for each in again.replay(records, read_policy, both))
    replaced = list(again.replay(records, read_policy, {RULE_VERSION: newer}))
    assert {type(each.record) for each in replaced if each.same is False} == {RetrainRequest}


def test_rules_that_are_gone_are_said_to_be_gone_and_never_taken_for_the_same(records: list[Record]) -> None:
    found = list(again.replay(records, read_policy, {}))
    assert {each.same for each in found} == {None}
    assert f"rules {RULE_VERSION}" in found[0].why


def test_the_policy_in_force_would_have_changed_nothing(records: list[Record], policy: Policy) -> None:
    assert again.what_if(records, policy) == []


def test_what_another_policy_would_have_decided_is_told_with_the_checks_that_differ(
    records: list[Record], policy: Policy
) -> None:
    dear = policy.model_copy(
        update={"gate": policy.gate.model_copy(update={"min_rows": 1_000_000, "max_rows": 2_000_000})}
    )
    changed = again.what_if(records, dear)
    ran = [each for each in records if isinstance(each, Decision) and each.action is Action.RUN]
    held = [each for each in changed if each.before.get("action") == "run"]
    assert [each.record for each in held] == ran
    assert all(each.after["action"] == "wait" for each in held)
    assert {"holdout_rows", "training_rows"} <= {why.check for why in held[0].why}


def test_a_higher_threshold_asks_later_or_not_at_all(records: list[Record], policy: Policy) -> None:
    calm = with_score(policy, threshold=990)
    changed = {each.record.id: each for each in again.what_if(records, calm)}
    asked = [each for each in records if isinstance(each, RetrainRequest) and "performance" in each.triggers]
    assert asked
    for request in asked:
        assert changed[request.answers[0]].after["action"] == "nothing"


def test_a_course_under_the_policy_in_force_asks_when_it_did(records: list[Record], policy: Policy) -> None:
    course = again.course(records, policy)
    first = next(each for each in records if isinstance(each, RetrainRequest))
    run = next(each for each in records if isinstance(each, Decision) and each.action is Action.RUN)
    assert course.asked[0] == first.at
    assert course.ran[0][0] == run.at
    assert course.ran[0][2] == pytest.approx(run.cost_mrow_passes)
    assert course.cost_mrow_passes is not None


def test_the_lower_the_threshold_the_more_is_retrained(records: list[Record], policy: Policy) -> None:
    counts = [
        len(again.course(records, with_score(policy, threshold=points, withdraw_below=100)).asked)
        for points in (990, 300, 101)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


@pytest.fixture(scope="module")
def home(records: list[Record], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that holds them, with the CPU time of its jobs."""
    place = tmp_path_factory.mktemp("home")
    (place / IDENTITY).write_text("{}")
    ledger = FileLedger(place / "ledger.jsonl")
    for record in records:
        ledger.append([record])
    for job in [each for each in records if isinstance(each, Job)]:
        ledger.note("job_finished", job.id, cpu_s=7200 * job.cost_mrow_passes)
    ledger.close()
    return place


def test_scores_that_alone_differ_are_listed_beside_what_would_have_been_done_otherwise(
    home: Path, records: list[Record], tmp_path: Path
) -> None:
    write_policy(tmp_path)
    written = (tmp_path / "policy.toml").read_text()
    assert "weight = 0.8\n" in written
    (tmp_path / "policy.toml").write_text(written.replace("weight = 0.8\n", "weight = 0.75\n"))
    found = hindsight.what_if(tmp_path / "policy.toml", home)
    assert found["scores"]
    assert {each["id"] for each in found["scores"]}.isdisjoint(each["id"] for each in found["changed"])
    assert all(each["before"] != each["after"] for each in found["scores"])
    assert f"in {len(found['scores'])} assessments the score alone differs" in show_what_if(found)
    assert found["in_force"]["cost_cpu_hours"] == pytest.approx(2 * found["in_force"]["cost_mrow_passes"])


def test_what_happened_stands_beside_what_is_modeled(home: Path, records: list[Record], tmp_path: Path) -> None:
    write_policy(tmp_path)
    found = hindsight.what_if(tmp_path / "policy.toml", home)
    ran = [each for each in records if isinstance(each, Decision) and each.action is Action.RUN]
    assert found["recorded"]["asked"] == sum(isinstance(each, RetrainRequest) for each in records)
    assert found["recorded"]["ran"] == len(ran) == sum(found["recorded"]["by_class"].values())
    assert found["recorded"]["cost_mrow_passes"] == pytest.approx(sum(each.cost_mrow_passes for each in ran))
    *_, recorded, modeled, in_force, instead = show_what_if(found).splitlines()
    assert recorded.startswith(f"retrainings recorded: asked {found['recorded']['asked']}, ran {len(ran)} (")
    assert modeled.startswith("modeled, as if no candidate were rejected")
    assert in_force.split(": ")[1].split() == instead.split(": ")[1].split()


def test_the_checks_that_tell_why_come_first_and_the_others_are_counted() -> None:
    def otherwise(check: str, before: str, after: str) -> dict[str, str]:
        return {"check": check, "before": f"{before} (seen 1, limit 2)", "after": f"{after} (seen 1, limit 3)"}

    def shown(*why: dict[str, str]) -> list[str]:
        course = dict.fromkeys(("asked", "asked_outside", "ran"), 0)
        course |= {"by_class": {}, "cost_mrow_passes": None, "cost_cpu_hours": None}  # type: ignore[dict-item]
        record = {"at": "2026-01-01T00:00", "id": "decision-1", "before": {"a": 1}, "after": {"a": 2}, "why": why}
        found = {"policy_digest": "0" * 64, "changed": [record], "scores": []}
        text = show_what_if(found | dict.fromkeys(("recorded", "in_force", "instead"), course))
        return [line.strip().partition(":")[0] for line in text.splitlines() if line.startswith("      ")]

    numbers = [otherwise(f"number{place}", "pass", "pass") for place in range(6)]
    outcomes = [otherwise(f"outcome{place}", "pass", "fail") for place in range(3)]
    telling = [otherwise(name, "pass", "pass") for name in ("still_wanted", "class", "action")]
    assert shown(*numbers, *outcomes, *telling) == [
        "action", "class", "still_wanted", "outcome0", "and 8 more checks; --json lists all"
    ]  # fmt: skip
    assert shown(*numbers, outcomes[0]) == ["outcome0", "and 6 more checks; --json lists all"]
    assert shown(*numbers[:5]) == [*(f"number{place}" for place in range(4)), "and 1 more check; --json lists it"]
    assert shown(*outcomes) == ["outcome0", "outcome1", "outcome2"]


def test_a_sweep_tells_which_combinations_the_policy_refuses_and_goes_on(home: Path) -> None:
    found = hindsight.sweep(["score.threshold=100,300", "score.withdraw_below=150,200"], [home])
    assert [row["settings"]["score.threshold"] for row in found["rows"]] == [300, 300]
    assert [each["settings"]["score.threshold"] for each in found["refused"]] == [100, 100]
    assert "withdraw_below must not be above threshold" in found["refused"][0]["reasons"][0]
    assert all(row["cost_cpu_hours"] > 0 for row in found["rows"])
    shown = show_sweep(found)
    assert shown.count("refused: ") == 2
    assert "CPU hours" in shown


def test_a_sweep_of_which_nothing_can_be_used_is_refused_with_all_reasons(home: Path) -> None:
    with pytest.raises(InputError) as refused:
        hindsight.sweep(["score.threshold=100,120", "score.withdraw_below=150"], [home])
    assert len(refused.value.problems) == 2
    with pytest.raises(InputError, match="is no key of the policy"):
        hindsight.sweep(["score.treshold=100,120"], [home])


def test_a_sweep_uses_a_value_once_and_refuses_a_key_that_is_varied_twice(home: Path) -> None:
    found = hindsight.sweep(["score.threshold=300,350,300"], [home])
    assert [row["settings"]["score.threshold"] for row in found["rows"]] == [300, 350]
    with pytest.raises(InputError, match="threshold: is varied twice"):
        hindsight.sweep(["score.threshold=300", "score.threshold=350"], [home])


def test_a_sweep_tells_a_key_that_is_not_set_from_one_that_is_none(home: Path) -> None:
    for key, said in {
        "score.business.impact": "is not set in this policy",
        "break_glass": "is not set in this policy",
        "score.business.impacts": "is no key of the policy",
        "score.threshold.points": "is no key of the policy",
        "windows.blackouts.first": "is no key of the policy",
        "jobs.tries": "is no key of the policy",
        "jobs.most_failures": "changes no decision",
    }.items():
        with pytest.raises(InputError, match=said):
            hindsight.sweep([f"{key}=1"], [home])


def test_a_sweep_says_which_setting_changed_nothing(home: Path) -> None:
    found = hindsight.sweep(["score.threshold=300,990", "watch.looks=4,5", "gate.min_rows=100"], [home])
    assert [each["key"] for each in found["unmoved"]] == ["watch.looks"]
    assert "watch.looks changed nothing here" in show_sweep(found)
    assert hindsight.sweep(["watch.looks=4"], [home])["unmoved"] == []


def test_a_sweep_varies_the_thresholds_of_classes_by_their_place(home: Path) -> None:
    found = hindsight.sweep(["classes.standard.when.0.score=300,1000"], [home])
    standard = [row["by_class"].get("standard", 0) for row in found["rows"]]
    assert standard[0] > standard[1]
    for key in ("classes.standard.when.9.score", "classes.standard.when.0.impact"):
        with pytest.raises(InputError, match="is not set in this policy"):
            hindsight.sweep([f"{key}=1"], [home])
    with pytest.raises(InputError, match="is no key of the policy"):
        hindsight.sweep(["classes.standard.when.first.score=1"], [home])


def test_a_policy_read_back_from_its_text_is_the_same(tmp_path: Path) -> None:
    write_policy(tmp_path, threshold="310")
    found = load_policy(tmp_path / "policy.toml")
    assert policy_text(read_policy(policy_text(found))) == policy_text(found)
    assert json.loads(policy_text(found))["score"]["threshold"] == 310


def test_the_first_model_is_never_advised_to_be_taken_back(records: list[Record]) -> None:
    # There is nothing before it, and the world of these records changes soon after it.
    actions = [each.action for each in records if isinstance(each, Assessment)]
    assert Advice.ROLL_BACK not in actions[:3]
    assert Advice.RETRAIN in actions

"""What people see of a cycle in MLflow, on one real store for all tests: making one takes seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from whole_cycle import AT, WINDOW

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.mlflow import MlflowRegistry
from hpcretrain.adapters.mlflow_runs import ID_TAG
from hpcretrain.adapters.origin import Origin
from hpcretrain.ports import Page, Trained
from hpcretrain.records import Candidate, Job, PriorityClass, Purpose
from hpcretrain.report.holdout import meet

ORIGIN = Origin(
    tags={"hpcretrain.version": "9", "mlflow.source.name": "config.toml", "mlflow.source.git.commit": "abc"},
    params={"threads": "1"},
    environment="numpy==1\n",
    table="orders.csv",
    source="there/orders.csv",
    columns=[("amount", "double")],
    metric="auc",
)


class World:
    """One store, and a new cycle for each test."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.cycles = 0
        self.lives = 0
        (place / "models" / "d1").mkdir(parents=True)
        (place / "models" / "d1" / "model.txt").write_text("7")
        self.registry = self.again()

    def again(self, forgetful: bool = False) -> MlflowRegistry:
        """The registry of another life of the controller; a forgetful one lost its notes."""
        self.lives += forgetful
        (self.place / f"life-{self.lives}").mkdir(exist_ok=True)
        ledger = FileLedger(self.place / f"life-{self.lives}" / "ledger.jsonl")
        self.ledger = ledger
        clock = VirtualClock(AT)
        self.registry = MlflowRegistry(
            self.place / "mlflow", "m", self.place / "models", ledger, clock=clock, origin=ORIGIN
        )
        return self.registry

    @property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.registry.uri, registry_uri=self.registry.uri)

    def runs(self, **tags: str) -> list[Any]:
        """Runs with these tags `hpcretrain.<name>`."""
        query = " and ".join(f"tags.`hpcretrain.{name}` = '{value}'" for name, value in tags.items())
        return list(self.client.search_runs([self.client.get_experiment_by_name("m").experiment_id], query))

    def cycle(self) -> tuple[str, Job, Candidate, dict[str, str]]:
        self.cycles += 1
        cycle = f"request-{self.cycles}"
        job = Job(
            model="m", at=AT, answers=("decision-1",), purpose=Purpose.JUDGE, priority_class=PriorityClass.STANDARD,
            recipe="lightgbm", params={}, seed=self.cycles, window=replace(WINDOW, digest=f"{self.cycles:064x}"),
            cost_mrow_passes=1.5,
        )  # fmt: skip
        candidate = Candidate(
            model="m", at=AT, answers=(job.id,), purpose=Purpose.JUDGE, model_digest="d1", window=job.window
        )
        lineage = {"cycle": cycle, "decision": "decision-1", "data_digest": job.window.digest}
        return cycle, job, candidate, lineage


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("shown"))


def logged(world: World) -> tuple[str, Candidate]:
    cycle, job, candidate, lineage = world.cycle()
    world.registry.register(candidate, job, Trained("d1", 2.0), lineage)
    return cycle, candidate


def test_a_run_tells_code_environment_window_and_data_and_stands_under_its_cycle(world: World) -> None:
    cycle, candidate = logged(world)
    (run,) = world.runs(id=candidate.id)
    (parent,) = world.runs(id=cycle)
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert run.data.tags["mlflow.source.git.commit"] == "abc"
    assert run.data.tags["hpcretrain.outcome"] == "trained"
    assert run.data.params["data_digest"] == candidate.window.digest
    assert run.data.params.items() >= {"threads": "1", "decision": "decision-1", "excluded": "none"}.items()
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("orders.csv", candidate.window.digest[:16])
    assert json.loads(used.dataset.profile)["num_rows"] == 10
    assert json.loads(used.dataset.source) == {"uri": "there/orders.csv"}
    there = Path(world.client.download_artifacts(run.info.run_id, "environment.txt"))
    assert there.read_text() == "numpy==1\n"


def test_two_candidates_of_a_cycle_stand_under_one_run(world: World) -> None:
    cycle, job, candidate, lineage = world.cycle()
    for seed in (1_000, 1_001):
        other = replace(job, seed=seed)
        world.registry.register(replace(candidate, answers=(other.id,)), other, Trained("d1", 2.0), lineage)
    (parent,) = world.runs(id=cycle)
    children = world.runs(cycle=cycle)
    assert [run.data.tags["mlflow.parentRunId"] for run in children] == [parent.info.run_id] * 2


def test_a_run_lasts_as_long_as_its_job_did(world: World) -> None:
    _, job, candidate, lineage = world.cycle()
    world.ledger.note("job_intended", job.id)
    world.ledger.note("job_finished", job.id)
    (begun,) = world.ledger.notes("job_intended", job.id)
    world.registry.register(candidate, job, Trained("d1", 2.0), lineage)
    (run,) = world.runs(id=candidate.id)
    told = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    assert abs(told - datetime.fromisoformat(begun["at"])) < timedelta(milliseconds=2)
    assert run.info.start_time <= run.info.end_time < datetime.now(UTC).timestamp() * 1000


def test_a_failed_job_is_a_failed_run_with_the_reason_and_no_version(world: World) -> None:
    _, job, _, lineage = world.cycle()
    for _ in range(2):
        world.registry.fail(job, "ValueError: no", lineage)
    world.again(forgetful=True).fail(job, "ValueError: no", lineage)
    (run,) = world.runs(id=job.id)
    assert run.info.status == "FAILED"
    assert run.data.tags["hpcretrain.reason"] == "ValueError: no"
    assert not world.client.search_model_versions(f"run_id = '{run.info.run_id}'")


def shown(world: World, cycle: str, candidate: Candidate) -> tuple[Any, Any, Any]:
    (parent,), (run,) = world.runs(id=cycle), world.runs(id=candidate.id)
    (version,) = world.client.search_model_versions(f"name = 'm' and tags.`{ID_TAG}` = '{candidate.id}'")
    return parent, run, version


@pytest.mark.parametrize("forgetful", [False, True])
def test_pages_reach_runs_and_versions_and_may_be_shown_again(forgetful: bool, world: World) -> None:
    cycle, candidate = logged(world)
    world.registry.measure(candidate.id, {"auc": 0.7, "auc_lower": 0.6}, {"verdict": "pass"})
    told = Page(cycle, "2024-01-01 kept", "FINISHED", {"outcome": "kept"}, "why", judged=candidate.id)
    mine = Page(candidate.id, "x", "FINISHED", {"outcome": "kept"}, "words", ((AT, AT + timedelta(days=1)), (AT, None)))
    for registry in (world.registry, world.registry, world.again(forgetful)):
        for page in (replace(told, name="open", status="RUNNING"), told, mine):
            registry.show(page)
    parent, run, version = shown(world, cycle, candidate)
    assert (parent.info.run_name, parent.info.status) == ("2024-01-01 kept", "FINISHED")
    assert parent.info.end_time is not None
    assert parent.data.tags["mlflow.note.content"] == "why"
    assert parent.data.metrics == {"auc": 0.7, "auc_lower": 0.6}
    assert len(world.client.get_metric_history(parent.info.run_id, "auc")) == 1
    assert run.data.tags["hpcretrain.outcome"] == version.tags["hpcretrain.outcome"] == "kept"
    assert version.description == run.data.tags["mlflow.note.content"] == "words"
    assert version.tags["hpcretrain.champion"] == (
        "2024-01-01T00:00:00Z to 2024-01-02T00:00:00Z; 2024-01-01T00:00:00Z to now"
    )


def test_a_page_of_what_was_never_logged_shows_nothing(world: World) -> None:
    world.registry.show(Page("request-none", "x", "FINISHED", {}, "words"))
    assert world.runs(id="request-none") == []


def test_words_longer_than_mlflow_takes_are_cut(world: World) -> None:
    cycle, _ = logged(world)
    world.registry.show(Page(cycle, "x", "RUNNING", {}, "w" * 20_000))
    (run,) = world.runs(id=cycle)
    assert run.data.tags["mlflow.note.content"] == "w" * 7_999 + "…"


def picture_of(world: World, candidate: Candidate, meet_with: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    random = np.random.default_rng(1)
    labels = (random.random(500) < 0.4).astype(float)
    meeting = meet(labels, random.random(500), meet_with(labels), "binary", ("auc",))
    for _ in range(2):
        world.registry.picture(candidate.id, meeting)
    (run,) = world.runs(id=candidate.id)
    return [
        artifact.path
        for place in (run.info.run_id, run.data.tags["mlflow.parentRunId"])
        for artifact in world.client.list_artifacts(place, "plots")
    ]


def test_a_picture_lies_with_the_run_and_its_cycle(world: World) -> None:
    _, candidate = logged(world)
    paths = picture_of(world, candidate, lambda labels: 0.3 + 0.4 * labels + np.linspace(0, 0.2, 500))
    assert paths == [f"plots/{candidate.id}.png"] * 2


def test_nothing_is_drawn_of_what_is_not_defined(world: World) -> None:
    _, candidate = logged(world)
    assert picture_of(world, candidate, lambda labels: np.full(len(labels), np.nan)) == []


def test_each_move_of_an_alias_is_noted_once_with_the_time_of_the_clock(world: World) -> None:
    _, one = logged(world)
    _, two = logged(world)
    for _ in range(2):
        world.registry.alias(one.id, "champion")
    world.registry.alias(two.id, "champion")
    moves = [note for each in (one, two) for note in world.ledger.notes("alias_moved", each.id)]
    assert [(note["alias"], note["moved_at"]) for note in moves] == [("champion", "2024-01-01T00:00:00Z")] * 2
    now = world.client.get_model_version_by_alias("m", "champion")
    assert (str(now.version), now.run_id) == (moves[1]["version"], moves[1]["run"])


def test_a_run_names_run_and_version_of_its_parent(world: World) -> None:
    _, before = logged(world)
    _, job, candidate, lineage = world.cycle()
    world.registry.register(candidate, job, Trained("d1", 2.0), {**lineage, "parent": before.id})
    (parent,), (run,) = world.runs(id=before.id), world.runs(id=candidate.id)
    assert run.data.tags["hpcretrain.parent_run"] == parent.info.run_id
    assert world.client.get_model_version("m", run.data.tags["hpcretrain.parent_version"]).run_id == parent.info.run_id


def test_the_list_of_runs_opens_with_the_columns_that_matter(world: World) -> None:
    logged(world)
    tags = world.client.get_experiment_by_name("m").tags
    columns = json.loads(tags["mlflow.sharedViewState.hpcretrain"])["selectedColumns"]
    assert {"metrics.`auc`", "metrics.`auc_lower`", "tags.`hpcretrain.outcome`"} <= set(columns)


def test_an_average_names_its_members_their_runs_and_all_that_they_learned(world: World) -> None:
    members = []
    for letter in "ba":
        _, job, fit, lineage = world.cycle()
        job = replace(job, window=replace(job.window, digest=64 * letter))
        fit = replace(fit, answers=(job.id,), window=job.window)
        world.registry.register(fit, job, Trained("d1", 2.0), lineage)
        members.insert(0, fit)
    ids = tuple(member.id for member in members)
    average = replace(fit, answers=ids, members=ids)
    for forgetful in (False, True):
        world.again(forgetful).register(average, job, Trained("d1", 0.0), lineage, members)
    (run,) = world.runs(id=average.id)
    runs = [world.runs(id=member.id)[0].info.run_id for member in members]
    digests = [member.window.digest for member in members]
    assert run.info.run_name == "2024-01-01 judge, all, average of 2"
    assert run.data.tags["hpcretrain.members"] == run.data.params["members"] == ",".join(ids)
    assert run.data.tags["hpcretrain.member_runs"] == ",".join(runs)
    assert run.data.tags["hpcretrain.data_digest"] == run.data.params["data_digest"] == ",".join(digests)
    used = [each.dataset for each in run.inputs.dataset_inputs]
    assert {json.loads(dataset.profile)["sha256"] for dataset in used} == set(digests)
    (version,) = world.client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert (version.tags["hpcretrain.members"], version.tags["hpcretrain.data_digest"]) == (
        ",".join(ids), ",".join(digests)
    )  # fmt: skip

"""A home that is steered from a real Prefect server with a worker, trainings being on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.states import Cancelling, Pending, Running, Suspended
from prefect_server import worker
from steered import DRIFTED, Steered, held, set_time, until

from hpcretrain.adapters.ledger import verify
from hpcretrain.adapters.prefect_server import start
from hpcretrain.flows.names import POOL, home_tag, labels
from hpcretrain.records import Outcome, ReleaseKind
from hpcretrain.report.events import DRIFT
from hpcretrain.ways import tick


def assert_one_cycle(steered: Steered) -> None:
    """One request, decided once, trained once and released; every record in its place."""
    kinds = Counter(record.kind for record in steered.records())
    assert (kinds["request"], kinds["decision"]) == (2, 3), "one request that came to nothing, one that waited, and ran"
    assert [each.release_kind for each in steered.records("release")] == [ReleaseKind.FIRST, ReleaseKind.PROMOTION]  # type: ignore[attr-defined]
    finished = [note["serves"] for note in steered.notes("job_finished")]
    assert len(finished) == len(set(finished)) == kinds["job"]
    assert [finding.outcome for finding in verify(steered.home / "ledger.jsonl")] == [Outcome.PASS] * 2


def children(pid: int) -> list[int]:
    """The processes that a process started and that are there still."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def released(steered: Steered) -> bool:
    return len(steered.records("release")) == 2


def test_a_drifted_batch_comes_to_a_release_by_events_alone(steered: Steered) -> None:
    with steered.worker():
        set_time(steered.home, DRIFTED)
        [observed] = [steered.start("observe")]
        until(lambda: steered.runs("release", "Completed"), because=steered.told)
    assert_one_cycle(steered)
    [release] = steered.runs("release")
    triage, retrain = steered.runs("triage")[-1], steered.runs("retrain")[-1]
    [assessment] = [each for each in steered.records("assessment") if each.id == triage.parameters["assessment"]]
    assert triage.parameters["score"] == assessment.score  # type: ignore[attr-defined]
    assert triage.parameters["families"] == ["performance"]
    assert retrain.parameters["request"] == release.parameters["request"] == steered.records("request")[-1].id
    assert {run.work_queue_name for run in (triage, retrain, release)} == {"urgent"}
    assert observed.id in {run.id for run in steered.runs("observe", "Completed")}


def test_a_retraining_that_is_started_by_its_button_is_shown_by_a_run_that_says_what_it_is_about(
    steered: Steered,
) -> None:
    set_time(steered.home, DRIFTED)
    tick(steered.home, "triage")
    with steered.worker():
        pressed = steered.start("retrain", "-urgent")
        until(lambda: steered.runs("release", "Completed"), because=steered.told)
    assert_one_cycle(steered)
    request = steered.records("request")[-1].id
    [shows] = [run for run in steered.runs("retrain") if run.id != pressed.id]
    assert (shows.name, shows.parameters["request"]) == (f"retraining for {request}", request)


def test_a_storm_of_the_same_event_is_one_cycle(steered: Steered) -> None:
    set_time(steered.home, DRIFTED)
    tick(steered.home, "observe")
    [assessment] = steered.records("assessment")[-1:]
    told = {"assessment": assessment.id, "score": 900, "priority_class": "urgent", "families": ["performance"]}
    event = {
        "event": DRIFT,
        "resource": dict(labels(steered.home, assessment.id, "urgent")),
        "occurred": datetime.now(UTC).isoformat(),
        "payload": told,
    }
    with steered.client() as client:
        client.request("POST", "/events", json=[{**event, "id": str(uuid4())} for _ in range(50)])
    with steered.worker():
        until(lambda: steered.runs("release", "Completed"), because=steered.told)
    assert_one_cycle(steered)
    assert [run.parameters["assessment"] for run in steered.runs("triage")].count(assessment.id) == 1


@pytest.mark.parametrize("kind", ["observe", "triage", "retrain", "release"])
def test_what_a_killed_flow_and_its_worker_leave_is_done(steered: Steered, kind: str) -> None:
    with steered.worker() as process:
        set_time(steered.home, DRIFTED)
        if kind == "observe":
            with held(steered.home):
                steered.start("observe")
                until(lambda: steered.runs("observe", "Running"), because=steered.told)
                os.killpg(process.pid, signal.SIGKILL)
        else:
            steered.start("observe")
            until(lambda: steered.runs(kind), because=steered.told)
            with held(steered.home), contextlib.suppress(AssertionError):
                until(lambda: steered.runs(kind, "Running"), 5)
            os.killpg(process.pid, signal.SIGKILL)
    with steered.worker():
        steered.start("reconcile")
        until(lambda: released(steered), because=steered.told)
        until(lambda: steered.runs("reconcile", "Completed"), because=steered.told)
    assert_one_cycle(steered)


def test_flows_go_on_when_the_server_was_killed_and_came_back(steered: Steered) -> None:
    with steered.worker():
        set_time(steered.home, DRIFTED)
        with held(steered.home):
            steered.start("observe")
            until(lambda: steered.runs("observe", "Running"), because=steered.told)
            os.kill(steered.server.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(steered.server.pid, 0)
        time.sleep(1)
        steered.server = start(steered.server.folder)
        steered.start("reconcile")
        until(lambda: released(steered), because=steered.told)
    assert_one_cycle(steered)


def test_suspended_runs_hold_no_slot_no_lease_and_no_process(steered: Steered) -> None:
    with steered.client() as client:
        for automation in client.read_automations():
            if home_tag(steered.home) in automation.tags:
                client.pause_automation(automation.id)  # There is no training, so `reconcile` would resume them all.
        # Far more than the queue, the pool and the limits let go on at once.
        started = [steered.start("retrain", "-background") for _ in range(60)]
        for run in started:
            for state in (Pending(), Running(), Suspended(pause_key=str(run.id))):
                client.set_flow_run_state(run.id, state)
        limits = client.read_global_concurrency_limits(limit=100, offset=0)
        assert [limit.name for limit in limits if limit.active_slots] == []
        for number in range(180):
            # The way there of those above would take minutes for all.
            client.create_flow_run_from_deployment(run.deployment_id, state=Suspended(pause_key=str(number)))
    assert len(steered.runs("retrain", "Suspended")) == 240, "more than a page of them"
    with steered.worker() as process:
        steered.start("review")
        until(lambda: steered.runs("review", "Completed"), because=steered.told)
        until(lambda: len(children(process.pid)) == 1, 30, lambda: "more than the process that forks")


def test_a_run_that_is_canceled_while_it_works_ends_and_its_process_with_it(steered: Steered) -> None:
    with steered.worker() as process, held(steered.home):
        run = steered.start("observe")
        until(lambda: steered.runs("observe", "Running"), because=steered.told)
        forks = Path(f"/proc/{children(process.pid)[0]}")
        until(lambda: len(children(int(forks.name))) == 1, 30)
        with steered.client() as client:
            client.set_flow_run_state(run.id, Cancelling())
        until(lambda: steered.runs("observe", "Cancelled"), because=steered.told)
        until(lambda: children(int(forks.name)) == [], 30)


def test_runs_begin_the_usual_way_once_the_process_that_forks_was_killed(steered: Steered) -> None:
    with steered.worker() as process:
        steered.start("review")
        until(lambda: steered.runs("review", "Completed"), because=steered.told)
        until(lambda: len(children(process.pid)) == 1, 30)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        steered.start("observe")
        until(lambda: steered.runs("observe", "Completed"), because=steered.told)


def test_a_worker_of_prefects_own_runs_the_same_flows(steered: Steered) -> None:
    with worker(steered.server, POOL, steered.home.parent / "worker.log"):
        steered.start("observe")
        until(lambda: steered.runs("observe", "Completed"), because=steered.told)


def test_without_a_server_flows_are_plain_functions(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hpcretrain.flows.observe import observe
    from hpcretrain.flows.reconcile import reconcile
    from hpcretrain.flows.retrain import retrain
    from hpcretrain.flows.triage import triage

    monkeypatch.delenv("PREFECT_HOME", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    home = shutil.copytree(base, tmp_path / "home")
    set_time(home, DRIFTED)
    seen = observe(str(home))
    assert [each for each in seen["made"] if each.startswith("assessment-")]
    decided = triage(str(home))
    assert [each.partition("-")[0] for each in decided["made"]] == ["decision"]
    done = retrain(str(home))
    assert [each for each in done["made"] if each.startswith("release-")]
    assert reconcile(str(home))["made"] == []

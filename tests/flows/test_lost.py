"""Whatever is lost in Prefect, or done there at the wrong moment, neither stops the others nor is forgotten."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.states import Cancelled, Cancelling, Pending, Running, Suspended
from steered import DRIFTED, Steered, held, set_time, until

from hpcretrain.flows import runs
from hpcretrain.flows.runs import align, heed_cancellations
from hpcretrain.flows.steps import Reference
from hpcretrain.ways import tick


def decided(steered: Steered) -> str:
    """The request of a training that was decided on and has not begun."""
    set_time(steered.home, DRIFTED)
    tick(steered.home, "triage")
    return steered.records("request")[-1].id


def came(steered: Steered, request: str) -> Reference:
    """What a flow is told while the jobs of a training are under way."""
    head = steered.records()[-1].id
    return {"ledger_head": head, "made": [], "awaits": ["job"], "request": request, "asks": {}}


def showing(steered: Steered, request: str) -> UUID:
    """A suspended run that shows a training."""
    run = steered.start("retrain", "-urgent", request=request)
    with steered.client() as client:
        for state in (Pending(), Running(), Suspended(pause_key=str(run.id))):
            client.set_flow_run_state(run.id, state)
    return run.id


def canceled(steered: Steered) -> bool:
    return [each.closing.value for each in steered.records("review")][-1:] == ["canceled"]  # type: ignore[attr-defined]


def test_runs_of_a_lost_worker_that_fill_a_queue_keep_nothing_from_being_reconciled(
    steered: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [steered.start("release", "-urgent", request=f"request-{number}") for number in range(4)]
    with steered.client() as client:
        for run in taken:
            client.set_flow_run_state(run.id, Pending())
    with steered.worker():
        steered.start("reconcile")
        until(lambda: steered.runs("reconcile", "Completed"), because=steered.told)
        assert len(steered.runs("release", "Pending")) == 4, "a worker may be about to run them"
        monkeypatch.setattr(runs, "LOST_AFTER", timedelta(0))
        align(str(steered.home), came(steered, ""))
        assert len(steered.runs("release", "Crashed")) == 4
        until(lambda: len(steered.runs("reconcile", "Completed")) > 1, because=steered.told)


def test_a_run_that_falls_silent_is_called_crashed_and_what_it_left_is_done(steered: Steered) -> None:
    with steered.worker() as process, held(steered.home):
        steered.start("observe")
        until(lambda: steered.runs("observe", "Running"), because=steered.told)
        os.killpg(process.pid, signal.SIGKILL)
    taken = steered.start("watch")
    with steered.client() as client:
        client.set_flow_run_state(taken.id, Pending())
    with steered.worker():
        for kind in ("observe", "watch"):
            [run] = until(lambda of=kind: steered.runs(of, "Crashed"), because=steered.told)  # type: ignore[misc]
            assert "lost" in run.state.message
        until(lambda: steered.runs("reconcile", "Completed"), because=steered.told)


def test_a_run_that_was_lost_while_the_server_was_down_is_called_so(
    steered: Steered, monkeypatch: pytest.MonkeyPatch
) -> None:
    with steered.client() as client:
        for run in (steered.start("observe"), steered.start("watch")):
            client.set_flow_run_state(run.id, Pending())
            client.set_flow_run_state(run.id, Running())
        until(lambda: runs._heard(client, run, datetime.now(UTC) - timedelta(minutes=1)))
        until(lambda: not runs._heard(client, run, datetime.now(UTC) - timedelta(seconds=2)))
        told = {
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run.id}"},
        }
        sent = {**told, "id": str(uuid4()), "occurred": datetime.now(UTC).isoformat(), "payload": {}}
        client.request("POST", "/events", json=[sent])
        until(lambda: runs._heard(client, run, datetime.now(UTC) - timedelta(seconds=2)))
    monkeypatch.setattr(runs, "LOST_AFTER", timedelta(seconds=2))
    with monkeypatch.context() as just_back:
        just_back.setattr(runs, "_UP", timedelta(0))
        align(str(steered.home), came(steered, ""))
    assert not steered.runs("observe", "Crashed"), "a server that heard nothing at all was down"
    align(str(steered.home), came(steered, ""))
    assert steered.runs("observe", "Crashed")
    assert steered.runs("watch", "Running")


def test_runs_that_find_the_home_in_use_go_and_leave_it_to_reconcile(steered: Steered) -> None:
    with steered.worker(), held(steered.home):
        steered.start("observe")
        [run] = until(lambda: steered.runs("observe", "Skipped"), 90, steered.told)
    assert "in use" in run.state.message
    assert not steered.runs("observe", "Running", "AwaitingRetry")


@pytest.mark.parametrize("left", ["Cancelled", "Cancelling"])
def test_a_cancellation_in_the_midst_of_a_reconciliation_is_heeded_by_the_next(steered: Steered, left: str) -> None:
    request = decided(steered)
    run = showing(steered, request)
    with steered.client() as client:
        client.set_flow_run_state(run, Cancelled() if left == "Cancelled" else Cancelling(), force=True)
    # What is left of a reconciliation that had looked for cancellations before; no run shows the training any more.
    align(str(steered.home), came(steered, request))
    assert not canceled(steered)
    heed_cancellations(str(steered.home))
    assert canceled(steered)


def test_of_two_runs_that_show_a_training_one_may_be_canceled(steered: Steered) -> None:
    request = decided(steered)
    first, _ = showing(steered, request), showing(steered, request)
    with steered.client() as client:
        client.set_flow_run_state(first, Cancelled())
    heed_cancellations(str(steered.home))
    assert not canceled(steered)


def test_another_trainings_canceled_run_ends_none(steered: Steered) -> None:
    decided(steered)
    with steered.client() as client:
        client.set_flow_run_state(showing(steered, "request-0000000000000000"), Cancelled())
    heed_cancellations(str(steered.home))
    assert not canceled(steered)

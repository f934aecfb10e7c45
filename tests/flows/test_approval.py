"""Where a person has to say yes, on a real Prefect server: the run shows what is asked; only a real token counts."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled
from steered import BEFORE, DRIFTED, Steered, set_time, set_up, until
from tables import configure, orders, write_policy

from hpcretrain.adapters.prefect_server import PrefectServer
from hpcretrain.livehome import start_live
from hpcretrain.ways import tick


@pytest.fixture
def steered(prefect_server: PrefectServer, tmp_path: Path) -> Iterator[Steered]:
    """A home whose urgent trainings and releases must be approved, right before a batch that makes one urgent."""
    place = tmp_path / "place"
    named = write_policy(place)
    policy = place / "policy.toml"
    me = pwd.getpwuid(os.getuid()).pw_name
    asked = f'\n[approvals]\nrun = ["urgent"]\nrelease = ["urgent"]\napprovers = ["{me}"]\nexpires_h = 96\n'
    policy.write_text(policy.read_text() + asked)
    config = configure(place, orders(rows=8_000, minutes=16, change_at=0.4), **named)
    start_live(config, place / "home", from_time=datetime.fromisoformat(f"{BEFORE}T00:00:00Z"))
    while not tick(place / "home")["serves"]:
        time.sleep(0.2)
    with set_up(place / "home", prefect_server) as steered:
        yield steered
    shutil.rmtree(place)


def shown(steered: Steered, run: FlowRun) -> str:
    """What the form says."""
    assert run.state is not None
    keys = run.state.state_details.run_input_keyset
    assert keys is not None

    def read() -> str:
        # Prefect writes the form after it suspended the run.
        with steered.client() as client, contextlib.suppress(ObjectNotFound, PrefectHTTPStatusError):
            return str(client.read_flow_run_input(run.id, keys["description"]))
        return ""

    return str(until(read, 30))


def resume(steered: Steered, run: FlowRun, token: str) -> None:
    with steered.client() as client:
        client.resume_flow_run(run.id, {"token": token})


def key(run: FlowRun) -> str:
    assert run.state is not None
    return str(run.state.state_details.pause_key)


def ask_in(run: FlowRun) -> str:
    return key(run).rpartition("-")[0]


def suspended(steered: Steered, kind: str, attempt: int = 0) -> FlowRun:
    def found() -> list[FlowRun]:
        ends = f"-{attempt}"
        return [run for run in steered.runs(kind, "Suspended") if key(run).endswith(ends)]

    [run] = until(found, because=steered.told)
    return run  # type: ignore[no-any-return]


def test_only_the_token_of_an_approval_makes_a_suspended_run_go_on(steered: Steered) -> None:
    with steered.worker():
        set_time(steered.home, DRIFTED)
        steered.start("observe")
        run = suspended(steered, "triage")
        said = shown(steered, run)
        assert "awaits an approval" in said
        assert f"hpcretrain approve {ask_in(run)}" in said
        assert len(steered.records("job")) == len(steered.notes("job_finished")), "nothing was begun"

        resume(steered, run, "0" * 32)
        run = suspended(steered, "triage", attempt=1)
        assert "No answer to" in shown(steered, run)

        answer = json.loads(steered.command("approve", ask_in(run), "--home", steered.home, "--json"))
        assert answer["done"]
        resume(steered, run, answer["token"])
        until(lambda: not steered.runs("triage", "Suspended"), because=steered.told)

        # A run is not what is asked: one that is canceled is shown again.
        run = suspended(steered, "release")
        with steered.client() as client:
            client.set_flow_run_state(run.id, Cancelled())
        steered.start("reconcile")
        shown_again = suspended(steered, "release")
        assert (ask_in(shown_again), shown_again.id == run.id) == (ask_in(run), False)

        # Nobody fills in the second form: reconcile finds that its ask was answered.
        run = shown_again
        assert len(steered.records("release")) == 1
        assert json.loads(steered.command("approve", ask_in(run), "--home", steered.home, "--json"))["done"]
        steered.start("reconcile")
        until(lambda: steered.runs("release", "Completed"), because=steered.told)
    assert len(steered.records("release")) == 2
    assert len(steered.records("approval")) == 2

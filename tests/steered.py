"""A home that is steered from a Prefect server, for tests: by whom, and what one sees in Prefect."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect_server import end, surroundings

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.prefect import setup
from hpcretrain.adapters.prefect_server import PrefectServer
from hpcretrain.adapters.prefect_teardown import teardown
from hpcretrain.flows.deployments import ours, wanted
from hpcretrain.flows.names import POOL, flow_name, home_id, home_tag
from hpcretrain.records import Record

BEFORE, DRIFTED = "2024-02-23", "2024-03-01"
"""In the first a request is open already, which the batch of the second makes urgent."""


def until(what: Callable[[], Any], within_s: float = 240.0, because: Callable[[], object] = lambda: "") -> Any:
    """Wait until `what()` is true; what it was."""
    deadline = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"not within {within_s} s: {because()}"
        time.sleep(0.2)
    return found


@cache
def _client(url: str, password: str) -> SyncPrefectClient:
    """One as long as the process lives: to make a client takes fifty times as long as to ask by it."""
    with temporary_settings({PREFECT_API_URL: url, PREFECT_API_AUTH_STRING: password}):
        return get_client(sync_client=True).__enter__()


@dataclass
class Steered:
    """A home, the server that it is steered from, and the arguments of processes that work for it."""

    home: Path
    server: PrefectServer
    python: str = sys.executable
    process: Mapping[str, Any] = field(default_factory=dict)
    scheduled: bool = True
    """Whether some flow has a schedule that is on."""

    def arguments(self) -> dict[str, Any]:
        """Of `Popen`: who runs it, and in which environment."""
        if not self.process:
            return {"env": surroundings(self.server)}
        return {**self.process, "env": {**self.process["env"], **self.server.environment()}}

    def command(self, *arguments: object) -> str:
        """What a command of hpcretrain prints."""
        line = [self.python, "-m", "hpcretrain", *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, **self.arguments())
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    @contextmanager
    def worker(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker while the block runs; its output is in the home's parent."""
        if not self.scheduled:
            self._forget_scheduled()
        with (self.home.parent / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [self.python, "-m", *(command or ("hpcretrain", "prefect", "worker"))],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                **self.arguments(),
            )
        try:
            yield process
        finally:
            end(process)

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        """Prefect's client, as whoever looks at the server's pages."""
        yield _client(self.server.url, (self.server.folder / "password").read_text().strip())

    def start(self, kind: str, suffix: str = "", **parameters: str) -> FlowRun:
        """Start a deployment, as by its button."""
        with self.client() as client:
            found = client.read_deployment_by_name(f"{flow_name(kind)}/{home_id(self.home)}{suffix}")  # type: ignore[arg-type]
            return client.create_flow_run_from_deployment(found.id, parameters=parameters)

    def runs(self, kind: str, *states: str) -> list[FlowRun]:
        """Runs of one kind in states of these names, or in any; the oldest first."""
        mine = FlowRunFilter(tags=FlowRunFilterTags(all_=[home_tag(self.home)]))
        found: list[FlowRun] = []
        with self.client() as client:
            while page := client.read_flow_runs(
                flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name(kind)])),  # type: ignore[arg-type]
                flow_run_filter=mine,
                sort=FlowRunSort.ID_DESC,
                limit=200,
                offset=len(found),
            ):
                found += page
        found.sort(key=lambda run: (run.expected_start_time or run.created, run.created))
        return [run for run in found if not states or (run.state is not None and run.state.name in states)]

    def schedules(self, *, on: bool, kinds: tuple[str, ...] = ("observe", "watch", "reconcile", "review")) -> None:
        """Switch the schedules of some flows on or off, as by their buttons."""
        with self.client() as client:
            for kind in kinds:
                found = client.read_deployment_by_name(f"{flow_name(kind)}/{home_id(self.home)}")  # type: ignore[arg-type]
                (client.resume_deployment if on else client.pause_deployment)(found.id)
        self.scheduled = on

    def _forget_scheduled(self) -> None:
        """Take runs away that Prefect scheduled while the schedules were being switched off."""
        with self.client() as client:
            for kind in ("observe", "watch", "reconcile", "review"):
                for run in self.runs(kind, "Scheduled", "Late"):
                    if run.auto_scheduled:
                        client.delete_flow_run(run.id)

    def told(self) -> str:
        """The end of what the worker printed, and the runs: for failures."""
        log = self.home.parent / "worker.log"
        kinds = ("observe", "triage", "retrain", "release", "reconcile")
        runs = [f"{kind}: {[run.state and run.state.name for run in self.runs(kind)]}" for kind in kinds]
        return "\n".join([*runs, log.read_text()[-4000:] if log.exists() else ""])

    def records(self, kind: str = "") -> list[Record]:
        """The records of a kind in the ledger, or all."""
        ledger = FileLedger(self.home / "ledger.jsonl", read_only=True)
        try:
            return [record for record in ledger.records() if kind in ("", record.kind)]
        finally:
            ledger.close()

    def notes(self, event: str) -> list[dict[str, Any]]:
        """Notes of one kind in the ledger."""
        ledger = FileLedger(self.home / "ledger.jsonl", read_only=True)
        try:
            return [dict(note) for note in ledger.notes(event)]
        finally:
            ledger.close()


@contextmanager
def set_up(home: Path, server: PrefectServer) -> Iterator[Steered]:
    """A home, set up in the server that Prefect in this process talks to; its schedules are off."""
    steered = Steered(home, server)
    setup(wanted(home, POOL))
    steered.schedules(on=False)
    yield steered
    teardown(ours(home))


def set_time(home: Path, moment: str) -> None:
    """Let it be a time of the table's past from now on, as if live."""
    place = home / "live.json"
    content = json.loads(place.read_text())
    content["pace"] = {"from_time": f"{moment}T00:00:00+00:00", "began": datetime.now(UTC).isoformat(), "speed": 1.0}
    owner = place.stat()
    place.write_text(json.dumps(content))
    os.chown(place, owner.st_uid, owner.st_gid)


@contextmanager
def held(home: Path) -> Iterator[None]:
    """The home is in use meanwhile: whatever wants to work in it waits, and is in the midst of its step."""
    with open(home / "home.lock", "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

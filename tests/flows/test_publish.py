"""What a real Prefect server knows of a home after it was published."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_server import FLUSHES_S, surroundings
from replays import replay
from tables import configure, orders

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.mlflow_runs import Runs
from hpcretrain.adapters.mlflow_store import Store
from hpcretrain.adapters.origin import Origin
from hpcretrain.adapters.prefect_server import PrefectServer
from hpcretrain.config.load import load
from hpcretrain.errors import InputError
from hpcretrain.flows.names import home_id
from hpcretrain.flows.publish import publish
from hpcretrain.history import History
from hpcretrain.records import Record
from hpcretrain.report.events import DECIDED, DRIFT
from hpcretrain.wiring import CONFIGURATION, POLICY

WEEK = timedelta(days=7)
TABLE = orders(rows=6_000, minutes=22)


STAGES: Mapping[str, Callable[[History], bool]] = {
    "assessed": lambda history: history.assessment is not None,
    "requested": lambda history: bool(history.cycles),
    "released": lambda history: len(history.releases) > 1,
}
"""Up to which week a home is replayed: the first after which this is so."""


@pytest.fixture(scope="module")
def ledgers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """A folder for each stage, with a home as it is then, and the configuration."""
    folder = tmp_path_factory.mktemp("stages")
    config = configure(folder, TABLE)
    terms = load(config)
    home = folder / "home"
    home.mkdir()
    (home / "home.json").write_text("{}")
    (home / POLICY).write_text(terms.policy_text)
    (home / CONFIGURATION).write_text(terms.config_text)
    until, stages = terms.reference_until, {}
    for stage, reached in STAGES.items():
        while not reached(replay(config, home, until)):
            until += WEEK
            assert until < datetime(2024, 7, 1, tzinfo=UTC), stage
        stages[stage] = folder / stage
        shutil.copytree(home, stages[stage], ignore=shutil.ignore_patterns("models", "profiles"))
    return stages


@dataclass(frozen=True)
class Home:
    """A home whose ledger grows from stage to stage."""

    path: Path
    stages: Mapping[str, Path]
    model: str = "orders"

    def advance(self, stage: str) -> None:
        for name in ("ledger.jsonl", "anchor.json"):
            shutil.copyfile(self.stages[stage] / name, self.path / name)

    def records(self) -> list[Record]:
        return list(FileLedger(self.path / "ledger.jsonl", read_only=True).records())


@pytest.fixture
def make(ledgers: Mapping[str, Path], prefect_server: PrefectServer) -> Callable[[Path], Home]:
    """Makes homes whose champion serves and was assessed once; the server forgets the artifacts of other tests."""
    with get_client(sync_client=True) as client:
        for each in client.request("POST", "/artifacts/filter", json={}).json():
            client.request("DELETE", "/artifacts/{id}", path_params={"id": each["id"]})

    def made(path: Path) -> Home:
        shutil.copytree(ledgers["assessed"], path)
        return Home(path, ledgers)

    return made


@pytest.fixture
def home(make: Callable[[Path], Home], tmp_path: Path) -> Home:
    return make(tmp_path / "home")


def artifacts() -> dict[str, dict[str, Any]]:
    """The newest version of each artifact."""
    with get_client(sync_client=True) as client:
        found = client.request("POST", "/artifacts/latest/filter", json={}).json()
    return {each["key"].removeprefix("orders-"): each for each in found}


def versions(name: str) -> int:
    with get_client(sync_client=True) as client:
        asked = {"artifacts": {"key": {"any_": [f"orders-{name}"]}}}
        return len(client.request("POST", "/artifacts/filter", json=asked).json())


def events(home: Home) -> list[dict[str, Any]]:
    """The events of a home, oldest first; the server stores them a moment after it took them."""
    asked = {"filter": {"resource": {"labels": {"hpcretrain.home": home_id(home.path)}}}, "limit": 50}
    found: list[dict[str, Any]] = []
    came = time.monotonic()
    while time.monotonic() < came + (1.5 * FLUSHES_S if found else 10):
        before = len(found)
        with get_client(sync_client=True) as client:
            page = client.request("POST", "/events/filter", json=asked).json()
            found = list(page["events"])
            while page["next_page"]:
                page = client._client.get(page["next_page"]).json()
                found += page["events"]
        came = time.monotonic() if len(found) > before else came
        time.sleep(0.3)
    return found[::-1]


def cursor(home: Home) -> dict[str, str]:
    read: dict[str, str] = json.loads((home.path / "prefect.json").read_text())
    return read


def test_at_first_only_the_newest_moment_is_told_and_artifacts_show_all(home: Home) -> None:
    home.advance("released")
    publish(home.path)
    records = home.records()
    newest = {each.id for each in records if each.at == records[-1].at}
    assert len(newest) < len(records) / 3, "else this shows nothing"
    told = events(home)
    assert {each["payload"]["record"] for each in told} <= newest
    assert records[-1].id in {each["payload"]["record"] for each in told}
    assert set(artifacts()) == {"backlog", "decision", "progress", "jobs", "comparison", "release", "cost", "links"}
    assert stat.S_IMODE((home.path / "prefect.json").stat().st_mode) == 0o600
    assert cursor(home) == {"announced": records[-1].id}


def test_what_was_told_is_not_told_again_and_what_is_new_is(home: Home) -> None:
    publish(home.path)
    first, shown = events(home), artifacts()
    publish(home.path)
    assert artifacts() == shown, "nothing was written anew"
    before = len(home.records())
    home.advance("released")
    publish(home.path)
    records = home.records()[before:]
    wanted = [each.id for each in records if each.kind != "signal"]
    told = [each for each in events(home) if each["id"] not in {one["id"] for one in first}]
    heard = {each["payload"]["record"] for each in told}
    assert set(wanted) <= heard
    assert {DRIFT, DECIDED, "hpcretrain.release"} <= {each["event"] for each in told}
    assert len({each["id"] for each in told}) == len(told)
    drift = next(each for each in told if each["event"] == DRIFT)
    assert drift["resource"]["hpcretrain.priority_class"] == drift["payload"]["priority_class"]
    assert drift["payload"]["home"] == str(home.path)


def test_an_artifact_about_another_record_is_a_new_version_and_else_is_brought_up_to_date(home: Home) -> None:
    publish(home.path)
    before = artifacts()["backlog"]
    home.advance("requested")
    publish(home.path)
    assert artifacts()["backlog"]["latest_id"] == before["latest_id"]
    assert artifacts()["backlog"]["data"] != before["data"]
    released = versions("release")
    home.advance("released")
    publish(home.path)
    assert versions("release") == released + 1
    assert versions("backlog") == 1


def test_lost_artifacts_and_a_lost_cursor_are_made_again(home: Home) -> None:
    publish(home.path)
    told, shown = events(home), artifacts()
    with get_client(sync_client=True) as client:
        client.request("DELETE", "/artifacts/{id}", path_params={"id": shown["release"]["latest_id"]})
    (home.path / "prefect.json").write_text("{garbled")
    publish(home.path)
    assert artifacts()["release"]["data"] == shown["release"]["data"]
    assert [each["id"] for each in events(home)] == [each["id"] for each in told]


def test_while_the_server_is_away_one_line_says_so_and_the_next_call_makes_up_for_it(home: Home) -> None:
    publish(home.path)
    before, kept = len(events(home)), cursor(home)
    home.advance("requested")
    lines: list[str] = []
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        publish(home.path, lines.append)
    [line] = lines
    assert "http://127.0.0.1:9/api could not be told" in line
    assert "\n" not in line
    assert cursor(home) == kept
    publish(home.path, lines.append)
    assert len(lines) == 1
    assert len(events(home)) >= before + 3


class Stranger(BaseHTTPRequestHandler):
    """Answers everything with a page."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<p>Hello</p>")

    def log_message(self, *_: object) -> None:
        pass


def test_an_address_where_something_else_answers_is_told(home: Home) -> None:
    lines: list[str] = []
    with HTTPServer(("127.0.0.1", 0), Stranger) as stranger:
        Thread(target=stranger.serve_forever, daemon=True).start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{stranger.server_port}/api"}):
            publish(home.path, lines.append)
        stranger.shutdown()
    [line] = lines
    assert "could not be told" in line
    assert not (home.path / "prefect.json").exists()


def test_without_a_server_nothing_is_said_or_kept(home: Home) -> None:
    lines: list[str] = []
    with temporary_settings({PREFECT_API_URL: None}):
        publish(home.path, lines.append)
    assert not lines
    assert not (home.path / "prefect.json").exists()


def test_a_folder_that_is_no_home_is_refused(prefect_server: PrefectServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no home"):
        publish(tmp_path)


def test_two_at_once_tell_everything_once(home: Home, prefect_server: PrefectServer) -> None:
    program = "import pathlib, sys; from hpcretrain.flows.publish import publish; publish(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(home.path)]
    both = [subprocess.Popen(command, env=surroundings(prefect_server)) for _ in range(2)]
    assert [each.wait(timeout=120) for each in both] == [0, 0]
    told = events(home)
    assert len({each["id"] for each in told}) == len(told)
    assert versions("release") == 1


def test_two_homes_with_models_of_one_name_do_not_overwrite_each_other(
    home: Home, make: Callable[[Path], Home], tmp_path: Path
) -> None:
    other = make(tmp_path / "other")
    other.advance("released")
    publish(home.path)
    mine = artifacts()["release"]
    for _ in range(2):
        publish(other.path)
        publish(home.path)
    there = artifacts()
    assert there["release"] == mine
    [its] = [each for name, each in there.items() if name.endswith("-release")]
    assert its["data"] != mine["data"]
    assert len(there) == 16


@pytest.fixture
def cycle(home: Home) -> str:
    """A cycle that is under way after the home was published, with its run in MLflow."""
    publish(home.path)
    home.advance("requested")
    request = next(each.id for each in home.records() if each.kind == "request")
    Runs(Store(home.path / "mlflow", home.model), Origin()).start(request, request, 0, {})
    return request


def test_a_flow_run_is_named_in_the_ledger_and_in_mlflow_and_names_its_artifacts(home: Home, cycle: str) -> None:
    runs = []

    @task
    def tell() -> None:
        publish(home.path)

    @flow(name="bring-on")
    def bring_on() -> None:
        from prefect.runtime import flow_run

        runs.append(str(flow_run.id))
        tell()

    bring_on()
    ledger = FileLedger(home.path / "ledger.jsonl", read_only=True)
    [note] = ledger.notes("flow_run")
    assert (note["serves"], note["run"]) == (cycle, runs[0])
    assert note["name"].startswith("bring-on, ")
    store = Store(home.path / "mlflow", home.model)
    [run] = store.client.search_runs([store.experiment], f"tags.`hpcretrain.id` = '{cycle}'")
    assert run.data.tags["prefect.flow_run_id"] == runs[0]
    assert run.data.tags["prefect.flow_run_url"].endswith(f"/runs/flow-run/{runs[0]}")
    assert f"/runs/flow-run/{runs[0]})" in artifacts()["links"]["data"]
    assert artifacts()["decision"]["flow_run_id"] == runs[0]
    related = [each["related"] for each in events(home) if each["payload"]["record"] == cycle]
    assert related
    assert runs[0] in json.dumps(related)


def test_an_mlflow_that_cannot_be_written_is_told_and_made_up_for(home: Home, cycle: str) -> None:
    database = home.path / "mlflow" / "mlflow.db"
    whole = database.read_bytes()
    database.write_bytes(b"no database")
    lines: list[str] = []
    kept = cursor(home)

    @flow(name="bring-on")
    def bring_on() -> None:
        publish(home.path, lines.append)

    bring_on()
    [line] = lines
    assert "MLflow could not follow" in line
    assert cursor(home) == kept
    assert cycle in {each["payload"]["record"] for each in events(home)}, "Prefect is told all the same"
    database.write_bytes(whole)
    bring_on()
    assert len(lines) == 1
    assert FileLedger(home.path / "ledger.jsonl", read_only=True).notes("flow_run", cycle)
    assert cursor(home) != kept


def test_jobs_under_way_are_shown_while_another_process_holds_the_home(home: Home) -> None:
    """Publishing takes no lock of the home."""
    import fcntl

    with (home.path / "home.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        publish(home.path)
    assert artifacts()["jobs"]["data"]

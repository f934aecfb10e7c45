"""The servers that we start, when things go wrong: proxies, kills, two at once, other machines, other users."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect_server import FAST, SRC, told

from hpcretrain.adapters import mlflow_server, prefect_server
from hpcretrain.adapters.home import Home
from hpcretrain.adapters.loopback import beside_proxies
from hpcretrain.adapters.ownserver import OwnServer
from hpcretrain.adapters.prefect_server import PrefectServer
from hpcretrain.errors import InputError

KEPT = {
    **{name: value for name, value in os.environ.items() if not re.match("PREFECT_|.*_proxy$", name, re.IGNORECASE)},
    "PYTHONPATH": str(SRC),
}
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def hpcretrain(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """A command of hpcretrain."""
    line = [sys.executable, "-m", "hpcretrain", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env={**KEPT, **environment}, **pipes)  # type: ignore[call-overload, no-any-return]


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """How a command ended: its exit code, and what it printed."""
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def listens(port: int) -> bool:
    """Whether anything does."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def opens(server: OwnServer, line: str, path: str) -> bool:
    """Whether `user:password` opens a page of a server."""
    known = {"Authorization": f"Basic {base64.b64encode(line.strip().encode()).decode()}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{server.page}{path}", headers=known), timeout=30):
            return True
    except urllib.error.HTTPError as error:
        if error.code != 401:
            raise
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a Prefect server."""
    yield tmp_path / "server"
    if (tmp_path / "server").is_dir():
        prefect_server.stop(tmp_path / "server")


@contextmanager
def asking(server: PrefectServer) -> Iterator[SyncPrefectClient]:
    """Prefect's client."""
    password = (server.folder / "password").read_text().strip()
    known = {PREFECT_API_URL: server.url, PREFECT_API_AUTH_STRING: password}
    with temporary_settings(known), get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> PrefectServer:
    """A Prefect server that is down."""
    folder = tmp_path_factory.mktemp("stopped") / "server"
    prefect_server.start(folder)
    prefect_server.stop(folder)
    found = prefect_server.find(folder)
    assert found is not None
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home, for a server of MLflow's."""
    with Home.open(tmp_path / "home", {"model": "orders"}) as made:
        made.mlflow.mkdir(exist_ok=True)
    yield made.path
    mlflow_server.stop(made.path)


@contextmanager
def proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy that refuses everything, and what it was asked."""
    asked: list[str] = []

    class Refuses(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path} {self.headers.get('Authorization')}")
            self.send_error(502)

        do_POST = do_CONNECT = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", asked
        listening.shutdown()


def test_no_proxy_hears_of_a_server_on_this_machine(folder: Path) -> None:
    with proxy() as (address, asked):
        proxied = dict.fromkeys(("http_proxy", "HTTP_PROXY", "all_proxy", "https_proxy"), address)
        proxied["NO_PROXY"] = "example.org"
        code, output, errors = ended(hpcretrain("prefect", "server", folder, **proxied))
        assert code == 0, errors
        exports = dict(line.removeprefix("export ").split("=") for line in output.splitlines()[1:])
        assert exports["NO_PROXY"] == exports["no_proxy"] == "example.org,127.0.0.1,localhost"
        prefect = [sys.executable, "-m", "prefect", "work-pool", "ls"]
        assert subprocess.run(prefect, env={**KEPT, **proxied, **exports}, timeout=60).returncode == 0
        steps = [
            "from hpcretrain.adapters.prefect import server\nwith server() as client: client.read_flows()",
            "from hpcretrain.flows.running import HomeFlow\nHomeFlow(lambda: None, name='nothing')()",
        ]
        known = {**KEPT, **proxied, "PREFECT_HOME": str(folder)}
        for step in steps:
            done = subprocess.run([sys.executable, "-c", step], env=known, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
        assert asked == []


def test_what_is_kept_from_proxies_already_stays_so() -> None:
    for before, kept in (
        ({}, "127.0.0.1,localhost"),
        ({"no_proxy": "a.org, localhost", "NO_PROXY": "b.org"}, "a.org,localhost,b.org,127.0.0.1"),
        ({"NO_PROXY": "*"}, "*"),
    ):
        assert beside_proxies(before) == {"no_proxy": kept, "NO_PROXY": kept}


def test_without_a_proxy_no_line_is_about_proxies(own_server: PrefectServer) -> None:
    code, output, errors = ended(hpcretrain("prefect", "server", own_server.folder))
    assert code == 0, errors
    assert output.splitlines()[1:] == [f"export PREFECT_HOME={own_server.folder}"]


@pytest.mark.parametrize("part", ["worker", "setup", "teardown"])
def test_where_no_server_is_configured_one_is_asked_for_and_none_is_started(part: str, tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", {"model": "orders"}):
        pass
    where = [] if part == "worker" else ["--home", tmp_path / "home"]
    code, _, errors = ended(hpcretrain("prefect", part, *where, PREFECT_HOME=str(tmp_path / "none")))
    assert code == 2
    assert errors.startswith("hpcretrain: "), errors
    assert "Traceback" not in errors
    assert not (tmp_path / "none" / "prefect.db").exists()


def test_what_is_left_of_a_server_that_was_killed_is_stopped(home: Path) -> None:
    server = mlflow_server.start(home)
    os.kill(server.pid, signal.SIGKILL)
    assert listens(server.port)
    assert mlflow_server.start(home) == server
    assert mlflow_server.stop(home)
    assert not listens(server.port)
    assert not mlflow_server.stop(home)


def test_two_who_start_at_once_have_one_server(folder: Path) -> None:
    both = [ended(each) for each in [hpcretrain("prefect", "server", folder, "--json") for _ in range(2)]]
    assert [code for code, _, _ in both] == [0, 0], both
    first, second = (json.loads(output) for _, output, _ in both)
    assert first == second


def test_a_server_whose_starter_was_killed_is_found(folder: Path) -> None:
    starter = hpcretrain("prefect", "server", folder)
    deadline = time.monotonic() + 60
    while (found := prefect_server.find(folder)) is None or not found.alive:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    starter.kill()
    starter.communicate()
    again = prefect_server.start(folder)
    assert again.alive
    assert again.port == found.port
    assert prefect_server.stop(folder)
    assert not listens(again.port)


def test_a_server_of_another_machine_is_left_to_that_machine(own_server: PrefectServer) -> None:
    state = own_server.folder / "server.json"
    here = state.read_text()
    state.write_text(json.dumps({**json.loads(here), "host": "login2"}))
    try:
        for refused in (prefect_server.start, prefect_server.stop):
            with pytest.raises(InputError, match=r"was started on login2, and this is .*: use it and stop it there"):
                refused(own_server.folder)
        assert own_server.alive
    finally:
        state.write_text(here)


def test_one_that_was_stopped_may_be_started_anywhere(stopped: PrefectServer) -> None:
    assert json.loads((stopped.folder / "server.json").read_text()) == {"port": stopped.port, "host": ""}


def test_no_password_is_sent_for_a_server_that_is_on_another_machine(stopped: PrefectServer) -> None:
    state = stopped.folder / "server.json"
    here = state.read_text()
    state.write_text(json.dumps({"port": stopped.port, "host": "login2"}))
    code, _, errors = ended(hpcretrain("prefect", "worker", PREFECT_HOME=str(stopped.folder)))
    state.write_text(here)
    assert code == 2
    assert "was started on login2" in errors


@ROOT
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::"])
def test_no_password_is_sent_to_another_user_who_listens_in_its_place(stopped: PrefectServer, address: str) -> None:
    family = "AF_INET6" if address == "::" else "AF_INET"
    listening = f"""if True:
        import os, socket
        os.setuid(12345)
        place = socket.socket(socket.{family})
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(("{address}", {stopped.port}))
        place.listen()
        print("listens", flush=True)
        place.accept()
        print("was asked", flush=True)"""
    with subprocess.Popen([sys.executable, "-c", listening], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "listens\n"
        code, _, errors = ended(hpcretrain("prefect", "worker", PREFECT_HOME=str(stopped.folder)))
        other.kill()
        assert other.stdout.read() == ""
    assert code == 2, errors
    assert "is held by another user's process" in errors


def test_the_command_refuses_a_link_to_a_folder(tmp_path: Path, home: Path) -> None:
    (tmp_path / "else").mkdir()
    for link in (tmp_path / "link", home / "mlflow-server"):
        link.symlink_to(tmp_path / "else")
    for command in (("prefect", "server", tmp_path / "link"), ("mlflow", "--home", home)):
        code, _, errors = ended(hpcretrain(*command))
        assert code == 2, errors
        assert "is not a folder of yours" in errors
    assert list((tmp_path / "else").iterdir()) == []


def test_a_password_is_changed_by_removing_it_while_the_server_is_down(folder: Path, home: Path) -> None:
    def prefect() -> OwnServer:
        return prefect_server.start(folder)

    def mlflow() -> OwnServer:
        return mlflow_server.start(home)

    for start, stop, path in (
        (prefect, lambda: prefect_server.stop(folder), "/api/admin/version"),
        (mlflow, lambda: mlflow_server.stop(home), "/"),
    ):
        server = start()
        password = server.folder / "password"
        before = password.read_text()
        assert opens(server, before, path)
        stop()
        password.unlink()
        server = start()
        assert not opens(server, before, path)
        assert opens(server, password.read_text(), path)
        stop()


def test_a_slot_that_was_held_when_the_server_was_killed_is_free_once_its_lease_is_over(folder: Path) -> None:
    with told(**FAST, PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS="1"):
        server = prefect_server.start(folder)
        with asking(server) as client:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="few", limit=1))
            client.increment_concurrency_slots_with_lease(["few"], 1, "concurrency", lease_duration=60)
            assert client.read_global_concurrency_limit_by_name("few").active_slots == 1
        os.killpg(server.pid, signal.SIGKILL)
        leases = folder / "concurrency_leases"
        assert stat.S_IMODE(leases.stat().st_mode) == 0o700
        # Prefect's shortest lease is a minute: it passes.
        for path in leases.glob("*.json"):
            path.write_text(re.sub(r"\b20\d\d-", "2020-", path.read_text()))
        with asking(prefect_server.start(folder)) as client:
            deadline = time.monotonic() + 30
            while client.read_global_concurrency_limit_by_name("few").active_slots:
                assert time.monotonic() < deadline
                time.sleep(0.2)

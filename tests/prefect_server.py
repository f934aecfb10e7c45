"""A real Prefect server for tests, with workers: one for all tests of a process, in a folder of its own.

Import both fixtures in a `conftest.py`: `from prefect_server import own_server, prefect_server`. Each test makes pools
and homes of its own names, since the server is shared.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hpcretrain.adapters.prefect_server import PrefectServer, start, stop

SRC = Path(__file__).parents[1] / "src"

FLUSHES_S = 2.0
"""How often the server writes down the events that it took: more often, and the requests that it refuses meanwhile,
each of which the client repeats after 2 s, cost more than what waits for events."""

FAST = {
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": str(FLUSHES_S),
    # How often the server looks at what is scheduled, late, or paused for too long.
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "2",
}


@contextmanager
def told(**environment: str) -> Iterator[None]:
    """This process's environment, for a while."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def one_server(folder: Path) -> Iterator[PrefectServer]:
    """A server, up while the block runs."""
    try:
        with told(**FAST):
            server = start(folder)
        yield server
    finally:
        stop(folder)


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """The server itself, up; its processes' environment is `surroundings(server)`."""
    with one_server(tmp_path_factory.mktemp("prefect-server") / "server") as server:
        yield server


@pytest.fixture
def prefect_server(own_server: PrefectServer) -> Iterator[PrefectServer]:
    """The server, up, and the one that Prefect in this process and its children talks to while the test runs."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_HOME, temporary_settings

    password = (own_server.folder / "password").read_text().strip()
    with (
        told(**own_server.environment()),
        temporary_settings(
            {
                PREFECT_HOME: own_server.folder,
                PREFECT_API_URL: own_server.url,
                PREFECT_API_AUTH_STRING: password,
            }
        ),
    ):
        yield own_server


@contextmanager
def worker(server: PrefectServer, pool: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process of a pool, while the block runs; ended by its number, with what it started."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**surroundings(server), "PREFECT_WORKER_QUERY_SECONDS": "1", **environment},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        end(process)


def surroundings(server: PrefectServer) -> dict[str, str]:
    """The environment of a process that talks to the server and imports the code that is tested."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return {**kept, **server.environment(), "PYTHONPATH": os.pathsep.join((str(SRC), str(SRC.parent / "tests")))}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session, and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=10)

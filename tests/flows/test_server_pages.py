"""The pages of the servers that we start, in a real Chromium at the other end of a tunnel."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hpcretrain.adapters import mlflow_server
from hpcretrain.adapters.home import Home
from hpcretrain.adapters.prefect_server import PrefectServer

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH: apt-get install chromium")

# A container may have no sandbox to give.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]


def pass_on(source: socket.socket, target: socket.socket) -> None:
    """What comes from one end goes to the other."""
    with suppress(OSError):
        while part := source.recv(65536):
            target.sendall(part)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def tunnel(port: int) -> Iterator[int]:
    """A port that leads to another one, as `ssh -L` makes it."""

    def accept() -> None:
        with suppress(OSError):
            while True:
                here, _ = listening.accept()
                there = socket.create_connection(("127.0.0.1", port))
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=pass_on, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]


@pytest.fixture
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_the_dashboard_opens_through_a_tunnel(own_server: PrefectServer, browser: Any, name: str) -> None:
    with tunnel(own_server.port) as port:
        page = browser.new_page()
        page.goto(f"http://{name}:{port}/")
        page.locator("input").fill((own_server.folder / "password").read_text().strip())
        page.keyboard.press("Enter")
        with page.expect_response(f"http://{name}:{port}/api/automations/filter") as answer:
            page.get_by_role("link", name="Automations").first.click()
        assert answer.value.ok
        assert isinstance(answer.value.json(), list)


def test_mlflow_opens_through_a_tunnel(tmp_path: Path, browser: Any) -> None:
    with Home.open(tmp_path / "home", {"model": "orders"}) as home:
        home.mlflow.mkdir(exist_ok=True)
    try:
        server = mlflow_server.start(home.path)
        user, _, password = (server.folder / "password").read_text().strip().partition(":")
        with tunnel(server.port) as port:
            page = browser.new_context(http_credentials={"username": user, "password": password}).new_page()
            failed: list[str] = []
            page.on("response", lambda answer: failed.append(answer.url) if not answer.ok else None)
            page.goto(f"http://localhost:{port}/#/experiments")
            page.get_by_text("Default").first.wait_for()
            assert failed == []
    finally:
        mlflow_server.stop(home.path)

"""The Prefect server that we start, on a machine that others use too."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from prefect_server import surroundings

from hpcretrain.adapters.prefect_server import PrefectServer, find, start, stop
from hpcretrain.errors import InputError


def test_it_answers_only_to_who_knows_the_password(prefect_server: PrefectServer) -> None:
    request = urllib.request.Request(f"{prefect_server.url}/flows/filter", b"{}", {"content-type": "application/json"})
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(request)
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        assert isinstance(client.read_flows(), list)


def test_it_listens_on_loopback_alone(prefect_server: PrefectServer) -> None:
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    places = {
        fields[1] for fields in listening if fields[3] == "0A" and fields[1].endswith(f":{prefect_server.port:04X}")
    }
    assert places == {f"0100007F:{prefect_server.port:04X}"}
    six = [line.split()[1] for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    assert not [place for place in six if place.endswith(f":{prefect_server.port:04X}")]


def test_nobody_else_can_read_its_files_or_see_the_password_on_a_command_line(prefect_server: PrefectServer) -> None:
    assert stat.S_IMODE(prefect_server.folder.stat().st_mode) == 0o700
    files = [path for path in prefect_server.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"prefect.db", "password", "profiles.toml", "server.json", "server.log"}
    assert [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
    password = (prefect_server.folder / "password").read_text().strip()
    assert len(password) > 40
    assert password.encode() not in Path(f"/proc/{prefect_server.pid}/cmdline").read_bytes()
    assert password not in (prefect_server.folder / "server.log").read_text()


def test_a_process_needs_to_know_only_the_folder(prefect_server: PrefectServer) -> None:
    command = [sys.executable, "-m", "prefect", "work-pool", "ls"]
    done = subprocess.run(command, env=surroundings(prefect_server), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_second_start_finds_the_first(prefect_server: PrefectServer) -> None:
    assert start(prefect_server.folder) == prefect_server


def test_it_stops_and_comes_back_where_it_was_with_what_it_knew(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    first = start(folder)
    try:
        password = (folder / "password").read_text()
        assert stop(folder)
        assert not first.alive
        assert not stop(folder)
        second = start(folder)
        assert (second.port, (folder / "password").read_text()) == (first.port, password)
        assert second.pid != first.pid
        assert find(folder) == second
    finally:
        stop(folder)


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="is taken by another process"):
            start(tmp_path / "server", port=taken.getsockname()[1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a folder that is somebody else's")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(InputError, match="is not a folder of yours"):
        start(folder)
    assert list(folder.iterdir()) == []


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "server").symlink_to(tmp_path / "else")
    with pytest.raises(InputError, match="is not a folder of yours"):
        start(tmp_path / "server")

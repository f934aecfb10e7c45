"""A server of one's own on a machine that others use too: on loopback, behind a password, in a closed folder.

The password stands in files that only their owner reads; never on a command line, which everybody on the machine can
read. A port of loopback is open to all users, so whoever answers there is trusted only if it is this user's process.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcretrain.adapters.home import write_whole
from hpcretrain.errors import HpcretrainError, InputError

LOOPBACK = "127.0.0.1"
USER = "hpcretrain"
PASSWORD, LOG, _STATE = "password", "server.log", "server.json"
"""The line in the first is `user:password`, as pages and clients want it."""

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class OwnServer:
    """A server that was started in a folder, whether it still runs or not.

    Attributes:
        folder: Its files.
        port: Where it listens on loopback.
        pid: Its process.
        started: When that process started, in the kernel's ticks: another process may get the same number later.
    """

    folder: Path
    port: int
    pid: int
    started: int

    @property
    def page(self) -> str:
        """The address of its pages."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether the process that was started is still there."""
        return _started(self.pid) == self.started


def close(folder: Path) -> None:
    """Make a folder, and let nobody but its owner in.

    Raises:
        InputError: It cannot be made, or belongs to somebody else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = folder.lstat()
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
            raise InputError(f"{folder} is not a folder of yours; name another one")
        folder.chmod(0o700)
    except OSError as error:
        raise InputError(f"{folder} cannot be used: {error.strerror or error}; name another folder") from error


def password(folder: Path) -> str:
    """`user:password` of a folder's server; made once."""
    path = folder / PASSWORD
    if not path.exists():
        write_whole(path, f"{USER}:{secrets.token_urlsafe(32)}\n", 0o600)
    path.chmod(0o600)
    return path.read_text(encoding="utf-8").strip()


def choose_port(folder: Path, port: int | None) -> int:
    """The port that is asked for; or where the last server of this folder listened; or a free one.

    Raises:
        InputError: The one that is asked for is taken.
    """
    last = find(folder)
    chosen = port or (last.port if last is not None and _free(last.port) else _any_port())
    if not _free(chosen):
        raise InputError(f"port {chosen} of {LOOPBACK} is taken by another process; name another one")
    return chosen


def launch(
    folder: Path, port: int, command: Sequence[str], environment: Mapping[str, str], health: str, within_s: float
) -> OwnServer:
    """Start a server and wait until it answers.

    Args:
        folder: Its own, closed; its working folder.
        port: Where it will listen.
        command: What to start.
        environment: All of its environment.
        health: The path that it answers once it is up.
        within_s: How long that may take, in seconds.

    Raises:
        HpcretrainError: It did not come up.
    """
    with open(os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=dict(environment),
            umask=0o077,
            start_new_session=True,
        )
    server = OwnServer(folder, port, process.pid, _started(process.pid) or 0)
    write_whole(folder / _STATE, json.dumps({"port": port, "pid": server.pid, "started": server.started}), 0o600)
    _await(server, process, health, within_s)
    return server


def find(folder: Path) -> OwnServer | None:
    """The server that was last started in a folder; None where none was."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return OwnServer(folder, int(state["port"]), int(state["pid"]), int(state["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stop(folder: Path, within_s: float = 20.0) -> bool:
    """Stop the server of a folder, and wait until it ended; its files stay. Whether one ran."""
    server = find(folder)
    if server is None or not server.alive:
        return False
    deadline = time.monotonic() + within_s
    # It leads a session of its own, with whatever it started.
    os.killpg(server.pid, signal.SIGTERM)
    while server.alive:
        if time.monotonic() > deadline:
            os.killpg(server.pid, signal.SIGKILL)
        _reap(server.pid)
        time.sleep(0.05)
    return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections of the last server that linger do not keep the next one from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _started(pid: int) -> int | None:
    """When a process started, in ticks since the machine did; None where there is none that still runs."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _await(server: OwnServer, process: subprocess.Popen[bytes], health: str, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not _answers(server, health):
        gone = process.poll() is not None
        if gone or time.monotonic() > deadline:
            process.kill()
            process.wait()
            how = f"ended with code {process.returncode}" if gone else f"did not answer within {within_s:g} s"
            raise HpcretrainError(f"the server {how}; {server.folder / LOG} says why")
        time.sleep(0.1)
    if not _ours(server.port):
        stop(server.folder)
        raise HpcretrainError(f"port {server.port} is held by another user's process, which got it first; try again")


def _answers(server: OwnServer, health: str) -> bool:
    try:
        with urllib.request.urlopen(f"{server.page}{health}", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _ours(port: int) -> bool:
    """Whether the one who listens on a port of loopback is this user: the password is sent to whoever does."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        # Listening (0A) at 127.0.0.1, which the kernel writes backward.
        if fields[1] == f"0100007F:{port:04X}" and fields[3] == "0A":
            return int(fields[7]) == os.geteuid()
    return False

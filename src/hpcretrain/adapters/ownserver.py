"""A server of one's own on a machine that others use too: on loopback, behind a password, in a closed folder.

The password stands in files that only their owner reads; never on a command line, which everybody on the machine can
read. A port of loopback is open to all users, so whoever answers there is trusted only if it is this user's process.
What a server started is known by the folder in its environment, so that the end of one process hides none of the rest.
"""

from __future__ import annotations

import fcntl
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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hpcretrain.adapters.home import write_whole
from hpcretrain.adapters.loopback import LOOPBACK, any_port, beside_proxies, free, holders
from hpcretrain.errors import HpcretrainError, InputError

USER = "hpcretrain"
PASSWORD, LOG, _STATE, _LOCK = "password", "server.log", "server.json", "server.lock"
"""The line in the first is `user:password`, as pages and clients want it."""

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Where no server is named Prefect starts one without a password.
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
}
_MARK = "HPCRETRAIN_SERVER"


@dataclass(frozen=True)
class OwnServer:
    """A server that was started in a folder, whether it still runs or not.

    Attributes:
        folder: Its files.
        port: Where it listens on loopback.
        host: The machine where it was started; empty once it was stopped.
        pid: The process that was started; 0 if nothing of it is left here.
    """

    folder: Path
    port: int
    host: str
    pid: int

    @property
    def page(self) -> str:
        """The address of its pages."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether any process of it is here."""
        return bool(_processes(self.folder))


@contextmanager
def alone(folder: Path) -> Iterator[Path]:
    """A server's folder with its links followed, made if need be, while no other process starts or stops the server.

    Raises:
        InputError: It cannot be used, is a link, or belongs to somebody else; or its server is on another machine.
    """
    close(folder)
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise InputError(f"{folder} cannot be used: {error.strerror or error}; name another folder") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = folder.resolve()
        server = find(place)
        if server is not None and server.host not in ("", socket.gethostname()):
            raise InputError(_elsewhere(server))
        yield place
    finally:
        os.close(lock)


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
    chosen = port or (last.port if last is not None and free(last.port) else any_port())
    if not free(chosen):
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
    # Before it begins: whatever comes between, what was started is found.
    _write(folder, port, socket.gethostname())
    with open(os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**environment, **beside_proxies(environment), _MARK: str(folder)},
            umask=0o077,
            start_new_session=True,
        )
    # Its environment is shown a moment after it began.
    while process.poll() is None and not _processes(folder):
        time.sleep(0.001)
    server = OwnServer(folder, port, socket.gethostname(), process.pid)
    try:
        wait(server, health, within_s)
    except HpcretrainError:
        _end(folder)
        raise
    return server


def wait(server: OwnServer, health: str, within_s: float) -> None:
    """Wait until a server answers.

    Raises:
        HpcretrainError: It does not, or another user answers in its place.
    """
    deadline = time.monotonic() + within_s
    while not _answers(server, health):
        gone = not server.alive
        if gone or time.monotonic() > deadline:
            how = "ended" if gone else f"did not answer within {within_s:g} s"
            raise HpcretrainError(f"the server {how}; {server.folder / LOG} says why")
        time.sleep(0.1)
    if holders(server.port) != {os.geteuid()}:
        raise HpcretrainError(f"port {server.port} is held by another user's process, which got it first; try again")


def find(folder: Path) -> OwnServer | None:
    """The server that was last started in a folder; None where none was."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return OwnServer(folder, int(state["port"]), str(state["host"]), next(iter(_processes(folder).values()), 0))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check(server: OwnServer) -> None:
    """Make sure that nobody but its user would be sent its password; that it is up is not made sure.

    Raises:
        InputError: It is on another machine, or another user's process holds its port.
    """
    users = holders(server.port)
    if users == {os.geteuid()}:
        return
    if server.host not in ("", socket.gethostname()):
        raise InputError(_elsewhere(server))
    if users:
        raise InputError(
            f"port {server.port} of {LOOPBACK} is held by another user's process, not by the server of "
            f"{server.folder}: nothing was sent to it; start the server with another --port"
        )


def stop(folder: Path, within_s: float = 20.0) -> bool:
    """Stop the server of a folder, and wait until it ended; its files stay. Whether one ran.

    Raises:
        InputError: It is on another machine, or the folder is a link or somebody else's.
    """
    if find(folder) is None:
        return False
    with alone(folder) as place:
        server = find(place)
        ran = _end(place, within_s)
        if server is not None:
            _write(place, server.port, "")
        return ran


def _write(folder: Path, port: int, host: str) -> None:
    write_whole(folder / _STATE, json.dumps({"port": port, "host": host}), 0o600)


def _elsewhere(server: OwnServer) -> str:
    return (
        f"the server of {server.folder} was started on {server.host}, and this is {socket.gethostname()}: use it and "
        "stop it there, and have a folder on a local disk for each machine. If that machine is gone for good, remove "
        f"{server.folder / _STATE}"
    )


def _processes(folder: Path) -> dict[int, int]:
    """What runs of the server of a folder, each process with its session, which is the one that was started."""
    mark, found = os.fsencode(f"{_MARK}={folder.resolve()}"), {}
    owner = folder.stat().st_uid
    for process in Path("/proc").glob("[0-9]*"):
        # It may end meanwhile, or be somebody else's. What has ended and is not buried has no environment.
        with suppress(OSError):
            if process.stat().st_uid == owner and mark in (process / "environ").read_bytes().split(b"\0"):
                found[int(process.name)] = os.getsid(int(process.name))
    return found


def _end(folder: Path, within_s: float = 20.0) -> bool:
    """End all that runs of a folder's server; whether anything did."""
    deadline, told, nothing = time.monotonic() + within_s, set[int](), 0
    # Twice, since what just began shows its environment a moment later.
    while nothing < 2:
        processes = set(_processes(folder))
        nothing = 0 if processes else nothing + 1
        late = time.monotonic() > deadline
        for process in processes if late else processes - told:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL if late else signal.SIGTERM)
        told |= processes
        time.sleep(0.05)
    return bool(told)


def _answers(server: OwnServer, health: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{server.page}{health}", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False

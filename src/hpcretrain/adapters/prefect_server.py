"""A Prefect server of one's own on a machine that others use too: on loopback, behind a password, in a closed folder.

The password stands in two files that only their owner reads, and in the environment of the server's process; never on a
command line, which everybody on the machine can read.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from hpcretrain.adapters.home import write_whole
from hpcretrain.errors import InputError, PrefectError

LOOPBACK = "127.0.0.1"
PROFILE, PASSWORD, LOG, _STATE = "profiles.toml", "password", "server.log", "server.json"
_USER = "hpcretrain"

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class PrefectServer:
    """A server that was started in a folder, whether it still runs or not.

    Attributes:
        folder: Its files, and the `PREFECT_HOME` of those who talk to it.
        port: Where it listens on loopback.
        pid: Its process.
        started: When that process started, in the kernel's ticks: another process may get the same number later.
    """

    folder: Path
    port: int
    pid: int
    started: int

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"http://{LOOPBACK}:{self.port}/api"

    @property
    def page(self) -> str:
        """The address of its pages; they ask for the line in the file `password`."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether the process that was started is still there."""
        return _started(self.pid) == self.started

    def environment(self) -> dict[str, str]:
        """What a process of the same user has to have in its environment to talk to it."""
        return {**QUIET, "PREFECT_HOME": str(self.folder)}


def start(folder: Path, port: int | None = None, within_s: float = 90.0) -> PrefectServer:
    """Start a server, unless one runs there.

    Args:
        folder: For its files; made with mode 0700. A server that runs there already is left as it is.
        port: Where to listen. Default: where the last one in this folder did, else a free one.
        within_s: How long it may take to come up, in seconds.

    Raises:
        InputError: The folder belongs to somebody else, or the port is taken.
        PrefectError: It did not come up.
    """
    _close(folder)
    last = find(folder)
    if last is not None and last.alive:
        return last
    chosen = port or (last.port if last is not None and _free(last.port) else _any_port())
    if not _free(chosen):
        raise InputError(f"port {chosen} of {LOOPBACK} is taken by another process; name another one")
    password = _password(folder)
    page = f"http://{LOOPBACK}:{chosen}"
    write_whole(folder / PROFILE, _profile(f"{page}/api", password), 0o600)
    settings = {
        **QUIET,
        "PREFECT_HOME": str(folder),
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_SERVER_API_HOST": LOOPBACK,
        "PREFECT_SERVER_API_PORT": str(chosen),
        # A page that the user's browser got elsewhere has no business here.
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": page,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    # What is tuned by environment (an interval, a service) is the user's wish; where and behind what it listens is not.
    tuned = {name: value for name, value in os.environ.items() if name.startswith("PREFECT_SERVER_")}
    with open(os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**inherited, **tuned, **settings},
            umask=0o077,
            start_new_session=True,
        )
    server = PrefectServer(folder, chosen, process.pid, _started(process.pid) or 0)
    write_whole(folder / _STATE, json.dumps({"port": chosen, "pid": server.pid, "started": server.started}), 0o600)
    _await(server, process, within_s)
    return server


def find(folder: Path) -> PrefectServer | None:
    """The server that was last started in a folder; None where none was."""
    try:
        state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        return PrefectServer(folder, int(state["port"]), int(state["pid"]), int(state["started"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def stop(folder: Path, within_s: float = 20.0) -> bool:
    """Stop the server of a folder, and wait until it ended; its files stay. Whether one ran."""
    server = find(folder)
    if server is None or not server.alive:
        return False
    deadline = time.monotonic() + within_s
    os.kill(server.pid, signal.SIGTERM)
    while server.alive:
        if time.monotonic() > deadline:
            os.kill(server.pid, signal.SIGKILL)
        _reap(server.pid)
        time.sleep(0.05)
    return True


def _close(folder: Path) -> None:
    """Make the folder its owner's alone."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = folder.lstat()
        if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.geteuid():
            raise InputError(f"{folder} is not a folder of yours; name another one")
        folder.chmod(0o700)
    except OSError as error:
        raise InputError(f"{folder} cannot be used: {error.strerror or error}; name another folder") from error


def _password(folder: Path) -> str:
    """`user:password`, as Prefect's clients and pages want it; made once."""
    path = folder / PASSWORD
    if not path.exists():
        write_whole(path, f"{_USER}:{secrets.token_urlsafe(32)}\n", 0o600)
    path.chmod(0o600)
    return path.read_text(encoding="utf-8").strip()


def _profile(url: str, password: str) -> str:
    return (
        'active = "hpcretrain"\n\n[profiles.hpcretrain]\n'
        f"PREFECT_API_URL = {json.dumps(url)}\nPREFECT_API_AUTH_STRING = {json.dumps(password)}\n"
    )


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


def _await(server: PrefectServer, process: subprocess.Popen[bytes], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not _answers(server):
        gone = process.poll() is not None
        if gone or time.monotonic() > deadline:
            process.kill()
            process.wait()
            how = f"ended with code {process.returncode}" if gone else f"did not answer within {within_s:g} s"
            raise PrefectError(f"the Prefect server {how}; {server.folder / LOG} says why", again=False)
        time.sleep(0.1)
    if not _ours(server.port):
        stop(server.folder)
        raise PrefectError(f"port {server.port} is held by another user's process, which got it first", again=True)


def _answers(server: PrefectServer) -> bool:
    try:
        with urllib.request.urlopen(f"{server.url}/health", timeout=5) as answer:
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

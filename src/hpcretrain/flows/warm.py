"""A process that has imported what flows need, and forks one process for each run: imports take seconds otherwise.

    python -m hpcretrain.flows.warm SOCKET

`begin.py` asks for a run and stands for it. This process runs nothing itself, starts no threads, and ends with the
worker that started it; what it forked ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_MODULES = (
    *(
        f"hpcretrain.flows.{kind}"
        for kind in ("observe", "triage", "retrain", "release", "watch", "reconcile", "review")
    ),
    "prefect.flow_engine",
    "prefect.concurrency.sync",
    "prefect._internal.metrics",
    "pandas",
    "pyarrow.parquet",
    "hpcretrain.desks",
    "hpcretrain.livehome",
)


@dataclass
class Run:
    """A run that was asked for: the connection to who stands for it, and its process."""

    connection: socket.socket
    pid: int


class Forked(Exception):
    """Raised in the fork, where the run begins."""


def serve(path: Path) -> None:
    """Fork for whoever asks, until the parent ends.

    Raises:
        Forked: In each fork; standard output, environment and folder are those of who asked.
    """
    runs: dict[int, Run] = {}
    selector = selectors.DefaultSelector()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(64)
    selector.register(listening, selectors.EVENT_READ)
    ended, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Ctrl-C reaches all of a terminal's processes; the worker ends its runs, and then this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    selector.register(ended, selectors.EVENT_READ)
    while True:
        ready = [key for key, _ in selector.select()]
        for key in ready:
            if key.fileobj is listening:
                _begin(listening, ended, told, runs, selector)
            elif key.fileobj != ended:
                _pass_on(key.data, selector)
        # Last, so that no connection is closed that is still to be read.
        if any(key.fileobj == ended for key in ready):
            os.read(ended, 4096)
            _bury(runs, selector)


def _begin(
    listening: socket.socket, ended: int, told: int, runs: dict[int, Run], selector: selectors.BaseSelector
) -> None:
    """Fork for who asks next."""
    connection, _ = listening.accept()
    asked = _receive(connection)
    if asked is None:
        connection.close()
        return
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        selector.close()
        for other in (listening, connection, *(run.connection for run in runs.values())):
            other.close()
        os.close(ended)
        os.close(told)
        _become(*asked)
        raise Forked
    for number in asked[1]:
        os.close(number)
    runs[pid] = Run(connection, pid)
    selector.register(connection, selectors.EVENT_READ, runs[pid])


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """What is asked, and the three files that come with it; None if who asked has gone."""
    try:
        length, numbers, _, _ = socket.recv_fds(connection, 4, 3)
        wanted, got = int.from_bytes(length, "big"), b""
        while len(got) < wanted:
            part = connection.recv(wanted - len(got))
            if not part:
                return None
            got += part
    except OSError:
        return None
    return (json.loads(got), numbers) if len(numbers) == 3 else None


def _become(asked: dict[str, Any], numbers: list[int]) -> None:
    """Take over outputs, environment and folder of who asked."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for place, output in enumerate(numbers):
        os.dup2(output, place)
        os.close(output)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])


def _pass_on(run: Run, selector: selectors.BaseSelector) -> None:
    """Pass on a signal; whoever stands for the run having been killed, the run is too."""
    try:
        sent = run.connection.recv(1)
    except OSError:
        sent = b""
    if sent:
        os.kill(run.pid, sent[0])
    else:
        selector.unregister(run.connection)
        os.kill(run.pid, signal.SIGKILL)


def _bury(runs: dict[int, Run], selector: selectors.BaseSelector) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        run = runs.pop(pid)
        if run.connection in {key.fileobj for key in selector.get_map().values()}:
            selector.unregister(run.connection)
        with contextlib.suppress(OSError):
            run.connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
        run.connection.close()


def main(path: Path, prepare: Callable[[], None]) -> None:
    """Import, serve; and in each fork run Prefect's engine."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    prepare()
    try:
        serve(path)
    except Forked:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
        sys.argv = ["prefect.engine"]
        # Others have imported it as a module; now it is the program.
        sys.modules.pop("prefect.engine", None)
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def _import() -> None:
    import importlib

    for name in _MODULES:
        importlib.import_module(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), _import)

"""Begin a flow's run in a fork of a process that has all imported already; a program of its own.

    python -S -E begin.py SOCKET

It stands for the run in the eyes of Prefect's worker: it lends it its output, environment and folder, passes signals
on, and ends as it ended. Only the standard library is used, and little of it, so that it starts in a few hundredths of
a second. Where nobody listens at the socket, the run begins as any other does.
"""

from __future__ import annotations

import array
import json
import os
import signal
import socket
import sys


def main() -> int:
    """Begin the run, and wait for its end; its exit code."""
    warm = socket.socket(socket.AF_UNIX)
    try:
        warm.connect(sys.argv[1])
    except OSError:
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])
    # A signal that comes before the run is there waits for it in the socket.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: _pass_on(warm, received))
    asked = json.dumps({"environment": dict(os.environ), "folder": os.getcwd()}).encode()
    outputs = array.array("i", [0, 1, 2])
    warm.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, outputs)])
    warm.sendall(asked)
    answer = warm.recv(4, socket.MSG_WAITALL)
    # Nothing: the process that forks was killed, and what it forked with it.
    code = int.from_bytes(answer, "big", signed=True) if answer else -signal.SIGKILL
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    return code


def _pass_on(warm: socket.socket, received: int) -> None:
    try:
        warm.send(bytes([received]))
    except OSError:
        # The run has ended, and how is about to be read.
        return


if __name__ == "__main__":
    sys.exit(main())

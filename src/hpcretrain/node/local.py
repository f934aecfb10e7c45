"""Training jobs in processes on the controller's own machine, where a lock says whether one is at work.

The lock is kept by the system for as long as the process lives, so it tells the truth after any crash; but only on a
local disk.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hpcretrain.node.durable import make
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.signals import SIGNALS, noticed
from hpcretrain.node.train import bring_in, run

LOCK_PATIENCE_S = 5.0
_LOCK_POLL_S = 0.02
_PASSED_ON = (*SIGNALS, signal.SIGINT)


@contextmanager
def alone(job_dir: Path, patience_s: float) -> Iterator[bool]:
    """Hold the job's lock while inside; False if another process still had it after `patience_s` seconds."""
    with open(os.open(job_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)) as file:
        yield _locked(file.fileno(), patience_s)


def run_each(tasks: Sequence[tuple[str, int]]) -> None:
    """Do jobs one after the other, but for those that another process is at; until one leaves no result behind.

    Each of several is done in a fork of this process, which has imported what they need: that takes a second. So none
    sees what another left in memory. All are locked from the beginning, so that whoever comes waits for their turn.

    Args:
        tasks: Folders of jobs, and the number of the attempt at each, from 1.
    """
    with ExitStack() as locks:
        mine = [each for each in tasks if _taken(locks, *each)]
        if len(mine) == 1:
            _live(*mine[0])
        elif mine:
            bring_in(JobFolder(Path(mine[0][0])).spec().recipe)
            for job_dir, attempt in mine:
                if not _forked(job_dir, attempt) or JobFolder(Path(job_dir)).result() is None:
                    return


def _taken(locks: ExitStack, job_dir: str, attempt: int) -> bool:
    mine = locks.enter_context(alone(Path(job_dir), LOCK_PATIENCE_S))
    if not mine:
        print(f"attempt {attempt}: another attempt is at work; leaving it to that", flush=True)
    return mine


def _live(job_dir: str, attempt: int) -> None:
    with noticed() as interruption:
        run(job_dir, attempt, interruption=interruption)


def _forked(job_dir: str, attempt: int) -> bool:
    """Do a job in a fork, and pass signals on to it; whether none came."""
    sys.stdout.flush()
    sys.stderr.flush()
    # No signal may come to the fork before it has handlers of its own, nor to this process before it knows the fork.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child == 0:
        _be_the_fork(job_dir, attempt)
    came: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        came.append(number)
        with suppress(ProcessLookupError):
            os.kill(child, number)

    before = {number: signal.signal(number, pass_on) for number in _PASSED_ON}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    try:
        os.waitpid(child, 0)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return not came


def _be_the_fork(job_dir: str, attempt: int) -> NoReturn:
    code = 1
    try:
        for number in _PASSED_ON:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        logs = Path(job_dir) / "submitit" / str(attempt)
        make(logs)
        for descriptor, name in ((1, "out"), (2, "err")):
            log = os.open(logs / f"{os.getpid()}_0_log.{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, descriptor)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _live(job_dir, attempt)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _locked(descriptor: int, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_POLL_S)
        else:
            return True

"""A training job in a process on the controller's own machine, where a lock says whether one is at work.

The lock is kept by the system for as long as the process lives, so it tells the truth after any crash; but only on a
local disk.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcretrain.node.signals import noticed
from hpcretrain.node.train import run

LOCK_PATIENCE_S = 5.0
_LOCK_POLL_S = 0.02


@contextmanager
def alone(job_dir: Path, patience_s: float) -> Iterator[bool]:
    """Hold the job's lock while inside; False if another process still had it after `patience_s` seconds."""
    with open(os.open(job_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)) as file:
        yield _locked(file.fileno(), patience_s)


def run_alone(job_dir: str, attempt: int) -> None:
    """Do the job in the folder `job_dir`, unless another process is at it.

    Args:
        job_dir: The job's folder.
        attempt: Number of this attempt, from 1.
    """
    with alone(Path(job_dir), LOCK_PATIENCE_S) as mine:
        if not mine:
            print(f"attempt {attempt}: another attempt is at work; leaving it to that", flush=True)
            return
        with noticed() as interruption:
            run(job_dir, attempt, interruption=interruption)


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

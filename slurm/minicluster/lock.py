"""One at a time changes a cluster."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minicluster.errors import Refused


@contextmanager
def locked(state: Path, *, make: bool = False) -> Iterator[None]:
    """Hold a state folder. The lock is on the folder itself, so it leaves no file and ends with the process.

    Args:
        state: The folder.
        make: Whether to make it where it is not there.

    Raises:
        Refused: It is not there.
    """
    # Slurm's users look into what is made meanwhile, however closed the files of this shell's user are.
    before = os.umask(0o022)
    try:
        with _held(state, make):
            yield
    finally:
        os.umask(before)


@contextmanager
def _held(state: Path, make: bool) -> Iterator[None]:
    while True:
        if make:
            # Another cluster's end may remove the folder above just now.
            with suppress(FileNotFoundError, FileExistsError):
                state.mkdir(mode=0o755, parents=True)
        try:
            descriptor = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if make:
                continue
            raise Refused(f"no cluster at {state}: bring it up first") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _still(state, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _still(state: Path, descriptor: int) -> bool:
    """Whether the folder that is held was not removed, or even made again, while this waited."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(state))
    except FileNotFoundError:
        return False

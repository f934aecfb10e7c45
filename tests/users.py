"""Other users of this machine, as which root can do things in tests."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can be several users")


def as_user(uid: int, do: Callable[[], Any], group: int | None = None) -> Any:
    """What a function gives, or raises, in a process of another user."""
    theirs, ours = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(uid if group is None else group)
            os.setuid(uid)
            try:
                came = (do(), None)
            except Exception as error:
                came = (None, error)
            with open(ours, "wb") as pipe:
                pickle.dump(came, pipe)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(ours)
    with open(theirs, "rb") as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    result, error = pickle.loads(text)
    if error is not None:
        raise error
    return result


@contextmanager
def shared_folder(mode: int = 0o755) -> Iterator[Path]:
    """A folder that other users reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="hpcretrain-test-"))
    folder.chmod(mode)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)

"""Files and folders that are there whole or not at all, whenever the writer is killed or the disk is full.

Each is written beside its place, brought to the disk, and renamed; only its owner can read it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hpcretrain.errors import SpoolError


def sync(path: Path) -> None:
    """Have a file, or a folder's list of names, written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Have a folder and all that is in it written to the disk."""
    for path in [*folder.rglob("*"), folder]:
        sync(path)


def make(path: Path) -> None:
    """Make a folder, and those above it, unless it is there."""
    # One by one: `parents=True` would let others look into those above.
    if not path.parent.exists():
        make(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def touch(path: Path) -> None:
    """Make an empty file, unless it is there."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    sync(path.parent)


def write(path: Path, text: str) -> None:
    """Write a small file.

    Raises:
        OSError: It cannot be written; what was there is there still.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a small JSON object.

    Raises:
        OSError: It cannot be written; what was there is there still.
    """
    write(path, json.dumps(content, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None if there is no such file.

    Raises:
        SpoolError: It cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise SpoolError(
            f"{path} cannot be read: {error}; the job's folder can be removed, and the job begins anew"
        ) from error
    if not isinstance(content, dict):
        raise SpoolError(f"{path} holds no JSON object; the job's folder can be removed, and the job begins anew")
    return content


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """An empty folder, which becomes `target` if all goes well inside. Whoever fills it brings that to the disk."""
    part = target.with_name(f".{target.name}.part")
    remove(part)
    part.mkdir(mode=0o700)
    try:
        yield part
        remove(target)
        part.rename(target)
    except BaseException:
        # Room, perhaps just enough to say why this failed.
        shutil.rmtree(part, ignore_errors=True)
        raise
    sync(target.parent)


def remove(path: Path) -> None:
    """Remove a folder, if it is there, so that nobody takes one that is half removed for a whole one."""
    if path.exists():
        doomed = path.with_name(f".{path.name}.doomed.part")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)

"""Folders of this user, and the types of the file systems that they are on."""

from __future__ import annotations

import os
from pathlib import Path

_VARIABLES = ("SCRATCH", "WORK", "PROJECT", "HOME")


def candidates() -> list[tuple[Path, str]]:
    """Folders in which files for nodes might lie, the likeliest first, each with the type of its file system or ""."""
    folders = [Path(os.environ[name]) for name in _VARIABLES if os.environ.get(name)]
    there = [path for path in folders if path.is_absolute() and path.is_dir()]
    return [(path, file_system(path)) for path in there or [Path.home()]]


def file_system(path: Path) -> str:
    """The type of the file system that a folder is on, as the kernel names it ("nfs4", "lustre"); "" if not known."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found: dict[Path, str] = {}
    for line in lines:
        # "36 35 98:0 ROOT POINT options - type source options"; blanks are written as \040.
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")
        found[Path(point)] = after.split()[0]
    place = path.resolve()
    return next((found[parent] for parent in (place, *place.parents) if parent in found), "")

"""Where and on what something is measured, without naming the machine."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path


def describe(root: Path) -> dict[str, str]:
    """Commit, machine and Python."""
    return {"commit": commit(root), "machine": machine(), "python": platform.python_version()}


def commit(root: Path) -> str:
    """The commit that is checked out, with a word if files differ from it; "unknown" outside version control."""
    if not (shutil.which("git") and (root / ".git").exists()):
        return "unknown"
    # git refuses to look at the clone of another user, unless told so.
    git = ["git", "-c", f"safe.directory={root}", "-C", str(root)]
    head, changes = (
        subprocess.run([*git, *what], check=True, capture_output=True, text=True).stdout.strip()
        for what in (["rev-parse", "HEAD"], ["status", "--porcelain"])
    )
    return f"{head} with changes" if changes else head


def machine() -> str:
    """Processors, memory and system."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    count = len(os.sched_getaffinity(0))
    return f"{count} CPUs, {_processor()}, {memory:.0f} GiB, {_system()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.system()

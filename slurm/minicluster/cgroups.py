"""What Slurm leaves in the hierarchies of cgroup v1 when its daemons are killed."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")


def remove(nodes: list[str], user: int) -> None:
    """Remove the groups of a user's jobs, and those of nodes where nothing else is left.

    Another cluster's nodes have the same names, but its user is another.
    """
    for node in nodes:
        for group in MOUNT.glob(f"*/slurm_{node}"):
            jobs = group / f"uid_{user}"
            below = sorted((path for path in jobs.rglob("*") if path.is_dir()), reverse=True)
            for folder in (*below, jobs, group / "system", group):
                with suppress(OSError):
                    folder.rmdir()

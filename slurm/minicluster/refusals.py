"""Why a cluster must not come up here, found before anything is changed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from minicluster.errors import Refused
from minicluster.places import Places
from minicluster.processes import PROC
from minicluster.programs import debian, missing
from minicluster.settings import Settings

SITES = (Path("/etc/slurm/slurm.conf"), Path("/etc/slurm-llnl/slurm.conf"))
CONTROLLERS = ("memory", "freezer", "cpuset", "cpuacct", "devices")


def check(settings: Settings, places: Places) -> None:
    """Look at user, packages, other Slurms, the state folder and, where asked for, cgroups.

    Raises:
        Refused: Something is in the way; the message says what would mend it.
    """
    check_machine()
    check_folder(places)
    if settings.cgroups and (reason := no_cgroups()):
        raise Refused(reason)


def check_machine() -> None:
    """Look at what has nothing to do with one cluster's settings.

    Raises:
        Refused: As in `check`.
    """
    if os.geteuid() != 0:
        raise Refused("a cluster is brought up by root: its daemons start jobs as another user")
    if packages := missing():
        where = "As root" if debian() else "On Debian, as root"
        raise Refused(f"Slurm's programs are not all here. {where}: apt-get install {' '.join(packages)}")
    if found := another_slurm(os.environ.get("SLURM_CONF")):
        raise Refused(f"a Slurm is configured here: {found}. A cluster of this kind would get in its way")


def another_slurm(conf: str | None) -> str | None:
    """A trace of a Slurm that is not a minicluster.

    Args:
        conf: The value of SLURM_CONF.
    """
    for site in SITES:
        if site.exists():
            return str(site)
    if conf and not (Path(conf).parent / "cluster.json").exists():
        return f"SLURM_CONF={conf}"
    return next((found for folder in PROC.glob("[0-9]*") if (found := service(folder))), None)


def service(process: Path) -> str | None:
    """A daemon of Slurm that goes by the machine's own configuration or was started by systemd."""
    try:
        name = (process / "comm").read_text().strip()
        if name not in ("slurmctld", "slurmd", "slurmdbd"):
            return None
        arguments = (process / "cmdline").read_bytes().split(b"\0")
        told = b"-f" in arguments or b"SLURM_CONF=" in (process / "environ").read_bytes()
        service = f"/{name}.service" in (process / "cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return f"{name} runs as process {process.name}" if service or not told else None


def check_folder(places: Places) -> None:
    """Look at whether the state folder is free or a cluster's, and whether an ordinary user gets there.

    Raises:
        Refused: As in `check`.
    """
    state = places.state
    if state.exists() and not places.record.exists() and (not state.is_dir() or any(state.iterdir())):
        raise Refused(f"state folder {state}: holds something else; name one that is new or empty")
    for parent in state.parents:
        if parent.exists() and not parent.stat().st_mode & stat.S_IXOTH:
            raise Refused(f"state folder {state}: an ordinary user cannot pass {parent}; name another with --state")


def no_cgroups() -> str | None:
    """Why memory cannot be limited here."""
    for controller in CONTROLLERS:
        # Only the root of a hierarchy of cgroup v1 has this file, and Slurm looks for it.
        agent = Path("/sys/fs/cgroup") / controller / "release_agent"
        if not agent.exists():
            return f"cgroups: this machine has no hierarchy of cgroup v1 at {agent.parent}, so memory cannot be limited"
        if not os.access(agent.parent, os.W_OK):
            return f"cgroups: {agent.parent} cannot be written, so memory cannot be limited"
    return None

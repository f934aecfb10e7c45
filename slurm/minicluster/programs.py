"""Which programs a cluster needs, where they lie, and which package of Debian brings each."""

from __future__ import annotations

import shutil
from pathlib import Path

# MariaDB comes without mariadb-server and mariadb-client, which set up a service.
PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "slurmdbd": "slurmdbd",
    "sacctmgr": "slurm-client",
    "sbatch": "slurm-client",
    "scontrol": "slurm-client",
    "sinfo": "slurm-client",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    # mariadb-install-db calls it, and on Debian nothing that it depends on brings it.
    "my_print_defaults": "mariadb-client-core",
}
# Daemons lie in sbin, which is not on everybody's PATH.
FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def program(name: str) -> str:
    """The path of a program; its bare name where there is none, so that calling it fails by that name."""
    return shutil.which(name, path=FOLDERS) or name


def missing() -> list[str]:
    """The packages to install, each once, in the order of their names."""
    return sorted({package for name, package in PACKAGES.items() if shutil.which(name, path=FOLDERS) is None})


def debian() -> bool:
    """Whether packages come from Debian or something like it."""
    return Path("/etc/debian_version").exists()

"""A real Slurm cluster on one Debian machine: its daemons, its accounts, its ordinary user, all on loopback."""

from __future__ import annotations

from minicluster.cluster import Cluster
from minicluster.errors import Failed, Refused
from minicluster.settings import Settings

__all__ = ["Cluster", "Failed", "Refused", "Settings"]

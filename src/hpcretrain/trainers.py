"""Which trainer does the jobs: processes on this machine, or Slurm."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hpcretrain.adapters.home import Home
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.policy.types import JobRules
from hpcretrain.ports import Ledger, Trainer

if TYPE_CHECKING:
    from hpcretrain.adapters.slurm import Slurm
    from hpcretrain.adapters.spool import SnapshotSource, TrainerSettings


@dataclass(frozen=True)
class Cluster:
    """A site to train at, and who is told while its jobs are waited for."""

    profile: ClusterProfile
    tell: Callable[[str], None]


def local_trainer(place: Home, table: SnapshotSource, ledger: Ledger, settings: TrainerSettings) -> Trainer:
    """Trains in processes on this machine."""
    from hpcretrain.adapters.spool import Spool
    from hpcretrain.adapters.submitit import LocalTrainer

    return LocalTrainer(Spool(place.spool, place.models, table, ledger, settings, listens=False), ledger)


def slurm_trainer(
    cluster: Cluster,
    slurm: Slurm,
    models: Path,
    table: SnapshotSource,
    ledger: Ledger,
    settings: TrainerSettings,
    rules: JobRules,
    *,
    waits: bool,
) -> Trainer:
    """Trains on Slurm, in this home's part of the site's spool; `waits` tells whether it waits for its jobs.

    Raises:
        InputError: The spool cannot be written.
    """
    from hpcretrain.adapters.slurm_jobs import SlurmJobs
    from hpcretrain.adapters.slurm_outlook import Outlook
    from hpcretrain.adapters.slurm_spool import SlurmSpool, home_name
    from hpcretrain.adapters.slurm_trainer import SlurmTrainer
    from hpcretrain.adapters.spool import Spool

    profile = cluster.profile
    name = home_name(ledger, secrets.token_hex(5))
    shared = SlurmSpool(profile.spool.path, name, ledger, requeue=_may_requeue(profile))
    spool = Spool(shared.root, models, table, ledger, settings)
    jobs = SlurmJobs(slurm, profile, rules, shared, ledger, asked=None if waits else shared.root / "asked")
    outlook = Outlook(slurm, profile)
    return SlurmTrainer(spool, shared, jobs, ledger, settings.threads, cluster.tell, outlook=outlook, waits=waits)


def _may_requeue(profile: ClusterProfile) -> bool:
    return profile.preemption.requeue and profile.preemption.requeue_on_node

"""What was seen of a site by an ordinary user. What could not be seen is None, or missing; `Site.unseen` says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hpcretrain.records import PriorityClass


@dataclass(frozen=True)
class Partition:
    """A partition. Of each pair of `allowed` and `denied` names, None allows all."""

    name: str
    state: str
    nodes: frozenset[str]
    allow_qos: frozenset[str] | None = None
    deny_qos: frozenset[str] = frozenset()
    allow_accounts: frozenset[str] | None = None
    deny_accounts: frozenset[str] = frozenset()
    allow_groups: frozenset[str] | None = None
    root_only: bool = False
    needs_reservation: bool = False
    default: bool = False
    max_time_min: float | None = None
    max_memory_mb: float | None = None
    """For a job, on each node."""
    priority_tier: int = 1
    preempt_mode: str = ""
    grace_s: float = 0

    def admits(self, *, qos: str | None, account: str | None, groups: frozenset[str]) -> bool:
        """Whether a job of an ordinary user may be submitted there; where the account is not known, it may."""
        return (
            not self.root_only
            and (self.allow_groups is None or bool(self.allow_groups & groups))
            and _admits(self.allow_qos, self.deny_qos, qos)
            and (account is None or _admits(self.allow_accounts, self.deny_accounts, account))
        )


def _admits(allowed: frozenset[str] | None, denied: frozenset[str], name: str | None) -> bool:
    # Slurm ignores the list of the denied where there is one of the allowed.
    return name in allowed if allowed is not None else name not in denied


@dataclass(frozen=True)
class Qos:
    """A quality of service. Times in seconds or minutes, None where unlimited."""

    name: str
    priority: int = 0
    grace_s: float = 0
    preempts: frozenset[str] = frozenset()
    preempt_mode: str = "cluster"
    exempt_min: float | None = None
    """How long a job runs before it may be preempted; None where the cluster's PreemptExemptTime holds."""
    flags: frozenset[str] = frozenset()
    max_wall_min: float | None = None
    submit_limits: Mapping[str, int] = field(default_factory=dict)
    """Most jobs at a time, by the option of `sacctmgr modify qos` that sets it."""


@dataclass(frozen=True)
class Association:
    """An account that the user may use; `partition` is None where it holds for all."""

    account: str
    partition: str | None = None
    qos: frozenset[str] = frozenset()
    default_qos: str | None = None
    max_wall_min: float | None = None
    submit_limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Reservation:
    """A reservation: the nodes that it holds, and for whom."""

    name: str
    nodes: frozenset[str]
    users: frozenset[str] = frozenset()
    accounts: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Folder:
    """The spool's folder as it is seen where hpcretrain runs. `trouble` says why a file could not be written there."""

    exists: bool
    mode: int = 0
    mine: bool = False
    trouble: str = ""


@dataclass(frozen=True)
class Trial:
    """What `sbatch --test-only` says of a job of a class; `preempts` names the jobs that would have to make room."""

    accepted: bool
    told: str
    preempts: str = ""


@dataclass(frozen=True)
class Probe:
    """What became of a short job of a class.

    `ran` is False where it did not start in time, or was not submitted; `why` says so. `seen` is what it saw, None
    where no file came back; then `exit_code` and the end of its `output` tell more.
    """

    ran: bool
    why: str = ""
    nodes: frozenset[str] = frozenset()
    exit_code: int | None = None
    output: str = ""
    seen: Mapping[str, Any] | None = None
    requeue: bool | None = None
    """Whether Slurm holds that it may be requeued."""
    own: bool = True
    """Whether the file that it wrote is this user's, and closed to others."""
    behind_s: float = 0
    """By how much the node's clock is behind ours (negative: ahead) at least."""


@dataclass(frozen=True)
class Site:
    """Everything that was seen."""

    user: str
    groups: frozenset[str] = frozenset()
    missing: Mapping[str, str] = field(default_factory=dict)
    """Commands that are not there, and what was said of each."""
    version: str | None = None
    """Of the commands here."""
    config: Mapping[str, str] | None = None
    """What `scontrol show config` says."""
    partitions: Mapping[str, Partition] | None = None
    reservations: Mapping[str, Reservation] | None = None
    node_memory_mb: Mapping[str, int] | None = None
    """By partition, the memory of its largest node."""
    qos: Mapping[str, Qos] | None = None
    associations: tuple[Association, ...] | None = None
    accounting_trouble: str | None = None
    """Why `sacct` does not answer; None where it does."""
    unseen: Mapping[str, str] = field(default_factory=dict)
    """By the name of a field above: why it could not be seen."""
    folder: Folder | None = None
    checkpoint_s: float | None = None
    """The longest that a checkpoint took, by the lives whose files lie in the spool."""
    trials: Mapping[PriorityClass, Trial] = field(default_factory=dict)
    probes: Mapping[PriorityClass, Probe] = field(default_factory=dict)
    sbatch_variables: tuple[str, ...] = ()
    """Names of variables in the environment that would change what sbatch does."""
    here: Mapping[str, str] = field(default_factory=dict)
    """Versions here: of hpcretrain, and of the packages that train."""

    def setting(self, name: str) -> str:
        """A parameter of slurm.conf, "" where it is not set, or not seen."""
        return (self.config or {}).get(name, "")

    def has_words(self, name: str, word: str) -> bool:
        """Whether a parameter that is a list of words has this one, whatever its case."""
        return word.lower() in [part.strip().lower() for part in self.setting(name).split(",")]

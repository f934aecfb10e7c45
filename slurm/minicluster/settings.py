"""What a cluster is made of, and what a drill may change about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from minicluster.errors import Refused

PreemptMode = Literal["requeue", "cancel"]
Scheduler = Literal["fast", "default"]


@dataclass(frozen=True)
class Settings:
    """Everything that can differ between two clusters.

    Raises:
        Refused: A value makes no sense.
    """

    name: str = "mini"
    """Of the cluster; its ordinary user is called after it."""
    inference_nodes: int = 2
    training_nodes: int = 4
    cpus: int = 4
    """Per node, as claimed: nodes share this machine's processors."""
    memory_mb: int = 4000
    """Per node, as claimed."""
    grace_s: int = 10
    """GraceTime of what can be preempted."""
    user_signal: bool = True
    """Whether preemption sends the signal of a job's `--signal`."""
    preempt_mode: PreemptMode = "requeue"
    requeue: bool = True
    """JobRequeue: whether jobs can be requeued unless they ask not to."""
    cred_expire_s: int = 5
    """A requeued job waits about this long. Slurm's own value is 120."""
    scheduler: Scheduler = "fast"
    """Intervals of the scheduler: a second or less, or Slurm's own."""
    accounting: bool = True
    """Without it there is no slurmdbd, no QOS and no sacct, and partitions preempt instead."""
    cgroups: bool = False
    """Whether memory is limited by the kernel, so that a job can really run out of it."""
    kill_wait_s: int = 2
    slurmd_timeout_s: int = 15
    """How long a node may be silent before it is down."""
    extra: tuple[str, ...] = ()
    """Lines at the end of slurm.conf, where the last value of a parameter holds."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", self.name):
            raise Refused(
                f"name {self.name!r}: wants a letter, then letters, digits and hyphens, 20 in all, lower case"
            )
        for field, least, most in (
            ("inference_nodes", 1, 32),
            ("training_nodes", 1, 32),
            ("cpus", 1, 1024),
            ("memory_mb", 100, 10_000_000),
            ("grace_s", 0, 86_400),
            ("cred_expire_s", 1, 86_400),
            ("kill_wait_s", 0, 3600),
            ("slurmd_timeout_s", 1, 65_533),
        ):
            if not least <= (value := getattr(self, field)) <= most:
                raise Refused(f"{field} = {value}: wants {least} to {most}")
        for field, values in (("preempt_mode", get_args(PreemptMode)), ("scheduler", get_args(Scheduler))):
            if (value := getattr(self, field)) not in values:
                raise Refused(f"{field} = {value!r}: wants one of {', '.join(values)}")

    @property
    def user(self) -> str:
        """The ordinary user who submits."""
        return f"retrain-{self.name}"

    @property
    def inference(self) -> list[str]:
        """Names of the nodes that serve."""
        return [f"infer{number}" for number in range(1, self.inference_nodes + 1)]

    @property
    def training(self) -> list[str]:
        """Names of the nodes that train."""
        return [f"train{number}" for number in range(1, self.training_nodes + 1)]

    @property
    def nodes(self) -> list[str]:
        """Names of all nodes."""
        return [*self.inference, *self.training]

    @property
    def daemons(self) -> list[str]:
        """Names of all daemons in the order in which they start; a slurmd is called after its node."""
        database = ["mariadbd", "slurmdbd"] if self.accounting else []
        return ["munged", *database, "slurmctld", *self.nodes]


def hostlist(nodes: list[str]) -> str:
    """Names `stem1` to `stemN` as Slurm writes them."""
    return nodes[0] if len(nodes) == 1 else f"{nodes[0][:-1]}[1-{len(nodes)}]"

"""What a training would meet on the cluster now: how full its partition is, and whose jobs it could push aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.config.cluster import ClassOfJobs, ClusterProfile
from hpcretrain.errors import SlurmError
from hpcretrain.records import Finding, Outcome, PriorityClass

_FIELDS = ("State", "QOS", "NumCPUs", "Partition")


@dataclass(frozen=True)
class Busy:
    """A job of anybody's: whether it runs (or waits), by which QOS, on how many CPUs."""

    runs: bool
    qos: str
    cpus: int


class Outlook:
    """Looks at the partitions of a site's classes.

    Args:
        slurm: The door.
        profile: The site.
    """

    def __init__(self, slurm: Slurm, profile: ClusterProfile) -> None:
        self._slurm = slurm
        self._profile = profile

    def __call__(self, priority_class: PriorityClass) -> tuple[Finding, ...]:
        """Findings "load" and "preempts"; INSUFFICIENT where Slurm does not answer."""
        wanted = self._profile.classes.of(priority_class)
        order = self._profile.classes.order
        lower = [self._profile.classes.of(each) for each in order[order.index(priority_class) + 1 :]]
        try:
            cpus = self._cpus(wanted)
            jobs = self._jobs(wanted)
        except SlurmError as error:
            return tuple(
                Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=str(error)) for check in ("load", "preempts")
            )
        return load(wanted.partition, jobs, cpus), preempts({each.qos for each in lower if each.qos}, wanted.qos, jobs)

    def _cpus(self, wanted: ClassOfJobs) -> int:
        names = wanted.partition.split(",")
        shown = [each for each in self._slurm.show("partition") if each.get("PartitionName") in names]
        return sum(int(each["TotalCPUs"]) for each in shown if each.get("TotalCPUs", "").isdigit())

    def _jobs(self, wanted: ClassOfJobs) -> list[Busy]:
        form = ",".join(f"{field}:|" for field in _FIELDS)
        told = self._slurm.ask(
            "squeue",
            "--noheader",
            "--array",
            f"--partition={wanted.partition}",
            "--states=RUNNING,PENDING",
            f"-O{form}",
        )
        return read(told)


def read(text: str) -> list[Busy]:
    """The jobs in what `squeue` prints; a line that tells no number of CPUs counts as one."""
    jobs = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) >= len(_FIELDS):
            state, qos, cpus, *_ = fields
            jobs.append(Busy(state == "RUNNING", qos, int(cpus) if cpus.isdigit() else 1))
    return jobs


def load(partition: str, jobs: Sequence[Busy], cpus: int) -> Finding:
    """How full a partition is."""
    used = sum(job.cpus for job in jobs if job.runs)
    running = sum(job.runs for job in jobs)
    return Finding(
        check="load",
        outcome=Outcome.PASS if used < cpus else Outcome.WAIT,
        reason=f"partition {partition}: {running} jobs run on {used} of {cpus} CPUs, {len(jobs) - running} wait",
        observed=used,
        limit=cpus,
    )


def preempts(lower: set[str], own: str | None, jobs: Sequence[Busy]) -> Finding:
    """Whose jobs could be pushed aside, as far as QOS tells: those of the lower classes that run now."""
    victims = [job for job in jobs if job.runs and job.qos in lower - {own}]
    names = ", ".join(sorted(lower - {own})) or "no lower class"
    return Finding(
        check="preempts",
        outcome=Outcome.PASS if not victims else Outcome.WAIT,
        reason=f"{len(victims)} jobs that run by QOS {names}, on {sum(job.cpus for job in victims)} CPUs, would make "
        "room where it is lacking; they leave a checkpoint and go on later",
        observed=len(victims),
        limit=0,
    )

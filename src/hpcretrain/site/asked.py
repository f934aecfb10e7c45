"""What jobs of a class ask for, as Slurm understands it."""

from __future__ import annotations

from dataclasses import dataclass

from hpcretrain.config.cluster import ClassOfJobs, ClusterProfile
from hpcretrain.records import PriorityClass
from hpcretrain.site.facts import Association, Partition, Qos, Site


@dataclass(frozen=True)
class Asked:
    """A class with the facts that it touches; None and empty where they do not exist, or could not be seen."""

    priority_class: PriorityClass
    wanted: ClassOfJobs
    partitions: tuple[Partition, ...]
    unknown_partitions: tuple[str, ...]
    account: str | None
    associations: tuple[Association, ...]
    qos_name: str | None
    """The one that the profile names, else the user's default."""
    qos: Qos | None

    @property
    def name(self) -> str:
        return self.priority_class.value


def every_class(profile: ClusterProfile, site: Site) -> list[Asked]:
    """The classes, most urgent first."""
    return [ask(profile, site, priority_class) for priority_class in profile.classes.order]


def ask(profile: ClusterProfile, site: Site, priority_class: PriorityClass) -> Asked:
    """One class."""
    wanted = profile.classes.of(priority_class)
    names = wanted.partition.split(",")
    known = site.partitions or {}
    associations = _associations(wanted, site, names)
    defaults = [each.default_qos for each in associations if each.default_qos]
    qos_name = wanted.qos or (defaults[0] if defaults else None)
    return Asked(
        priority_class=priority_class,
        wanted=wanted,
        partitions=tuple(known[name] for name in names if name in known),
        unknown_partitions=tuple(name for name in names if name not in known),
        account=wanted.account or (associations[0].account if associations else None),
        associations=associations,
        qos_name=qos_name,
        qos=(site.qos or {}).get(qos_name) if qos_name else None,
    )


def _associations(wanted: ClassOfJobs, site: Site, partitions: list[str]) -> tuple[Association, ...]:
    fitting = [
        each
        for each in site.associations or ()
        if (wanted.account is None or each.account == wanted.account)
        and (each.partition is None or each.partition in partitions)
    ]
    # One for a partition counts before one for all.
    return tuple(sorted(fitting, key=lambda each: each.partition is None))

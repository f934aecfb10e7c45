"""Where training may come, and where it came, by Slurm's own words; and which nodes serve."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_output import expand
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import SlurmError
from hpcretrain.policy.reach import reachable, untouched
from hpcretrain.records import Finding, PriorityClass

FRESH_S = 60.0
"""How long Slurm's answer is relied on."""


class Reach:
    """Proves that inference is out of reach.

    Args:
        slurm: The door.
        profile: Says which nodes serve.
        clock: Seconds, ever increasing.
    """

    def __init__(self, slurm: Slurm, profile: ClusterProfile, clock: Callable[[], float] = time.monotonic) -> None:
        self._slurm = slurm
        self._profile = profile
        self._clock = clock
        self._seen_at = -float("inf")
        self._partitions: dict[str, frozenset[str]] = {}
        self._reservations: dict[str, frozenset[str]] = {}

    def before(self, priority_class: PriorityClass) -> Finding:
        """Whether jobs of a class can start on a node that serves.

        Raises:
            SlurmError: Slurm does not answer.
        """
        self._look()
        wanted = self._profile.classes.of(priority_class)
        reached: dict[str, frozenset[str]] = {}
        for name in wanted.partition.split(","):
            reached[f"partition {name}"] = self._partitions.get(name, frozenset())
        if wanted.reservation:
            # A reservation's nodes lie within the partition's, if Slurm is set up well; that is not for us to assume.
            place = f"reservation {wanted.reservation}"
            reached[place] = self._reservations.get(wanted.reservation, frozenset())
        return reachable(reached, self.serving())

    def forget(self) -> None:
        """Ask Slurm anew, next time."""
        self._seen_at = -float("inf")

    def after(self, ran_on: Mapping[str, str]) -> Finding:
        """Whether lives kept off the nodes that serve; `ran_on` has the host list of each, "" where it is not known.

        Raises:
            SlurmError: Slurm does not say which nodes serve.
        """
        self._look()
        return untouched({life: expand(hosts) if hosts else None for life, hosts in ran_on.items()}, self.serving())

    def serving(self) -> frozenset[str]:
        """The names of the nodes that serve.

        Raises:
            SlurmError: Slurm does not answer, or knows no such partition.
        """
        self._look()
        place = self._profile.inference
        unknown = [name for name in place.partitions if name not in self._partitions]
        if unknown:
            raise SlurmError(
                f"inference.partitions: Slurm shows no partition {', '.join(unknown)}; mend the cluster profile, and "
                "where a partition is hidden from you, name its nodes in inference.nodes instead",
                "refused",
            )
        named = expand(place.nodes) if place.nodes else []
        return frozenset(named).union(*(self._partitions[name] for name in place.partitions))

    def _look(self) -> None:
        now = self._clock()
        if now - self._seen_at < FRESH_S:
            return
        self._partitions = {each["PartitionName"]: _nodes(each) for each in self._slurm.show("partition")}
        classes = self._profile.classes
        if any(each.reservation for each in (classes.urgent, classes.standard, classes.background)):
            shown = self._slurm.show("reservation")
            self._reservations = {each["ReservationName"]: _nodes(each) for each in shown if "ReservationName" in each}
        self._seen_at = now


def _nodes(shown: Mapping[str, str]) -> frozenset[str]:
    return frozenset(expand(shown["Nodes"])) if shown.get("Nodes") else frozenset()

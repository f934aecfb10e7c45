"""Where training may come, and where it came, by Slurm's own words; and which nodes serve."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Container, Iterable, Mapping

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_output import expand
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import SlurmError
from hpcretrain.policy.reach import reachable, untouched
from hpcretrain.records import Finding, PriorityClass

FRESH_S = 60.0
"""How long Slurm's answer is relied on before a submission."""


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
        self._seen_at: float | None = None
        self._asked: tuple[float, Callable[[], list[Mapping[str, str]]]] | None = None
        self._partitions: dict[str, frozenset[str]] = {}
        self._reservations: dict[str, frozenset[str]] = {}

    def before(self, priority_class: PriorityClass) -> Finding:
        """Whether jobs of a class can start on a node that serves.

        Raises:
            SlurmError: Slurm does not answer, or knows no such partition.
        """
        self._look(FRESH_S)
        wanted = self._profile.classes.of(priority_class)
        names = wanted.partition.split(",")
        self._require(f"classes.{priority_class.value}.partition", "partition", names, self._partitions)
        reached = {f"partition {name}": self._partitions[name] for name in names}
        if wanted.reservation:
            # A reservation's nodes lie within the partition's, if Slurm is set up well; that is not for us to assume.
            place = f"reservation {wanted.reservation}"
            reached[place] = self._reservations.get(wanted.reservation, frozenset())
        return reachable(reached, self.serving())

    def look_ahead(self) -> None:
        """Start to ask, if Slurm's answer is too old for a submission that will follow: it then need not wait."""
        if self._asked is None and not self._fresh(FRESH_S):
            self._asked = (self._clock(), self._slurm.start_show("partition"))

    def forget(self) -> None:
        """Ask Slurm anew, next time."""
        self._seen_at = None
        if self._asked:
            _, answer = self._asked
            self._asked = None
            with contextlib.suppress(SlurmError):
                answer()

    def after(self, ran_on: Mapping[str, str]) -> Finding:
        """Whether lives kept off the nodes that serve; `ran_on` has the host list of each, "" where it is not known.

        Which nodes serve is asked only where it is not known or `forget` was called.

        Raises:
            SlurmError: Slurm does not say which nodes serve.
        """
        self._look(math.inf)
        return untouched({life: expand(hosts) if hosts else None for life, hosts in ran_on.items()}, self.serving())

    def serving(self) -> frozenset[str]:
        """The names of the nodes that serve.

        Raises:
            SlurmError: Slurm does not answer, or knows no such partition or node.
        """
        self._look(math.inf)
        place = self._profile.inference
        self._require("inference.partitions", "partition", place.partitions, self._partitions)
        named = expand(place.nodes) if place.nodes else []
        # A slip of the pen would guard nothing. What serves outside of Slurm is out of its jobs' reach anyway.
        self._require("inference.nodes", "node in any partition", named, frozenset().union(*self._partitions.values()))
        return frozenset(named).union(*(self._partitions[name] for name in place.partitions))

    def _require(self, key: str, what: str, names: Iterable[str], known: Container[str]) -> None:
        unknown = sorted(name for name in names if name not in known)
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise SlurmError(
                f"{key}: Slurm knows no {what} called {', '.join(unknown[:5])}{more}; mend the cluster profile",
                "refused",
            )

    def _look(self, oldest_s: float) -> None:
        """Ask Slurm, unless it told within the last `oldest_s` seconds."""
        if self._asked:
            self._see(*self._asked)
        if not self._fresh(oldest_s):
            self._see(self._clock(), self._slurm.start_show("partition"))

    def _fresh(self, oldest_s: float) -> bool:
        return self._seen_at is not None and self._clock() - self._seen_at < oldest_s

    def _see(self, asked_at: float, answer: Callable[[], list[Mapping[str, str]]]) -> None:
        self._asked = None
        self._partitions = {each["PartitionName"]: _nodes(each) for each in answer()}
        classes = self._profile.classes
        if any(classes.of(each).reservation for each in classes.order):
            shown = self._slurm.show("reservation")
            self._reservations = {each["ReservationName"]: _nodes(each) for each in shown if "ReservationName" in each}
        self._seen_at = asked_at


def _nodes(shown: Mapping[str, str]) -> frozenset[str]:
    return frozenset(expand(shown["Nodes"])) if shown.get("Nodes") else frozenset()

"""What a benchmark is, and how its figure comes of what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median


def ours_alone(ours: float, peer: float) -> float:
    """The figure is what was measured."""
    return ours


def peer_over_ours(ours: float, peer: float) -> float:
    """How many times more the peer takes."""
    return peer / ours


def ours_over_peer(ours: float, peer: float) -> float:
    """Ours as a share of the peer's."""
    return ours / peer


def ours_less_peer(ours: float, peer: float) -> float:
    """How much more ours is."""
    return ours - peer


def beyond_peer(ours: float, peer: float) -> float:
    """How much more ours is, as a share of the peer's."""
    return ours / peer - 1


URGENT_JOBS_IN_100 = 5


def lost_to_preemption(ours: float, peer: float) -> float:
    """Share of training CPU that is lost where five jobs in a hundred are urgent and each preempts one of the others.

    `ours` is the CPU of a job that is preempted once, `peer` that of an equal job that is not.
    """
    return (ours / peer - 1) * URGENT_JOBS_IN_100 / (100 - URGENT_JOBS_IN_100)


@dataclass(frozen=True)
class Benchmark:
    """One figure. `better` is "lower" or "higher"; a rate is the mean of outcomes 0 and 1, all else a median."""

    name: str
    what: str
    unit: str
    better: str
    goal: float
    remark: str
    figure: Callable[[float, float], float] = ours_alone
    """From what is typical of ours and of the peer, NaN where there is none."""
    rate: bool = False
    quantile: float = 0.5
    """Of the samples that stands for all of them; 0.5 is the median."""

    def typical(self, samples: Sequence[float]) -> float:
        """What stands for all samples."""
        if self.rate or self.quantile == 0.5:
            return fmean(samples) if self.rate else median(samples)
        return sorted(samples)[math.ceil(self.quantile * len(samples)) - 1]


@dataclass(frozen=True)
class Group:
    """Benchmarks that one measurement answers; a rate of errors stands with its power."""

    name: str
    benchmarks: tuple[Benchmark, ...]

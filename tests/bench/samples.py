"""What a measurement gives: raw samples, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


class PeerMissing(Exception):
    """The peer cannot be installed or does not run here; says why."""


@dataclass(frozen=True)
class Samples:
    """Raw samples of one benchmark; `peer` is empty where there is none."""

    ours: list[float]
    peer: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Aside:
    """Rates under another condition than the benchmark's, by benchmark, each of so many simulations."""

    condition: str
    rates: dict[str, float]
    runs: int


@dataclass(frozen=True)
class Measured:
    """What measuring a group gave. `why` says why nothing could be measured, `failed` whether that is an error."""

    samples: dict[str, Samples] = field(default_factory=dict)
    asides: list[Aside] = field(default_factory=list)
    why: str = ""
    failed: bool = False

    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Measured:
        """From what JSON held."""
        return cls(
            samples={name: Samples(**samples) for name, samples in content["samples"].items()},
            asides=[Aside(**aside) for aside in content["asides"]],
            why=content["why"],
            failed=content["failed"],
        )

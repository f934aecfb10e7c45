"""How likely a retraining is to harm serving: its latency, its memory and its reliability, as one score."""

from __future__ import annotations

from dataclasses import dataclass

from hpcretrain.evidence import Finding, Outcome
from hpcretrain.policy.types.worth import OperationalRisk
from hpcretrain.stats.apportion import apportion

CHECK = "operational_risk"


_HELP = {
    "latency": "it waits until serving has more room",
    "memory": "a smaller average_with lowers it, or a larger growth, which says what serving bears",
    "reliability": "look why releases were rolled back; whoever approves may set it aside (approvals.overrule)",
}
"""What lowers a part, or sets it aside."""


@dataclass(frozen=True)
class Stakes:
    """What serving has to lose.

    Attributes:
        serving: The finding "headroom:serving": how much worse serving is than usual, and how much it may be.
        fits_now: Fits whose predictions are averaged by what serves; a warm start counts as what it went on from, and
            its share of a fit.
        fits_after: The same of a candidate, at most.
        rolled_back: Watched releases that were rolled back.
        watched: Releases that were watched to the end.
    """

    serving: Finding
    fits_now: float
    fits_after: float
    rolled_back: int
    watched: int


def operational_risk(stakes: Stakes, rules: OperationalRisk, most: int) -> Finding:
    """PASS where the score is at most `most`.

    Each part is between 0 and 1. Memory, g: by how many fits the model may grow, `growth` times counting in full.
    Latency: how far serving is on the way to its limit, a, and the growth, which makes it slower in the same measure,
    as 1 - (1 - a)(1 - a g): growth does no harm to what is idle. Reliability: the share of releases rolled back, by
    Laplace's rule of succession. What is not known counts in full. The score is 1000 times their mean by weight.
    """
    slow, seen = _slow(stakes.serving)
    grown = min(max((stakes.fits_after / stakes.fits_now - 1) / (rules.growth - 1), 0.0), 1.0)
    fails = (stakes.rolled_back + 1) / (stakes.watched + 2)
    parts = {
        "latency": rules.latency * (1 - (1 - slow) * (1 - slow * grown)),
        "memory": rules.memory * grown,
        "reliability": rules.reliability * fails,
    }
    score = round(1000 * sum(parts.values()) / (rules.latency + rules.memory + rules.reliability))
    points = apportion(parts, score)
    said = (
        f"latency {points['latency']} ({seen}), memory {points['memory']} (up to {stakes.fits_after:.3g} fits in the "
        f"place of {stakes.fits_now:.3g}), reliability {points['reliability']} ({stakes.rolled_back} of "
        f"{stakes.watched} watched releases were rolled back)"
    )
    if score > most:
        said += f"; {_HELP[max(points, key=lambda part: points[part])]}"
    outcome = Outcome.PASS if score <= most else Outcome.WAIT
    return Finding(check=CHECK, outcome=outcome, reason=said, observed=score, limit=most)


def _slow(serving: Finding) -> tuple[float, str]:
    """How far serving is on the way to its limit, 0 to 1, and in words; 1 where nobody knows."""
    effect, limit = serving.observed, serving.limit
    unknown = serving.outcome not in (Outcome.PASS, Outcome.WAIT)
    if unknown or not isinstance(effect, int | float) or not isinstance(limit, int | float):
        return 1.0, "how serving does is not known"
    share = min(max(effect / limit, 0.0), 1.0) if limit > 0 else float(effect > 0)
    return share, f"serving is at {share:.0%} of what it may be worse"

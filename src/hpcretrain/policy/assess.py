"""From signals to one score, 0 to 1000, with whole contributions by family.

Per family f, over slots of equal length, S_f = (1 - a) * sum of a^k * m over the slots k batches ago, where m in [0, 1]
is the scaled lower bound of the effect and a comes from the half-life. Families combine by a noisy OR,
R = 1 - product of (1 - w_f * S_f). Monotone, bounded, independent of the order of events.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hpcretrain.policy.types import Score
from hpcretrain.records import Family, Finding, Outcome, Signal

DECLINE = (Family.PERFORMANCE, Family.CALIBRATION, Family.PREDICTION_SHIFT, Family.INPUT_DRIFT)
"""Families that say that the model gets worse; freshness only says that more could be learned."""

SCORED = (*DECLINE, Family.FRESHNESS)


@dataclass(frozen=True)
class Scored:
    """The score, its contributions (which add up to it), the levels S_f, and how each family came out."""

    score: int
    contributions: dict[str, int]
    levels: dict[str, float]
    findings: tuple[Finding, ...]


def assess(signals: Sequence[Signal], score: Score) -> Scored:
    """Score all signals about the model that serves.

    A slot in which a family could not be measured holds the family's last value; a family never measured counts as
    zero and is reported as INSUFFICIENT.
    """
    slots = sorted({signal.at for signal in signals})
    levels: dict[str, float] = {}
    findings = []
    for family in SCORED:
        mine = [signal for signal in signals if signal.family is family]
        level, seen = _level(mine, slots, family, score)
        levels[family.value] = level
        findings.append(_finding(family, level, seen, mine, score))
    total, contributions = combine(levels, score)
    return Scored(total, contributions, levels, tuple(findings))


def combine(levels: Mapping[str, float], score: Score) -> tuple[int, dict[str, int]]:
    """The score of the levels, and contributions in proportion to -log(1 - w*S), rounded by largest remainder."""
    survival = {name: 1.0 - _weight(name, score) * level for name, level in levels.items()}
    total = round(1000 * (1.0 - math.prod(survival.values())))
    evidence = {name: -math.log(max(value, 1e-12)) for name, value in survival.items()}
    whole = sum(evidence.values())
    if total == 0 or whole == 0:
        return 0, dict.fromkeys(levels, 0)
    exact = {name: total * value / whole for name, value in evidence.items()}
    contributions = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (contributions[name] - exact[name], name))
    for name in by_remainder[: total - sum(contributions.values())]:
        contributions[name] += 1
    return total, contributions


def decline(levels: Mapping[str, float], score: Score) -> int:
    """The score of the families that say that the model gets worse, alone."""
    return combine({family.value: levels[family.value] for family in DECLINE}, score)[0]


def magnitude(signals: Iterable[Signal], family: Family, scale: float) -> float | None:
    """How strongly one slot's signals of a family speak, 0 to 1; None when none could be measured.

    Input drift counts as the mean over the tenth of the features that moved most: a few that surely moved must not
    drown among many that did not, and one of fifty says little. Elsewhere the worst signal counts.
    """
    shares = [min(max(s.lower_bound, 0.0) / scale, 1.0) for s in signals if s.lower_bound is not None]
    if not shares:
        return None
    loudest = sorted(shares, reverse=True)[: math.ceil(len(shares) / 10) if family is Family.INPUT_DRIFT else 1]
    return math.fsum(loudest) / len(loudest)


def _weight(name: str, score: Score) -> float:
    weight = score.family(Family(name))
    return weight.weight if weight else 0.0


def _level(
    signals: Sequence[Signal], slots: Sequence[datetime], family: Family, score: Score
) -> tuple[float, float | None]:
    weight = score.family(family)
    if weight is None:
        return 0.0, None
    keep = 0.5 ** (1.0 / score.half_life_batches)
    by_slot: dict[datetime, list[Signal]] = {}
    for signal in signals:
        by_slot.setdefault(signal.at, []).append(signal)
    level, last = 0.0, None
    for slot in slots:
        seen = magnitude(by_slot.get(slot, ()), family, weight.scale)
        last = last if seen is None else seen
        level = keep * level + (1.0 - keep) * (last or 0.0)
    return level, last


def _finding(family: Family, level: float, last: float | None, signals: Sequence[Signal], score: Score) -> Finding:
    points = round(1000 * _weight(family.value, score) * level)
    if last is None:
        reason = f"{family.value} was not measured since the release ({len(signals)} signals without a number)"
        return Finding(check=family.value, outcome=Outcome.INSUFFICIENT, reason=reason, observed=None, limit=None)
    return Finding(
        check=family.value,
        outcome=Outcome.PASS if points < score.threshold else Outcome.FAIL,
        reason=f"level {level:.3f} of 1, latest batch {last:.3f}; alone worth {points} points",
        observed=points,
        limit=score.threshold,
    )

"""From signals to one score, 0 to 1000, with whole contributions by family.

Time is cut into slots of equal length. Per family f, S_f = (1 - a) * sum of a^k * m over the slots k ago, where m in
[0, 1] is the scaled lower bound of the effect and a comes from the half-life. Families combine by a noisy OR,
R = 1 - product of (1 - w_f * S_f), and business impact b and the pressure u of the error budget make the score of it:
P = 1000 * b * R * (1 + c * u) / (1 + c). Monotone, bounded, the same for signals in any order or twice.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from hpcretrain.evidence import Family, Finding, Measure, Outcome
from hpcretrain.policy.assess.tracks import TOLD_AT_WILL, Heard, Track, jumps, sort, tracks
from hpcretrain.policy.assess.tracks import Grid as Grid
from hpcretrain.policy.types import Business, Cure, FamilyRule, Score
from hpcretrain.stats.apportion import apportion


@dataclass(frozen=True)
class Scored:
    """How it stands with a model.

    Attributes:
        score: 0 to 1000.
        contributions: Whole points by family, which add up to the score.
        levels: S_f by family, 0 to 1.
        newest: m of the newest slot by family, or what was held.
        decline: The score of the families alone that retraining cures.
        fresh: That of the families that say that there is more to learn from.
        sustained: Whether decline reached the threshold long enough, and has not gone below withdrawal since.
        jumps: How many slots ago decline rose so much at once that it counts as abrupt.
        labeled: Whether anything was measured that needs labels.
        broken: What was last measured as something that is not finite.
        findings: How each family came out, and what was wrong with signals.
    """

    score: int
    contributions: dict[str, int]
    levels: dict[str, float]
    newest: dict[str, float]
    decline: int
    fresh: int
    sustained: bool
    jumps: tuple[int, ...]
    labeled: bool
    broken: tuple[str, ...]
    findings: tuple[Finding, ...]


def assess(measures: Iterable[Measure], score: Score, grid: Grid, retrain_hours: float = 0.0) -> Scored:
    """Score all that was measured of one model since its release.

    A slot in which a family could not be measured holds the family's last value, and counts as blind; a family never
    measured counts as zero and is reported as INSUFFICIENT. What is measured after the end does not count.

    Args:
        measures: In any order; one that comes twice counts once.
        score: The policy's rules.
        grid: How time is cut into slots.
        retrain_hours: How long a retraining takes, against the time that the error budget leaves.
    """
    heard = sort(measures, grid, score)
    course_of = tracks(heard, score)
    levels = {name: track.level for name, track in course_of.items()}
    declining = score.cured_by(Cure.RETRAIN)
    course = _course([course_of[name] for name in declining], score, grid, retrain_hours)
    total, contributions = combine(levels, score, course.pressure)
    return Scored(
        score=total,
        contributions=contributions,
        levels=levels,
        newest={name: track.held[-1] for name, track in course_of.items()},
        decline=course.decline,
        fresh=combine({name: levels[name] for name in score.cured_by(Cure.LEARN)}, score, course.pressure)[0],
        sustained=course.sustained,
        jumps=jumps(heard, score),
        # An estimate tells that labels are worth collecting, and takes the place of none.
        labeled=any(each in heard.shares for each in (Family.PERFORMANCE, Family.CALIBRATION)),
        broken=tuple(sorted(f"{family.value}:{name}" for family, name in heard.broken)),
        findings=(*_findings(course_of, heard, score), *heard.findings),
    )


def combine(levels: Mapping[str, float], score: Score, pressure: float = 0.0) -> tuple[int, dict[str, int]]:
    """The score of the levels, and contributions in proportion to -log(1 - w*S), rounded by largest remainder.

    Args:
        levels: S_f by family.
        score: The policy's rules.
        pressure: u: the time that a retraining takes over the time that the error budget leaves, 0 to 1.
    """
    survival = {name: 1.0 - score.families[name].weight * level for name, level in levels.items()}
    total = round(1000 * _factor(score.business, pressure) * (1.0 - math.prod(survival.values())))
    if total == 0:
        return 0, dict.fromkeys(levels, 0)
    evidence = {name: -math.log(max(value, 1e-12)) for name, value in survival.items()}
    return (total, apportion(evidence, total)) if any(evidence.values()) else (0, dict.fromkeys(levels, 0))


def _factor(business: Business | None, pressure: float) -> float:
    if business is None:
        return 1.0
    most = business.most_pressure
    return business.impact * (1 + most * pressure) / (1 + most)


@dataclass(frozen=True)
class _Course:
    """How decline went, and what follows from its course."""

    decline: int
    pressure: float
    sustained: bool


def _course(tracks: Iterable[Track], score: Score, grid: Grid, retrain_hours: float) -> _Course:
    keep = 0.5 ** (1.0 / score.half_life_batches)
    # What was never measured counts as zero, and so changes nothing.
    tracks = [track for track in tracks if track.measured]
    levels = [0.0] * len(tracks)
    weights = [track.rule.weight for track in tracks]
    slot_hours = grid.length / timedelta(hours=1)
    asked, run, spent = False, 0, 0.0
    points, pressure = 0, 0.0
    for now in zip(*(track.held for track in tracks), strict=True):
        levels = [keep * level + (1.0 - keep) * value for level, value in zip(levels, now, strict=True)]
        share = _either(weights, now)
        spent += share * slot_hours
        pressure = _pressure(share, spent, score.business, retrain_hours)
        points = round(1000 * _factor(score.business, pressure) * _either(weights, levels))
        run = run + 1 if points >= score.threshold else 0
        asked = run >= score.sustain_slots or (asked and points >= score.withdraw_below)
    return _Course(points, pressure, asked)


def _either(weights: Sequence[float], levels: Sequence[float]) -> float:
    neither = 1.0
    for weight, level in zip(weights, levels, strict=True):
        neither *= 1.0 - weight * level
    return 1.0 - neither


def _pressure(share: float, spent: float, business: Business | None, retrain_hours: float) -> float:
    """The time that a retraining takes over the time until the error budget is spent at this rate, 0 to 1."""
    if business is None or business.error_budget_hours is None:
        return 0.0
    left = business.error_budget_hours - spent
    return 1.0 if left <= 0 else min(1.0, retrain_hours * share / left)


def _findings(tracks: Mapping[str, Track], heard: Heard, score: Score) -> Iterator[Finding]:
    """How each family came out."""
    there = {score.counted(family) for family in {measure.family for measure in heard.newest}}
    wrong: dict[str, list[str]] = defaultdict(list)
    for family, what in sorted(heard.broken, key=lambda each: (each[0].value, each[1])):
        wrong[score.counted(family)].append(what)
    for name, track in tracks.items():
        limit = score.threshold if track.rule.cure in (Cure.RETRAIN, Cure.LEARN) else score.act_from
        if name in wrong:
            reason = f"{', '.join(wrong[name])}: not a finite number; what measures it is broken, or what it measures"
            yield Finding(name, Outcome.ERROR, reason, len(wrong[name]), 0)
        elif track.measured:
            points = round(1000 * track.rule.weight * track.level)
            since = _held_since(name, heard, score)
            newest = f"newest slot {track.held[-1]:.3f}" + (f" as measured {since} slots before" if since else "")
            reason = f"level {track.level:.3f} of 1, {newest}; alone worth {points} points"
            yield Finding(name, Outcome.PASS if points < limit else Outcome.FAIL, reason, points, limit)
        elif name in there:
            mine = [measure for measure in heard.newest if score.counted(measure.family) == name]
            yield Finding(name, Outcome.INSUFFICIENT, _unmeasured(mine, track.rule), 0, 1)
        else:
            yield _unheard(name, limit, all(family in TOLD_AT_WILL for family in score.families_of(name)))


def _held_since(name: str, heard: Heard, score: Score) -> int:
    """How many slots ago the newest number of a family is."""
    spoke = (heard.shares.get(family) or heard.guesses.get(family) for family in score.families_of(name))
    return min((min(slots) for slots in spoke if slots), default=0)


@lru_cache(maxsize=1024)
def _unheard(name: str, limit: int, at_will: bool) -> Finding:
    # The same for most families of most models, so it is made once.
    if at_will:
        return Finding(name, Outcome.PASS, "nothing was reported", 0, limit)
    return Finding(name, Outcome.INSUFFICIENT, _UNMEASURED.format(0, ""), 0, 1)


_UNMEASURED = "not measured since the release; {} signals in the newest slot, none with a number that counts{}"


def _unmeasured(newest: Sequence[Measure], rule: FamilyRule) -> str:
    small = [m for m in newest if m.n < rule.min_n]
    count, few = (len({(m.family, m.name, m.at) for m in some}) for some in (newest, small))
    why = f", {few} of them on fewer than {rule.min_n} rows, {max(m.n for m in small)} at most" if few else ""
    return _UNMEASURED.format(count, why)

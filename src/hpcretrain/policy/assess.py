"""From signals to one score, 0 to 1000, with whole contributions by family.

Time is cut into slots of equal length. Per family f, S_f = (1 - a) * sum of a^k * m over the slots k ago, where m in
[0, 1] is the scaled lower bound of the effect and a comes from the half-life. Families combine by a noisy OR,
R = 1 - product of (1 - w_f * S_f), and business impact b and the pressure u of the error budget make the score of it:
P = 1000 * b * R * (1 + c * u) / (1 + c). Monotone, bounded, the same for signals in any order or twice.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcretrain.evidence import ESTIMATED, Family, Finding, Measure, Outcome
from hpcretrain.policy.types import Business, Cure, FamilyRule, Score

_What = tuple[Family, str, datetime]

_TOLD_AT_WILL = (Family.EXTERNAL, Family.UPSTREAM, Family.BLIND)
"""Families of which nothing is heard when there is nothing to tell."""


@dataclass(frozen=True)
class Grid:
    """How time is cut into slots: the newest ends at `end`, which belongs to it; at most `most` are looked back on."""

    end: datetime
    length: timedelta
    most: int | None = None

    def slot(self, at: datetime) -> int:
        """How many slots ago a time is: 0 in the newest, negative after the end."""
        return (self.end - at) // self.length


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


@dataclass(frozen=True)
class _Track:
    """A family over time: the magnitude of each slot, oldest first; where there was no number, the last that was."""

    rule: FamilyRule
    held: tuple[float, ...]
    level: float
    measured: bool


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
    slots, oldest, findings = _sorted(measures, grid)
    broken = _broken(slots)
    names = {family: score.counted(family) for family in Family}
    tracks = _tracks(slots, oldest, score, names)
    levels = {name: track.level for name, track in tracks.items()}
    declining = score.cured_by(Cure.RETRAIN)
    course = _course([tracks[name] for name in declining], oldest + 1, score, grid, retrain_hours)
    total, contributions = combine(levels, score, course.pressure)
    return Scored(
        score=total,
        contributions=contributions,
        levels=levels,
        newest={name: track.held[-1] for name, track in tracks.items()},
        decline=course.decline,
        fresh=combine({name: levels[name] for name in score.cured_by(Cure.LEARN)}, score, course.pressure)[0],
        sustained=course.sustained,
        jumps=course.jumps,
        labeled=any(tracks[names[each]].measured for each in (Family.PERFORMANCE, Family.CALIBRATION)),
        broken=tuple(sorted(f"{family.value}:{name}" for family, name in broken)),
        findings=(*_findings(tracks, slots.get(0, ()), broken, score, names), *findings),
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
    evidence = {name: -math.log(max(value, 1e-12)) for name, value in survival.items()}
    whole = math.fsum(evidence.values())
    if total == 0 or whole == 0:
        return 0, dict.fromkeys(levels, 0)
    exact = {name: total * value / whole for name, value in evidence.items()}
    contributions = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (contributions[name] - exact[name], name))
    for name in by_remainder[: total - sum(contributions.values())]:
        contributions[name] += 1
    return total, contributions


def alone(levels: Mapping[str, float], name: str, score: Score) -> int:
    """The points of one family by itself, whatever depends on the model."""
    return round(1000 * score.families[name].weight * levels[name])


def magnitude(measures: Iterable[Measure], rule: FamilyRule) -> float | None:
    """How strongly one slot's measures of a family speak, 0 to 1; None when none has a number that counts.

    Of signals by the column (input drift) and by the check (data quality) the mean over the tenth that speaks loudest
    counts: a few that surely moved must not drown among many that did not, and one of fifty says little. Elsewhere the
    worst signal counts. Of several with the same name the worst does.
    """
    worst: dict[Family, dict[str, float]] = {}
    for m in measures:
        bound, effect = m.lower_bound, m.effect
        if bound is None or m.n < rule.min_n or not math.isfinite(bound):
            continue
        if effect is not None and not math.isfinite(effect):
            continue
        share = bound / rule.scale
        share = 0.0 if share < 0.0 else 1.0 if share > 1.0 else share
        by_name = worst.setdefault(m.family, {})
        if share >= by_name.get(m.name, 0.0):
            by_name[m.name] = share
    return max((_loudest(family, by_name.values()) for family, by_name in worst.items()), default=None)


def _loudest(family: Family, shares: Collection[float]) -> float:
    if family is not Family.INPUT_DRIFT:
        return max(shares)
    loudest = sorted(shares, reverse=True)[: math.ceil(len(shares) / 10)]
    return math.fsum(loudest) / len(loudest)


def _factor(business: Business | None, pressure: float) -> float:
    if business is None:
        return 1.0
    most = business.most_pressure
    return business.impact * (1 + most * pressure) / (1 + most)


def _what(measure: Measure) -> _What:
    return measure.family, measure.name, measure.at


def _finite(measure: Measure) -> bool:
    effect, bound = measure.effect, measure.lower_bound
    return (effect is None or math.isfinite(effect)) and (bound is None or math.isfinite(bound))


def _sorted(measures: Iterable[Measure], grid: Grid) -> tuple[dict[int, list[Measure]], int, list[Finding]]:
    """Measures by how many slots ago they were; the oldest such slot; and what does not count."""
    slots: dict[int, list[Measure]] = defaultdict(list)
    future: set[_What] = set()
    stale: set[_What] = set()
    for measure in measures:
        slot = grid.slot(measure.at)
        if slot < 0:
            future.add(_what(measure))
        elif grid.most is not None and slot >= grid.most:
            stale.add(_what(measure))
        else:
            slots[slot].append(measure)
    findings = []
    if future:
        why = f"signals of after {grid.end:%Y-%m-%d %H:%M}Z do not count yet; see to the clock of whoever sends them"
        findings.append(Finding("future", Outcome.INSUFFICIENT, why, len(future), 0))
    if stale:
        why = f"signals older than the {grid.most} slots that are looked back on count no more"
        findings.append(Finding("stale", Outcome.PASS, why, len(stale), grid.most))
    return slots, max(slots, default=0), findings


def _tracks(
    slots: Mapping[int, Sequence[Measure]], oldest: int, score: Score, names: Mapping[Family, str]
) -> dict[str, _Track]:
    by_name: dict[str, dict[int, list[Measure]]] = {name: defaultdict(list) for name in score.families}
    for slot, measures in slots.items():
        for measure in measures:
            by_name[names[measure.family]][slot].append(measure)
    order = range(oldest, -1, -1)
    guesses = {name: _taken_out(by_slot) for name, by_slot in by_name.items()}
    heard = {
        name: [magnitude(by_name[name][slot], rule) if slot in by_name[name] else None for slot in order]
        for name, rule in score.families.items()
    }
    blind, told = score.families[names[Family.BLIND]], heard[names[Family.BLIND]]
    telling = [heard[name] for name in dict.fromkeys(names[family] for family in Family if family not in _TOLD_AT_WILL)]
    silence = [min(share / blind.scale, 1.0) for share in _silence(telling, len(order))]
    heard[names[Family.BLIND]] = [max(share, said or 0.0) for share, said in zip(silence, told, strict=True)]
    return {name: _track(rule, heard[name], guesses[name], order, score) for name, rule in score.families.items()}


def _taken_out(by_slot: dict[int, list[Measure]]) -> dict[int, list[Measure]]:
    """The estimates among measures, which are taken out of them."""
    guesses = {}
    for slot, measures in by_slot.items():
        guessed = [m for m in measures if m.name.startswith(ESTIMATED)]
        if guessed:
            guesses[slot] = guessed
            by_slot[slot] = [m for m in measures if not m.name.startswith(ESTIMATED)]
    return guesses


def _silence(heard: Iterable[Sequence[float | None]], count: int) -> list[float]:
    """For each slot the share of the families measured before it that were not measured in it."""
    expected, silent = [0] * count, [0] * count
    for values in heard:
        known = False
        for place, value in enumerate(values):
            expected[place] += known
            silent[place] += known and value is None
            known = known or value is not None
    return [quiet / count if count else 0.0 for quiet, count in zip(silent, expected, strict=True)]


def _track(
    rule: FamilyRule, heard: Sequence[float | None], guesses: Mapping[int, list[Measure]], order: range, score: Score
) -> _Track:
    keep = 0.5 ** (1.0 / score.half_life_batches)
    level, last, held, raised = 0.0, 0.0, [], False
    for slot, value in zip(order, heard, strict=True):
        last = last if value is None else value
        guessed = magnitude(guesses[slot], rule) if slot in guesses else None
        raised = raised or guessed is not None
        # An estimate speaks for its slot only: it neither clears what labels said nor stays when they speak again.
        now = max(last, guessed or 0.0)
        held.append(now)
        level = keep * level + (1.0 - keep) * now
    measured = any(value is not None for value in heard)
    return _Track(rule, tuple(held), min(level, 1.0), measured or raised)


@dataclass(frozen=True)
class _Course:
    """How decline went, and what follows from its course."""

    decline: int
    pressure: float
    sustained: bool
    jumps: tuple[int, ...]


def _course(tracks: Sequence[_Track], count: int, score: Score, grid: Grid, retrain_hours: float) -> _Course:
    keep = 0.5 ** (1.0 / score.half_life_batches)
    levels = [0.0] * len(tracks)
    weights = [track.rule.weight for track in tracks]
    jumps, asked, run, before, spent = [], False, 0, 0.0, 0.0
    points, pressure = 0, 0.0
    for place in range(count):
        now = [track.held[place] for track in tracks]
        levels = [keep * level + (1.0 - keep) * value for level, value in zip(levels, now, strict=True)]
        share = _either(weights, now)
        spent += share * (grid.length / timedelta(hours=1))
        pressure = _pressure(share, spent, score.business, retrain_hours)
        points = round(1000 * _factor(score.business, pressure) * _either(weights, levels))
        run = run + 1 if points >= score.threshold else 0
        asked = run >= score.sustain_slots or (asked and points >= score.withdraw_below)
        if round(1000 * (share - before)) >= score.abrupt:
            jumps.append(count - 1 - place)
        before = share
    return _Course(points, pressure, asked, tuple(jumps))


def _either(weights: Sequence[float], levels: Sequence[float]) -> float:
    return 1.0 - math.prod(1.0 - weight * level for weight, level in zip(weights, levels, strict=True))


def _pressure(share: float, spent: float, business: Business | None, retrain_hours: float) -> float:
    """The time that a retraining takes over the time until the error budget is spent at this rate, 0 to 1."""
    if business is None or business.error_budget_hours is None:
        return 0.0
    left = business.error_budget_hours - spent
    return 1.0 if left <= 0 else min(1.0, retrain_hours * share / left)


def _broken(slots: Mapping[int, Sequence[Measure]]) -> set[tuple[Family, str]]:
    """What was last measured as something that is not finite."""
    if all(_finite(measure) for measures in slots.values() for measure in measures):
        return set()
    last: dict[tuple[Family, str], tuple[datetime, bool]] = {}
    for measure in (each for measures in slots.values() for each in measures):
        key, found = (measure.family, measure.name), (measure.at, not _finite(measure))
        last[key] = max(last.get(key, found), found)
    return {key for key, (_, wrong) in last.items() if wrong}


def _findings(
    tracks: Mapping[str, _Track],
    newest: Sequence[Measure],
    broken: set[tuple[Family, str]],
    score: Score,
    names: Mapping[Family, str],
) -> Iterator[Finding]:
    """How each family came out."""
    mine: dict[str, list[Measure]] = defaultdict(list)
    for measure in newest:
        mine[names[measure.family]].append(measure)
    wrong: dict[str, list[str]] = defaultdict(list)
    for family, what in sorted(broken, key=lambda each: (each[0].value, each[1])):
        wrong[names[family]].append(what)
    for name, track in tracks.items():
        limit = score.threshold if track.rule.cure in (Cure.RETRAIN, Cure.LEARN) else score.act_from
        if name in wrong:
            reason = f"{', '.join(wrong[name])}: not a finite number; what measures it is broken, or what it measures"
            yield Finding(name, Outcome.ERROR, reason, len(wrong[name]), 0)
        elif track.measured:
            points = round(1000 * track.rule.weight * track.level)
            reason = f"level {track.level:.3f} of 1, newest slot {track.held[-1]:.3f}; alone worth {points} points"
            yield Finding(name, Outcome.PASS if points < limit else Outcome.FAIL, reason, points, limit)
        elif name not in mine and all(family in _TOLD_AT_WILL for family in track.rule.of or (Family(name),)):
            yield Finding(name, Outcome.PASS, "nothing was reported", 0, limit)
        else:
            yield Finding(name, Outcome.INSUFFICIENT, _unmeasured(mine[name], track.rule), None, None)


def _unmeasured(newest: Sequence[Measure], rule: FamilyRule) -> str:
    count, few = len({_what(m) for m in newest}), len({_what(m) for m in newest if m.n < rule.min_n})
    why = f", {few} of them on fewer than {rule.min_n} rows" if few else ""
    return f"not measured since the release ({count} signals without a number that counts{why})"

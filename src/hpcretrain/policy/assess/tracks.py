"""How strongly each family spoke over time: what was measured by slots, and what was held where nothing was."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcretrain.evidence import ESTIMATED, Family, Finding, Measure, Outcome
from hpcretrain.policy.types import FamilyRule, Score

_Key = tuple[Family, str]
_What = tuple[Family, str, datetime]
_BySlot = Mapping[int, Sequence[Measure]]

TOLD_AT_WILL = (Family.EXTERNAL, Family.UPSTREAM, Family.BLIND)
"""Families of which nothing is heard when there is nothing to tell."""

_SUDDEN = (Family.PERFORMANCE, Family.CALIBRATION, Family.PREDICTION_SHIFT)
"""Families that tell of the model itself, by whose jumps a change counts as abrupt."""


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
class Track:
    """A family over time: the magnitude of each slot, oldest first; where there was no number, what was held."""

    rule: FamilyRule
    held: tuple[float, ...]
    level: float
    measured: bool


@dataclass(frozen=True)
class Heard:
    """All that was measured of a model, by how many slots ago.

    Attributes:
        slots: The measures of each slot.
        oldest: The oldest slot that counts.
        broken: What was last measured, not long ago, as something that is not finite.
        findings: What does not count.
    """

    slots: _BySlot
    oldest: int
    broken: frozenset[_Key]
    findings: tuple[Finding, ...]


def sort(measures: Iterable[Measure], grid: Grid, score: Score) -> Heard:
    """Measures by slots. What is older than all that is looked back on stands at its end, the last of each name."""
    slots: dict[int, list[Measure]] = defaultdict(list)
    future: set[_What] = set()
    stale: dict[_Key, list[Measure]] = defaultdict(list)
    for measure in measures:
        slot = grid.slot(measure.at)
        if slot < 0:
            future.add(_what(measure))
        elif grid.most is not None and slot >= grid.most:
            stale[measure.family, measure.name].append(measure)
        else:
            slots[slot].append(measure)
    if grid.most is not None and stale:
        end = grid.most - 1
        newer = {(m.family, m.name) for m in slots.get(end, ())}
        for key, older in stale.items():
            numbered = [m for m in older if m.lower_bound is not None]
            if key not in newer and numbered and key[0] is not Family.DATA_QUALITY:
                last = max(m.at for m in numbered)
                slots[end] += [m for m in numbered if m.at == last]
    findings = []
    if future:
        why = f"signals of after {grid.end:%Y-%m-%d %H:%M}Z do not count yet; see to the clock of whoever sends them"
        findings.append(Finding("future", Outcome.INSUFFICIENT, why, len(future), 0))
    if stale:
        count = len({_what(m) for older in stale.values() for m in older})
        why = f"signals older than the {grid.most} slots that are looked back on; the last of each name is held"
        findings.append(Finding("stale", Outcome.PASS, why, count, grid.most))
    return Heard(slots, max(slots, default=0), _broken(slots, score), tuple(findings))


def tracks(heard: Heard, score: Score, names: Mapping[Family, str]) -> dict[str, Track]:
    """How strongly each family spoke.

    Each measure holds its own last value in slots in which it is not measured, and counts as blind there: so good news
    of one does not silence another. Checks of data quality are of their batch, and hold together.
    """
    order = range(heard.oldest, -1, -1)
    shares = {name: _shares(heard.slots, rule, name, names) for name, rule in score.families.items()}
    blind_name = names[Family.BLIND]
    silence: dict[Family, list[float | None]] = {}
    held: dict[str, list[float | None]] = {}
    for name in score.families:
        held[name], quiet = _hold(shares[name], order)
        silence.update({family: each for family, each in quiet.items() if family not in TOLD_AT_WILL})
    blind = score.families[blind_name]
    for place in range(len(order)):
        known = [each for quiet in silence.values() if (each := quiet[place]) is not None]
        share = min(math.fsum(known) / len(known) / blind.scale, 1.0) if known else 0.0
        held[blind_name][place] = max(share, held[blind_name][place] or 0.0)
    return {name: _track(rule, held[name], _guesses(heard.slots, rule, name, names, order), score)
            for name, rule in score.families.items()}  # fmt: skip


def jumps(heard: Heard, score: Score) -> tuple[int, ...]:
    """How many slots ago something jumped by `abrupt` full scales at once, and has not come back since."""
    found: set[int] = set()
    for family in _SUDDEN:
        rule = score.rule(family)
        by_name: dict[str, dict[int, float]] = defaultdict(dict)
        for slot, measures in heard.slots.items():
            for m in measures:
                if m.family is family and (share := _share(m, rule)) is not None and not m.name.startswith(ESTIMATED):
                    by_name[m.name][slot] = max(share, by_name[m.name].get(slot, 0.0))
        for values in by_name.values():
            found |= _jumped(values, score.abrupt)
    return tuple(sorted(found))


def magnitude(measures: Iterable[Measure], rule: FamilyRule) -> float | None:
    """How strongly one slot's measures of a family speak, 0 to 1; None when none has a number that counts.

    Of input drift the mean over the tenth of the features that moved most counts: a few that surely moved must not
    drown among many that did not, and one of fifty says little. Elsewhere the worst signal counts. Of several with the
    same name the worst does.
    """
    worst: dict[Family, dict[str, float]] = {}
    for m in measures:
        share = _share(m, rule)
        if share is not None:
            by_name = worst.setdefault(m.family, {})
            by_name[m.name] = max(share, by_name.get(m.name, 0.0))
    return max((_loudest(family, by_name.values()) for family, by_name in worst.items()), default=None)


def finite(measure: Measure) -> bool:
    """Whether its numbers, as far as it has any, are finite."""
    effect, bound = measure.effect, measure.lower_bound
    return (effect is None or math.isfinite(effect)) and (bound is None or math.isfinite(bound))


def _share(m: Measure, rule: FamilyRule) -> float | None:
    """The lower bound in full scales, 0 or more; None where it does not count."""
    bound, effect = m.lower_bound, m.effect
    if bound is None or m.n < rule.min_n or not math.isfinite(bound):
        return None
    if effect is not None and not math.isfinite(effect):
        return None
    return bound / rule.scale if bound > 0.0 else 0.0


def _loudest(family: Family, shares: Collection[float]) -> float:
    if family is not Family.INPUT_DRIFT:
        return min(max(shares), 1.0)
    # A tenth of the features, the last of them in part: one more that did not move must not halve what moved.
    tenth = max(len(shares) / 10, 1.0)
    loudest = sorted((min(share, 1.0) for share in shares), reverse=True)[: math.ceil(tenth)]
    whole = math.floor(tenth)
    return (math.fsum(loudest[:whole]) + (tenth - whole) * math.fsum(loudest[whole:])) / tenth


def _shares(
    slots: _BySlot, rule: FamilyRule, name: str, names: Mapping[Family, str]
) -> dict[int, dict[Family, dict[str, float]]]:
    """Shares of what counts under a name, by slot, family and measure; the worst of several of one name."""
    found: dict[int, dict[Family, dict[str, float]]] = {}
    for slot, measures in slots.items():
        for m in measures:
            if names[m.family] != name or m.name.startswith(ESTIMATED):
                continue
            share = _share(m, rule)
            if share is not None:
                by_name = found.setdefault(slot, {}).setdefault(m.family, {})
                by_name[m.name] = max(share, by_name.get(m.name, 0.0))
    return found


def _hold(
    shares: Mapping[int, Mapping[Family, Mapping[str, float]]], order: range
) -> tuple[list[float | None], dict[Family, list[float | None]]]:
    """The magnitude of each slot with what is held, and by family the share of its measures that were silent in it."""
    current: dict[Family, dict[str, float]] = {}
    held: list[float | None] = []
    families = {family for by_family in shares.values() for family in by_family}
    quiet: dict[Family, list[float | None]] = {family: [] for family in families}
    for slot in order:
        fresh = shares.get(slot, {})
        for family in families:
            before, now = current.get(family, {}), fresh.get(family, {})
            quiet[family].append(sum(name not in now for name in before) / len(before) if before else None)
            if now:
                current[family] = dict(now) if family is Family.DATA_QUALITY else {**before, **now}
        held.append(max((_loudest(family, by_name.values()) for family, by_name in current.items()), default=None))
    return held, quiet


def _guesses(
    slots: _BySlot, rule: FamilyRule, name: str, names: Mapping[Family, str], order: range
) -> list[float | None]:
    found: list[float | None] = []
    for slot in order:
        guessed = [m for m in slots.get(slot, ()) if m.name.startswith(ESTIMATED) and names[m.family] == name]
        found.append(magnitude(guessed, rule) if guessed else None)
    return found


def _track(rule: FamilyRule, held: Sequence[float | None], guesses: Sequence[float | None], score: Score) -> Track:
    keep = 0.5 ** (1.0 / score.half_life_batches)
    level, values = 0.0, []
    for value, guessed in zip(held, guesses, strict=True):
        # An estimate speaks for its slot only: it neither clears what labels said nor stays when they speak again.
        now = max(value or 0.0, guessed or 0.0)
        values.append(now)
        level = keep * level + (1.0 - keep) * now
    measured = any(value is not None for value in (*held, *guesses))
    return Track(rule, tuple(values), min(level, 1.0), measured)


def _jumped(values: Mapping[int, float], abrupt: float) -> set[int]:
    """The slots of jumps of a measure that still stand: of which at least half is there in its newest value."""
    found, before, newest = set(), 0.0, values[min(values)]
    for slot in sorted(values, reverse=True):
        if values[slot] - before >= abrupt and newest >= before + (values[slot] - before) / 2:
            found.add(slot)
        before = values[slot]
    return found


def _broken(slots: _BySlot, score: Score) -> frozenset[_Key]:
    """What was last measured as something that is not finite; longer ago than `broken_slots` it is only silent."""
    if all(finite(measure) for measures in slots.values() for measure in measures):
        return frozenset()
    last: dict[_Key, tuple[datetime, bool, int]] = {}
    for slot, measures in slots.items():
        for measure in measures:
            key, found = (measure.family, measure.name), (measure.at, not finite(measure), slot)
            last[key] = max(last.get(key, found), found)
    return frozenset(key for key, (_, wrong, slot) in last.items() if wrong and slot < score.broken_slots)


def _what(measure: Measure) -> _What:
    return measure.family, measure.name, measure.at

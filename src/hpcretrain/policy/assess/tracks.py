"""How strongly each family spoke over time: what was measured by slots, and what was held where nothing was."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite

from hpcretrain.evidence import ESTIMATED, Family, Finding, Measure, Outcome
from hpcretrain.policy.types import FamilyRule, Score

_Key = tuple[Family, str]
_What = tuple[Family, str, datetime]
_BySlot = Mapping[int, Sequence[Measure]]
_Shares = Mapping[int, Mapping[str, float]]
"""Of a family, by slot and by name of what was measured: the lower bound in full scales, 0 or more."""
_Lost = Mapping[int, Collection[str]]
"""Of a family, by slot: the names of what was measured as something that is not finite."""
_Course = Sequence[float | None]
"""A magnitude of each slot, oldest first; None where there is none."""

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
        newest: The measures of the newest slot.
        shares: How strongly each measure spoke that has a number which counts.
        guesses: The same of what was estimated without labels.
        lost: What was measured as something that is not finite.
        oldest: The oldest slot that counts.
        broken: What was last measured, not long ago, as something that is not finite.
        findings: What does not count.
    """

    newest: Sequence[Measure]
    shares: Mapping[Family, _Shares]
    guesses: Mapping[Family, _Shares]
    lost: Mapping[Family, _Lost]
    oldest: int
    broken: frozenset[_Key]
    findings: tuple[Finding, ...]


def sort(measures: Iterable[Measure], grid: Grid, score: Score) -> Heard:
    """Measures by slots. What is older than all that is looked back on stands at its end, the last of each name."""
    slots: dict[int, list[Measure]] = defaultdict(list)
    future: set[_What] = set()
    stale: dict[_Key, list[Measure]] = defaultdict(list)
    at, slot = grid.end, grid.slot(grid.end)
    for measure in measures:
        # Many are of one time, and mostly stand together.
        if measure.at != at:
            at, slot = measure.at, grid.slot(measure.at)
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
            if key not in newer and key[0] is not Family.DATA_QUALITY:
                slots[end] += _last(older)
    findings = []
    if future:
        why = f"signals of after {grid.end:%Y-%m-%d %H:%M}Z do not count yet; see to the clock of whoever sends them"
        findings.append(Finding("future", Outcome.INSUFFICIENT, why, len(future), 0))
    if stale:
        count = len({_what(m) for older in stale.values() for m in older})
        why = f"signals older than the {grid.most} slots that are looked back on; the last of each name is held"
        findings.append(Finding("stale", Outcome.PASS, why, count, grid.most))
    shares, guesses, lost = _told(slots, score)
    broken = _broken(slots, score) if lost else frozenset()
    return Heard(slots.get(0, ()), shares, guesses, lost, max(slots, default=0), broken, tuple(findings))


def _last(older: Sequence[Measure]) -> list[Measure]:
    """The last of one name that has a number, and what came since that is not finite."""
    numbered = [m for m in older if m.lower_bound is not None and finite(m)]
    last = max((m.at for m in numbered), default=None)
    wrong = [m for m in older if not finite(m) and (last is None or m.at > last)]
    return [*(m for m in numbered if m.at == last), *wrong]


def tracks(heard: Heard, score: Score) -> dict[str, Track]:
    """How strongly each family spoke.

    Each measure holds its own last value in slots in which it is not measured, and counts as blind there: so good news
    of one does not silence another. Checks of data quality are of their batch, and hold together.
    """
    order = range(heard.oldest, -1, -1)
    spoken: dict[str, list[_Course]] = defaultdict(list)
    silences = []
    for family in dict.fromkeys([*heard.shares, *heard.lost]):
        held, quiet = _hold(family, heard.shares.get(family, {}), heard.lost.get(family, {}), order)
        if family in heard.shares:
            spoken[score.counted(family)].append(held)
        if family not in TOLD_AT_WILL:
            silences.append(quiet)
    for family, shares in heard.guesses.items():
        # An estimate speaks for its slot only: it neither clears what labels said nor stays when they speak again.
        guessed = [_loudest(family, shares[slot].values()) if slot in shares else None for slot in order]
        spoken[score.counted(family)].append(guessed)
    blind = score.counted(Family.BLIND)
    spoken[blind].append(_blind(silences, len(order), score.families[blind].scale))
    return {name: _track(rule, spoken.get(name, ()), len(order), score) for name, rule in score.families.items()}


def jumps(heard: Heard, score: Score) -> tuple[int, ...]:
    """How many slots ago something jumped by `abrupt` full scales at once, and has not come back since."""
    found: set[int] = set()
    for family in _SUDDEN:
        by_name: dict[str, dict[int, float]] = defaultdict(dict)
        for slot, shares in heard.shares.get(family, {}).items():
            for name, share in shares.items():
                by_name[name][slot] = share
        for values in by_name.values():
            found |= _jumped(values, score.abrupt)
    return tuple(sorted(found))


def finite(measure: Measure) -> bool:
    """Whether its numbers, as far as it has any, are finite."""
    effect, bound = measure.effect, measure.lower_bound
    return (effect is None or isfinite(effect)) and (bound is None or isfinite(bound))


def _told(
    slots: _BySlot, score: Score
) -> tuple[Mapping[Family, _Shares], Mapping[Family, _Shares], Mapping[Family, _Lost]]:
    """Shares of what counts, and of what was estimated; of several of one name the worst. What is not finite."""
    shares: dict[Family, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    guesses: dict[Family, dict[int, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    lost: dict[Family, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    counts = {family: (rule.min_n, rule.scale) for family, rule in score.rules.items()}
    for slot, measures in slots.items():
        # Looked up once a slot: all history is gone through at each assessment.
        mine: dict[tuple[Family, bool], dict[str, float]] = {}
        for measure in measures:
            _, family, name, _, effect, bound, n, _, _, _ = measure
            least, scale = counts[family]
            # `finite`, without a call for each.
            if (effect is not None and not isfinite(effect)) or (bound is not None and not isfinite(bound)):
                lost[family][slot].add(name)
            elif bound is not None and n >= least:
                share = bound / scale if bound > 0.0 else 0.0
                key = family, name.startswith(ESTIMATED)
                by_name = mine.get(key)
                if by_name is None:
                    by_name = mine[key] = (guesses if key[1] else shares)[family][slot]
                if share >= by_name.get(name, 0.0):
                    by_name[name] = share
    return shares, guesses, lost


def _loudest(family: Family, shares: Collection[float]) -> float:
    """How strongly one slot's measures of a family speak, 0 to 1.

    Of input drift the mean over the tenth of the features that moved most counts: a few that surely moved must not
    drown among many that did not, and one of fifty says little. Elsewhere the worst signal counts.
    """
    if family is not Family.INPUT_DRIFT or len(shares) <= 10:
        return min(max(shares), 1.0)
    # A tenth of the features, the last of them in part: one more that did not move must not halve what moved.
    tenth = len(shares) / 10
    whole = math.floor(tenth)
    loudest = [min(share, 1.0) for share in sorted(shares, reverse=True)[: math.ceil(tenth)]]
    return (math.fsum(loudest[:whole]) + (tenth - whole) * math.fsum(loudest[whole:])) / tenth


def _hold(family: Family, shares: _Shares, lost: _Lost, order: range) -> tuple[_Course, _Course]:
    """The magnitude of each slot with what is held, and the share of its measures that were silent in it.

    What was measured as something that is not finite is known, and says nothing.
    """
    held: list[float | None] = []
    quiet: list[float | None] = []
    current: Mapping[str, float] = {}
    magnitude: float | None = None
    wrong: set[str] = set()
    for slot in order:
        now = shares.get(slot)
        if not now:
            both, heard = current, 0
        else:
            both, heard = now if now.keys() >= current.keys() else {**current, **now}, len(now)
        silent, known = len(both) - heard, len(current)
        if wrong:
            silent, known = silent + len(wrong - both.keys()), known + len(wrong - current.keys())
        quiet.append(silent / known if known else None)
        if slot in lost:
            wrong.update(name for name in lost[slot] if not name.startswith(ESTIMATED))
        if now:
            current = now if family is Family.DATA_QUALITY else both
            magnitude = _loudest(family, current.values())
        held.append(magnitude)
    return held, quiet


def _blind(silences: Sequence[_Course], count: int, scale: float) -> _Course:
    """How much is not heard in each slot that was heard before: the mean over the families."""
    blind: list[float | None] = []
    for place in range(count):
        known = [share for quiet in silences if (share := quiet[place]) is not None]
        blind.append(min(math.fsum(known) / len(known) / scale, 1.0) if known else 0.0)
    return blind


def _track(rule: FamilyRule, spoken: Sequence[_Course], count: int, score: Score) -> Track:
    """The worst of all courses that are counted in a family counts in each slot."""
    keep = 0.5 ** (1.0 / score.half_life_batches)
    values = [0.0] * count
    for course in spoken:
        values = [
            each if each is not None and each > value else value for value, each in zip(values, course, strict=True)
        ]
    level = 0.0
    for value in values:
        level = keep * level + (1.0 - keep) * value
    return Track(rule, tuple(values), min(level, 1.0), measured=bool(spoken))


def _jumped(values: Mapping[int, float], abrupt: float) -> set[int]:
    """The slots of jumps of a measure that still stand: of which at least half is there in its newest value."""
    found, before, newest = set(), 0.0, values[min(values)]
    for slot in sorted(values, reverse=True):
        if values[slot] - before >= abrupt and newest >= before + (values[slot] - before) / 2:
            found.add(slot)
        before = values[slot]
    return found


def _broken(slots: _BySlot, score: Score) -> frozenset[_Key]:
    """What was last measured as something that is not finite; longer ago than `broken_slots` it is only silent.

    What measured nothing, or too little to count, takes nothing back.
    """
    last: dict[_Key, tuple[datetime, bool, int]] = {}
    for slot, measures in slots.items():
        for measure in measures:
            wrong = not finite(measure)
            if wrong or (measure.lower_bound is not None and measure.n >= score.rules[measure.family].min_n):
                key, found = (measure.family, measure.name), (measure.at, wrong, slot)
                last[key] = max(last.get(key, found), found)
    return frozenset(key for key, (_, wrong, slot) in last.items() if wrong and slot < score.broken_slots)


def _what(measure: Measure) -> _What:
    return measure.family, measure.name, measure.at

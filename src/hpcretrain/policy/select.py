"""Pilots compete: which way of training promises most, and does it promise anything?

They meet on a slice of rows that none of them has learned, and that lies before the rows on which the winner meets the
champion: the luck that makes a winner here does not help it there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcretrain.policy.types import Gate, Policy
from hpcretrain.records import Finding, Outcome
from hpcretrain.stats import metrics

FloatArray = npt.NDArray[np.float64]

CONTEST = "contest:"
"""How the name of a contestant's check begins."""
_PROMISE = "promise"


@dataclass(frozen=True)
class Round:
    """What an earlier selection measured: the primary metric by contestant, on so many rows."""

    values: Mapping[str, float]
    rows: int


@dataclass(frozen=True)
class Contest:
    """Labels and predictions, shape (rows,); contestants by name, in a fixed order.

    `pilots` are the contestants that stand alone, and are no averages. `learned` says that the champion has learned
    some of these rows: then it cannot be compared with here, nor can an average with its fits. `earlier` are the
    selections before this one, oldest first.
    """

    labels: FloatArray
    champion: FloatArray
    contestants: Mapping[str, FloatArray]
    pilots: tuple[str, ...]
    task: str
    primary: str
    guards: tuple[str, ...]
    learned: bool
    earlier: tuple[Round, ...] = ()


@dataclass(frozen=True)
class Ranking:
    """The winner's name, None if no contestant could be measured; and one finding for each check."""

    winner: str | None
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """PASS when the winner promises a gain."""
        return outcome(self.findings)


def outcome(findings: Sequence[Finding]) -> Outcome:
    """Whether the winner of a selection promises a gain; ERROR where no pilot was trained."""
    return next((each.outcome for each in findings if each.check == _PROMISE), Outcome.ERROR)


def select(contest: Contest, policy: Policy) -> Ranking:
    """The contestant that stands best, of those that beat the champion on the primary metric and spare the guards.

    Where none does, the best of those that worsen no guard metric too much is named, or the best of all.
    """
    primary, champion = contest.primary, _value(contest, contest.primary, contest.champion)
    values = {name: _value(contest, primary, scores) for name, scores in contest.contestants.items()}
    standings = _standings(contest, values, policy.training.memory_rows)
    # A champion that has learned these rows looks better on them than it is: no guard could pass.
    fine = [
        name
        for name in standings
        if contest.learned or not _worsens(contest, contest.contestants[name], policy.gate.guard_margin)
    ]
    promising = [name for name in fine if contest.learned or _beats(primary, values[name], champion)]
    # The first of equals: it is the simplest.
    winner = max(promising or fine or standings, key=standings.__getitem__, default=None)
    findings = [_contestant(contest, name, value, standings, fine) for name, value in values.items()]
    return Ranking(winner, (*findings, _promise(contest, winner, values, champion, policy.gate)))


def _standings(contest: Contest, values: Mapping[str, float], memory_rows: int) -> dict[str, float]:
    """By how much each contestant that could be measured was better than the mean pilot, relative, over all selections.

    A selection counts by its rows, and half after `memory_rows` rows of later ones.
    """
    sign = 1 if metrics.named(contest.primary).higher_is_better else -1
    gains = dict.fromkeys((name for name, value in values.items() if math.isfinite(value)), 0.0)
    weights = dict.fromkeys(gains, 0.0)
    since = 0
    for past in (Round(values, len(contest.labels)), *reversed(contest.earlier)):
        pilots = [past.values[name] for name in contest.pilots if math.isfinite(past.values.get(name, math.nan))]
        usual = float(np.mean(pilots)) if pilots else 0.0
        weight = past.rows * 0.5 ** (since / memory_rows)
        for name in gains:
            value = past.values.get(name, math.nan)
            if usual and math.isfinite(value):
                gains[name] += weight * sign * (value - usual) / abs(usual)
                weights[name] += weight
        since += past.rows
    return {name: gains[name] / weights[name] if weights[name] else 0.0 for name in gains}


def _contestant(
    contest: Contest, name: str, value: float, standings: Mapping[str, float], fine: Sequence[str]
) -> Finding:
    outcome = Outcome.PASS if name in fine else Outcome.FAIL if name in standings else Outcome.INSUFFICIENT
    reason = f"{contest.primary} {value:.4g}"
    if name in standings:
        times = 1 + sum(name in past.values for past in contest.earlier)
        side = "better" if standings[name] >= 0 else "worse"
        over = f" over {times} selections" if times > 1 else ""
        reason += f", {100 * abs(standings[name]):.1f} % {side} than the mean pilot{over}"
        reason += "" if name in fine else "; worsens a guard metric"
    return Finding(
        check=f"{CONTEST}{name}", outcome=outcome, reason=reason, observed=value if math.isfinite(value) else None
    )


def _beats(primary: str, value: float, champion: float) -> bool:
    return value > champion if metrics.named(primary).higher_is_better else value < champion


def _value(contest: Contest, metric: str, predictions: FloatArray) -> float:
    return metrics.measure(metric, contest.labels, predictions).value


def _worsens(contest: Contest, predictions: FloatArray, margin: float) -> bool:
    for guard in contest.guards:
        was = _value(contest, guard, contest.champion)
        loss = was - _value(contest, guard, predictions)
        loss = loss if metrics.named(guard).higher_is_better else -loss
        if not loss <= margin * abs(was):
            return True
    return False


def _promise(contest: Contest, winner: str | None, values: Mapping[str, float], champion: float, gate: Gate) -> Finding:
    primary, fewest = contest.primary, metrics.rarer(contest.labels, contest.task)
    if winner is None:
        return Finding(
            check=_PROMISE,
            outcome=Outcome.INSUFFICIENT,
            reason=f"{primary} cannot be measured on these {len(contest.labels)} rows",
        )
    if fewest < gate.min_class_rows:
        return Finding(
            check=_PROMISE,
            outcome=Outcome.INSUFFICIENT,
            reason="too few labels of the rarer class to compete on",
            observed=fewest,
            limit=gate.min_class_rows,
        )
    if contest.learned:
        return Finding(
            check=_PROMISE,
            outcome=Outcome.PASS,
            reason=f"{winner} wins with {primary} {values[winner]:.4g}; the champion has learned rows of this "
            "slice, so only the gate can compare the two, or tell whether averaging helps",
            observed=values[winner],
        )
    better, known = _beats(primary, values[winner], champion), math.isfinite(champion)
    against = f"the champion's {champion:.4g}" if known else "a champion that cannot be measured"
    return Finding(
        check=_PROMISE,
        outcome=Outcome.PASS if better else Outcome.FAIL if known else Outcome.INSUFFICIENT,
        reason=f"{winner} wins with {primary} {values[winner]:.4g} against {against} on {len(contest.labels)} rows"
        + ("; a full fit is not worth its cost" if known and not better else ""),
        observed=values[winner],
        limit=champion if known else None,
    )

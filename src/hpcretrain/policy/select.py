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

from hpcretrain.policy.types import Gate
from hpcretrain.records import Finding, Outcome
from hpcretrain.stats import metrics

FloatArray = npt.NDArray[np.float64]

CHAMPION = "champion"


@dataclass(frozen=True)
class Contest:
    """Labels and predictions, shape (rows,); contestants by name, in a fixed order.

    `learned` says that the champion has learned some of these rows: then it cannot be compared with here, nor can an
    average with its fits.
    """

    labels: FloatArray
    champion: FloatArray
    contestants: Mapping[str, FloatArray]
    primary: str
    guards: tuple[str, ...]
    learned: bool


@dataclass(frozen=True)
class Ranking:
    """The winner's name, None if no contestant could be measured; and one finding for each check."""

    winner: str | None
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> Outcome:
        """PASS when the winner promises a gain."""
        return next(finding.outcome for finding in self.findings if finding.check == "promise")


def select(contest: Contest, gate: Gate) -> Ranking:
    """The contestant that is best on the primary metric, of those that worsen no guard metric by more than its margin.

    Where all worsen a guard, the best of all is named: the gate will say the same on more rows.
    """
    primary, champion = contest.primary, _value(contest, contest.primary, contest.champion)
    values = {name: _value(contest, primary, scores) for name, scores in contest.contestants.items()}
    known = [name for name, value in values.items() if math.isfinite(value)]
    fine = [name for name in known if not _worsens(contest, contest.contestants[name], gate)]
    winner = _best(primary, fine or known, values)
    findings = [
        Finding(
            check=f"contest:{name}",
            outcome=Outcome.PASS if name in fine else Outcome.FAIL if name in known else Outcome.INSUFFICIENT,
            reason=f"{name}: {primary} {value:.4g}"
            + ("" if name in fine or name not in known else "; worsens a guard metric"),
            observed=value if math.isfinite(value) else None,
        )
        for name, value in values.items()
    ]
    return Ranking(winner, (*findings, _promise(contest, winner, values, champion)))


def _best(primary: str, names: Sequence[str], values: Mapping[str, float]) -> str | None:
    sign = 1 if metrics.named(primary).higher_is_better else -1
    # The first of equals: it is the simplest.
    return max(names, key=lambda name: sign * values[name], default=None)


def _value(contest: Contest, metric: str, predictions: FloatArray) -> float:
    return metrics.measure(metric, contest.labels, predictions).value


def _worsens(contest: Contest, predictions: FloatArray, gate: Gate) -> bool:
    for guard in contest.guards:
        was = _value(contest, guard, contest.champion)
        loss = was - _value(contest, guard, predictions)
        loss = loss if metrics.named(guard).higher_is_better else -loss
        if not loss <= gate.guard_margin * abs(was):
            return True
    return False


def _promise(contest: Contest, winner: str | None, values: Mapping[str, float], champion: float) -> Finding:
    primary = contest.primary
    if winner is None:
        return Finding(
            check="promise",
            outcome=Outcome.INSUFFICIENT,
            reason=f"{primary} cannot be measured on these {len(contest.labels)} rows",
        )
    if contest.learned:
        return Finding(
            check="promise",
            outcome=Outcome.PASS,
            reason=f"{winner} wins with {primary} {values[winner]:.4g}; the champion has learned rows of this "
            "slice, so only the gate can compare the two, or tell whether averaging helps",
            observed=values[winner],
        )
    better = math.isfinite(champion) and _best(primary, (CHAMPION, winner), {**values, CHAMPION: champion}) == winner
    return Finding(
        check="promise",
        outcome=Outcome.PASS if better else Outcome.FAIL,
        reason=f"{winner} wins with {primary} {values[winner]:.4g} against the champion's {champion:.4g} on "
        f"{len(contest.labels)} rows" + ("" if better else "; a full fit is not worth its cost"),
        observed=values[winner],
        limit=champion if math.isfinite(champion) else None,
    )

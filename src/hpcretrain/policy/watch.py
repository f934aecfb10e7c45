"""One look at a fresh release: keep it, keep watching, or roll back to the model before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcretrain.policy.types import WatchRules
from hpcretrain.records import Finding, Outcome
from hpcretrain.stats.compare import compare, spend

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sight:
    """Labels since the release, and what the release and the model before it predicted; all of shape (rows,)."""

    labels: FloatArray
    released: FloatArray
    previous: FloatArray
    primary: str
    guards: tuple[str, ...]
    look: int


def conclude(findings: Sequence[Finding], look: int, rules: WatchRules) -> Outcome:
    """PASS keeps the release, WAIT watches on, FAIL rolls back, INSUFFICIENT says nothing yet.

    A roll-back needs the previous model to be better on the primary metric beyond chance, at a level that all looks
    share, and no guard metric on which the release is the better one: a noisy metric alone must not bring back a stale
    model. The first finding is of the primary metric, or says why it could not be compared.
    """
    first, *guards = findings
    if first.outcome is Outcome.INSUFFICIENT:
        return Outcome.INSUFFICIENT
    if first.outcome is Outcome.FAIL and not any(guard.outcome is Outcome.PASS for guard in guards):
        return Outcome.FAIL
    return Outcome.PASS if look >= rules.looks else Outcome.WAIT


def look(sight: Sight, rules: WatchRules) -> tuple[Outcome, tuple[Finding, ...]]:
    """What is concluded from one look, and what it sees."""
    findings = _seen(sight, rules)
    return conclude(findings, sight.look, rules), findings


def _seen(sight: Sight, rules: WatchRules) -> tuple[Finding, ...]:
    """The primary metric, then the guard metrics; or why they cannot be compared yet."""
    n = len(sight.labels)
    if n < rules.min_rows:
        reason = f"{n} matured rows since the release"
        return (
            Finding(check="watch_rows", outcome=Outcome.INSUFFICIENT, reason=reason, observed=n, limit=rules.min_rows),
        )
    broken = int(np.count_nonzero(~np.isfinite(sight.released)))
    if broken:
        reason = f"{broken} of {n} predictions of the release are not finite"
        return (Finding(check="watch_finite", outcome=Outcome.FAIL, reason=reason, observed=broken, limit=0),)
    alpha = spend(rules.alpha, sight.look)
    primary = compare(sight.primary, sight.labels, sight.released, sight.previous, alpha=alpha)
    if not math.isfinite(primary.p_value):
        reason = f"{sight.primary} cannot be compared on {n} rows"
        return (Finding(check=f"worse:{sight.primary}", outcome=Outcome.INSUFFICIENT, reason=reason, limit=alpha),)
    worse = primary.p_value <= alpha
    findings = [
        Finding(
            check=f"worse:{sight.primary}",
            outcome=Outcome.FAIL if worse else Outcome.PASS,
            reason=f"{sight.primary} {primary.old:.4g}, of the model before {primary.new:.4g}, on {n} rows; p that the "
            f"model before is no better, by {primary.method}; look {sight.look}",
            observed=primary.p_value,
            limit=alpha,
        )
    ]
    for guard in sight.guards:
        result = compare(guard, sight.labels, sight.released, sight.previous, alpha=rules.alpha)
        better = result.gain < 0
        findings.append(
            Finding(
                check=f"defended:{guard}",
                outcome=Outcome.PASS if better else Outcome.FAIL,
                reason=f"{guard} {result.old:.4g}, of the model before {result.new:.4g}; gain by the release",
                observed=-result.gain if math.isfinite(result.gain) else None,
                limit=0,
            )
        )
    return tuple(findings)

"""Whether the site bears another training: it must answer, and leave enough for what serves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hpcretrain.evidence import Finding, Outcome
from hpcretrain.policy.types.admission import Headroom


@dataclass(frozen=True)
class Serving:
    """The newest that was heard of a signal of the family "serving": how much worse than usual, and when."""

    name: str
    at: datetime
    effect: float | None


def site(
    outlook: Sequence[Finding], serving: Serving | None, rules: Headroom | None, now: datetime
) -> tuple[Finding, ...]:
    """Findings "cluster", and as the policy asks "headroom:serving" and "headroom:load".

    Args:
        outlook: What the cluster tells of the class, "load" among it.
        serving: The newest of the signal that the policy names; None where none was heard.
        rules: The policy's; None where nothing is to be left.
        now: The time.
    """
    answers = not any(finding.outcome in (Outcome.INSUFFICIENT, Outcome.ERROR) for finding in outlook)
    silent = next((finding.reason for finding in outlook if finding.outcome is not Outcome.PASS), "")
    cluster = Finding(
        check="cluster",
        outcome=Outcome.PASS if answers and outlook else Outcome.WAIT,
        reason="what trains answers" if answers and outlook else f"what trains does not answer: {silent or 'nothing'}",
    )
    if rules is None:
        return (cluster,)
    found = [cluster]
    if rules.signal is not None:
        found.append(_serving(serving, rules, now))
    if rules.load is not None:
        load = next((finding for finding in outlook if finding.check == "load"), None)
        found.append(_load(load, rules.load))
    return tuple(found)


def _serving(serving: Serving | None, rules: Headroom, now: datetime) -> Finding:
    assert rules.most is not None
    assert rules.fresh_hours is not None
    check, limit = "headroom:serving", rules.most
    if serving is None or serving.effect is None or not math.isfinite(serving.effect):
        reason = f"{rules.signal} was not heard, and what is not known is not enough; have it observed"
        return Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=reason, limit=limit)
    if now - serving.at > timedelta(hours=rules.fresh_hours):
        reason = f"{rules.signal} was heard last at {serving.at:%Y-%m-%d %H:%M}, too long ago to count"
        return Finding(
            check=check, outcome=Outcome.INSUFFICIENT, reason=reason, observed=serving.effect, limit=limit
        )  # fmt: skip
    return Finding(
        check=check,
        outcome=Outcome.PASS if serving.effect <= rules.most else Outcome.WAIT,
        reason=f"how much worse {rules.signal} is than usual",
        observed=serving.effect,
        limit=limit,
    )


def _load(load: Finding | None, most: float) -> Finding:
    check = "headroom:load"
    if load is None or not isinstance(load.observed, int | float) or not isinstance(load.limit, int | float):
        reason = load.reason if load else "nothing tells how full the cluster is"
        return Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=reason, limit=most)
    share = load.observed / load.limit if load.limit > 0 else 1.0
    outcome = Outcome.PASS if share <= most else Outcome.WAIT
    return replace(load, check=check, outcome=outcome, observed=share, limit=most)

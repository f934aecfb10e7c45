"""Windows of low traffic, for machines and for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from hpcretrain.canonical import plain
from hpcretrain.policy.duration import Need
from hpcretrain.policy.types import Windows
from hpcretrain.policy.windows import Plan
from hpcretrain.records import Finding
from hpcretrain.stats.traffic import Series


@dataclass(frozen=True)
class Found:
    """What a file of traffic says.

    Attributes:
        now: The moment that is planned from, in UTC.
        hours: Length of a window.
        rules: The policy's.
        past: The slots before `now`.
        plan: Windows and findings.
        need: What must fit in.
        fit: Whether it does.
    """

    now: datetime
    hours: float
    rules: Windows
    past: Series
    plan: Plan
    need: Need
    fit: Finding


def windows_json(found: Found) -> dict[str, Any]:
    """See docs/reference/json.md."""
    reason = found.plan.insufficient_history
    return {
        "now": plain(found.now),
        "time_zone": found.rules.time_zone,
        "hours": found.hours,
        "windows": [plain(asdict(window)) for window in found.plan.windows],
        **({} if reason is None else {"insufficient_history": reason}),
        "history": {
            "start": _moment(found.past.first_s),
            "end": _moment(found.past.end_s),
            "slot_minutes": found.past.slot_s / 60,
            "slots": len(found.past.values),
            "gaps": int(np.isnan(found.past.values).sum()),
        },
        "needs": {**asdict(found.need), "total_h": found.need.total_h},
        "findings": [plain(finding) for finding in (*found.plan.findings, found.fit)],
    }


def windows_text(found: Found) -> str:
    """A table in local time, and what was checked."""
    zone = found.rules.zone
    lines = [f"planned from {found.now.astimezone(zone):%Y-%m-%d %H:%M}, times are those of {found.rules.time_zone}"]
    if found.plan.windows:
        lines += ["", "day             from    until   expected traffic   9 days of 10 below"]
    for window in found.plan.windows:
        start, end = window.start.astimezone(zone), window.end.astimezone(zone)
        lines.append(
            f"{start:%a %Y-%m-%d}  {start:%H:%M}   {end:%H:%M}   "
            f"{window.expected_share:>10.0%} of mean {window.high_share:>13.0%}"
        )
    if found.plan.insufficient_history is not None:
        lines.append(f"insufficient history: {found.plan.insufficient_history}")
    lines += ["", *(f"{each.outcome.value:<13} {each.check}: {each.reason}" for each in _findings(found))]
    return "\n".join(lines)


def _findings(found: Found) -> tuple[Finding, ...]:
    return *found.plan.findings, found.fit


def _moment(seconds: int) -> Any:
    return plain(datetime.fromtimestamp(seconds, UTC))

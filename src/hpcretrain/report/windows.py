"""Windows of low traffic, for machines and for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from hpcretrain.canonical import plain
from hpcretrain.policy.duration import Need
from hpcretrain.policy.types import Windows
from hpcretrain.policy.windows import LowTraffic, Plan
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
        lines += ["", *_table(found.plan.windows, zone)]
    if found.plan.insufficient_history is not None:
        lines.append(f"insufficient history: {found.plan.insufficient_history}")
    lines += ["", *(f"{each.outcome.value:<13} {each.check}: {each.reason}" for each in _findings(found))]
    return "\n".join(lines)


def _table(windows: Sequence[LowTraffic], zone: ZoneInfo) -> list[str]:
    spans = [(window.start.astimezone(zone), window.end.astimezone(zone)) for window in windows]
    clocks = [[_clock(at, offset=_turns(*span)) for at in span] for span in spans]
    wide = max(len(clock) for pair in clocks for clock in pair) + 3
    lines = [f"day             {'from':<{wide}}{'until':<{wide}}expected traffic   9 days of 10 below"]
    for window, (start, _), (begin, end) in zip(windows, spans, clocks, strict=True):
        share = f"{window.expected_share:>10.0%} of mean {window.high_share:>13.0%}"
        lines.append(f"{start:%a %Y-%m-%d}  {begin:<{wide}}{end:<{wide}}{share}")
    return lines


def _turns(start: datetime, end: datetime) -> bool:
    """Whether clocks are set on a day of a window."""
    midnight = datetime.combine(start, time(), start.tzinfo)
    return midnight.utcoffset() != datetime.combine(end + timedelta(days=1), time(), start.tzinfo).utcoffset()


def _clock(at: datetime, *, offset: bool) -> str:
    return f"{at:%H:%M}" + (at.isoformat()[-6:] if offset else "")


def _findings(found: Found) -> tuple[Finding, ...]:
    return *found.plan.findings, found.fit


def _moment(seconds: int) -> Any:
    return plain(datetime.fromtimestamp(seconds, UTC))

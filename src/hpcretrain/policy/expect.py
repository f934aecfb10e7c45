"""When what waits will begin: an estimate from the order, what runs, and what must come first; None is unknown."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcretrain.backlog import Running, Waiting
from hpcretrain.evidence import Outcome, PriorityClass
from hpcretrain.policy.types.admission import Admission

_ROOM = ("running:", "hours:")
"""Checks that time alone mends, at a time that can be reckoned: slots become free, and a month begins."""


@dataclass(frozen=True)
class Turn:
    """A request in the order of turns.

    Attributes:
        request: The request.
        lacking: Checks that do not pass now, with their outcomes.
    """

    request: Waiting
    lacking: Mapping[str, Outcome]


def starts(
    turns: Sequence[Turn], running: Sequence[Running], rules: Admission, now: datetime, next_month: datetime
) -> list[datetime | None]:
    """When each request is expected to begin, in the order given.

    Each takes the first slot of its class, and of all, that becomes free. What waits for something whose end nobody
    knows is unknown, and takes no slot; a training without an expected end never gives its slot back.

    Args:
        turns: Requests in order.
        running: Trainings under way.
        rules: The policy's.
        now: The time.
        next_month: When the budgets begin anew.

    Returns:
        One for each request; `now` for what may begin at once.
    """
    never = datetime.max.replace(tzinfo=now.tzinfo)
    ends: dict[PriorityClass, list[datetime]] = {each.request.priority_class: [] for each in turns}
    for one in running:
        ends.setdefault(one.priority_class, []).append(one.ends or never)
    of_class = {each: _slots(rules.of(each).most_running, known, now) for each, known in ends.items()}
    of_all = _slots(rules.most_running, [one.ends or never for one in running], now)
    found: list[datetime | None] = []
    for each in turns:
        request = each.request
        begins = _not_before(each, now, next_month)
        slots = of_class[request.priority_class]
        at = max(begins, slots[0], of_all[0]) if begins else never
        if at >= never:
            found.append(None)
            continue
        until = at + timedelta(hours=request.hours)
        heapq.heapreplace(slots, until)
        heapq.heapreplace(of_all, until)
        found.append(at)
    return found


def _slots(count: int, ends: Sequence[datetime], now: datetime) -> list[datetime]:
    """When each slot becomes free, as a heap; where more run than may, the last to end free them."""
    free = sorted((max(end, now) for end in ends), reverse=True)[:count]
    heap = [*free, *([now] * (count - len(free)))]
    heapq.heapify(heap)
    return heap


def _not_before(turn: Turn, now: datetime, next_month: datetime) -> datetime | None:
    """The earliest time that what does not depend on slots allows; None where nobody can tell."""
    begins = max(now, turn.request.not_before or now)
    if turn.request.lacks is not None and turn.request.not_before is None:
        return None
    for check, outcome in turn.lacking.items():
        if outcome is not Outcome.WAIT or not check.startswith(_ROOM):
            return None
        if check.startswith("hours:"):
            begins = max(begins, next_month)
    return begins

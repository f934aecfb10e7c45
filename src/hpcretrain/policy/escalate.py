"""Which stage takes longer than it may, and who is to be told: nothing is left hanging.

The first tier is told once a stage has taken its limit, each further one when so many times more time has passed.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcretrain.history import History
from hpcretrain.policy.types import Deadlines, Policy
from hpcretrain.records import Asked


class StageName(enum.Enum):
    """The stages that have a deadline."""

    WAITING = "waiting"
    APPROVAL = "approval"
    QUEUE = "queue"
    TRAINING = "training"
    WATCH = "watch"
    REVIEW = "review"


@dataclass(frozen=True)
class Stretch:
    """A stage that something is in.

    Attributes:
        stage: The stage.
        subject: Identifier of what is in it.
        since: Since when.
        limit_h: How long it may take, in hours; None for as long as it likes.
    """

    stage: StageName
    subject: str
    since: datetime
    limit_h: float | None


@dataclass(frozen=True)
class Escalation:
    """A stage that takes too long: the highest tier that is to be told.

    Attributes:
        tier: From 1.
        stretch: What takes too long.
        hours: How long it has taken.
    """

    tier: int
    stretch: Stretch
    hours: float

    @property
    def id(self) -> str:
        """Its identifier: the same while the tier is."""
        return f"overrun:{self.stretch.stage.value}:{self.stretch.subject}:{self.tier}"


def escalate(history: History, policy: Policy, now: datetime, *, queued: bool = False) -> tuple[Escalation, ...]:
    """All stages that take too long.

    Args:
        history: The state of the model.
        policy: The policy.
        now: The time.
        queued: Whether none of the jobs that are under way has begun.
    """
    rules = policy.deadlines or Deadlines()
    found = ((stretch, tier(stretch, rules, now)) for stretch in stretches(history, rules, now, queued=queued))
    return tuple(
        Escalation(at, stretch, (now - stretch.since) / timedelta(hours=1)) for stretch, at in found if at is not None
    )


def tier(stretch: Stretch, rules: Deadlines, now: datetime) -> int | None:
    """Who is to be told by now, from 1; None while it is in time."""
    hours = (now - stretch.since) / timedelta(hours=1)
    if stretch.limit_h is None or hours < stretch.limit_h:
        return None
    return min(rules.tiers, 1 + math.floor(math.log(hours / stretch.limit_h) / math.log(rules.tier_factor) + 1e-9))


def stretches(history: History, rules: Deadlines, now: datetime, *, queued: bool = False) -> Iterator[Stretch]:
    """The stages that things are in now."""
    for cycle in history.cycles:
        if cycle.review is not None:
            continue
        open_asks = [ask for ask in cycle.asks[-1:] if cycle.answer(ask) is None and now < ask.expires_at]
        awaits_release = bool(open_asks) and cycle.run is not None
        if cycle.run is None:
            yield Stretch(StageName.WAITING, cycle.request.id, cycle.request.at, rules.waiting_h)
        elif cycle.release is not None:
            yield Stretch(StageName.WATCH, cycle.release.id, cycle.release.at, rules.watch_h)
        elif not awaits_release:
            yield Stretch(StageName.TRAINING, cycle.request.id, cycle.run.at, rules.training_h)
            if queued and cycle is history.training:
                yield Stretch(StageName.QUEUE, cycle.request.id, cycle.run.at, rules.queue_h)
        for ask in open_asks:
            yield Stretch(StageName.APPROVAL, ask.id, ask.at, rules.approval_h)
    for ask, _ in history.open_asks(now):
        if ask.asked is Asked.POLICY:
            yield Stretch(StageName.APPROVAL, ask.id, ask.at, rules.approval_h)
    if broken := history.review_owed:
        limit_h = (broken.review_by - broken.at) / timedelta(hours=1)
        yield Stretch(StageName.REVIEW, broken.id, broken.at, limit_h)

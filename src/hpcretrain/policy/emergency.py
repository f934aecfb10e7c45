"""Breaking the glass: what an emergency sets aside, for how long, and that somebody else looks at it afterwards.

It sets aside approvals and what makes a request wait for its turn; never a check of data or of a model, nor a stop, nor
what is kept free for serving. Until somebody else has reviewed it, nobody breaks the glass again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hpcretrain.messages import Person
from hpcretrain.records import BreakGlass, Finding, Outcome

SKIPS = frozenset({"approval", "cooldown", "budget", "hours", "risk", "window", "running", "worth"})
"""The checks that it sets aside where they say to wait, by the name before the colon."""


def accept(right: Finding, owed: BreakGlass | None, ends: str | None, now: datetime) -> tuple[Finding, ...]:
    """Whether the glass may be broken; every check.

    Args:
        right: Whether the person may.
        owed: What was done before and is not reviewed yet.
        ends: What the request came to already; None where it can still be helped.
        now: The time.
    """
    return (
        replace(right, check="break_glass:right"),
        Finding(
            check="break_glass:reviewed",
            outcome=Outcome.FAIL if owed else Outcome.PASS,
            reason=f"{owed.actor} broke the glass, and nobody has reviewed it: `hpcretrain review {owed.id}`, by "
            "somebody else"
            if owed
            else "nothing awaits a review",
            observed=owed.id if owed else None,
        ),
        Finding(
            check="break_glass:subject",
            outcome=Outcome.PASS if ends is None else Outcome.FAIL,
            reason="the request waits, or what it came to does" if ends is None else f"the request {ends} already",
            observed=now.isoformat(timespec="seconds"),
        ),
    )


def holding(broken: Sequence[BreakGlass], now: datetime) -> BreakGlass | None:
    """What of it counts now."""
    return next((each for each in reversed(broken) if each.at <= now < each.expires_at), None)


def set_aside(findings: Sequence[Finding], broken: BreakGlass) -> tuple[Finding, ...]:
    """The findings of a decision, once what makes it wait for its turn is set aside."""
    return tuple(
        replace(each, outcome=Outcome.PASS, reason=f"{each.reason}; set aside: {broken.actor} broke the glass")
        if each.check.partition(":")[0] in SKIPS and each.outcome in (Outcome.WAIT, Outcome.INSUFFICIENT)
        else each
        for each in findings
    )


def expiry(now: datetime, minutes: float) -> datetime:
    """Until when it counts."""
    return now + timedelta(minutes=minutes)


def may_review(person: Person, right: Finding, broken: BreakGlass, reviewed: bool) -> tuple[Finding, ...]:
    """Whether somebody's review counts; every check."""
    other = person.name != broken.actor
    return (
        replace(right, check="review:right"),
        Finding(
            check="review:other",
            outcome=Outcome.PASS if other else Outcome.FAIL,
            reason=f"who broke the glass does not review it; ask {right.limit}",
            observed=person.name,
            limit=f"not {broken.actor}",
        ),
        Finding(
            check="review:owed",
            outcome=Outcome.FAIL if reviewed else Outcome.PASS,
            reason="it is reviewed already" if reviewed else "nobody has reviewed it",
            observed=broken.id,
        ),
    )

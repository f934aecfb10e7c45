"""Emergency: record that somebody broke the glass for a request, and what somebody else says of it afterwards."""

from __future__ import annotations

from datetime import timedelta

from hpcretrain.errors import InputError
from hpcretrain.messages import Message, Person
from hpcretrain.policy.emergency import expiry
from hpcretrain.records import BreakGlass, GlassReview, RetrainRequest
from hpcretrain.steps.desk import Desk


def break_glass(desk: Desk, message: Message, person: Person, request: RetrainRequest, right: str) -> BreakGlass:
    """Record that somebody broke the glass for a request."""
    rules = desk.terms.policy.break_glass
    assert rules is not None
    broken = BreakGlass(
        model=request.model,
        at=desk.now,
        answers=(request.id,),
        actor=person.name,
        reason=message.reason,
        right=right,
        identity=person.identity,
        token=message.id,
        expires_at=expiry(desk.now, rules.minutes),
        review_by=desk.now + timedelta(hours=rules.review_h),
    )
    desk.book.enter(broken)
    return broken


def review(desk: Desk, message: Message, person: Person, broken: BreakGlass, right: str) -> GlassReview:
    """Record what somebody says of it afterwards."""
    said = GlassReview(
        model=broken.model,
        at=desk.now,
        answers=(broken.id,),
        actor=person.name,
        reason=message.reason,
        right=right,
        identity=person.identity,
        token=message.id,
    )
    desk.book.enter(said)
    return said


def find(desk: Desk, subject: str) -> BreakGlass:
    """What is to be reviewed, named by its identifier, the beginning of it, or its request.

    Raises:
        InputError: There is none, or several.
    """
    fit = [each for each in desk.history.broken if each.id.startswith(subject) or subject in each.answers]
    if len(fit) != 1:
        count = "nothing" if not fit else f"{len(fit)} times"
        raise InputError(
            f"{count} was the glass broken as {subject} in this home; `hpcretrain status` shows what is owed"
        )
    return fit[0]

"""Review: close a cycle with its cost and gain."""

from __future__ import annotations

from hpcretrain.cycle import Cycle
from hpcretrain.policy.review import no_gain
from hpcretrain.records import Closing, Finding, Review
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.show import show

_WHY = {
    Closing.ROLLED_BACK: "nothing was measured: somebody took it back before its watch came to an end",
    Closing.DROPPED: "nothing was trained: the reason had gone",
    Closing.REJECTED: "nothing was released: the candidate did not pass",
    Closing.CANCELED: "nothing was released: somebody ended it",
    Closing.SUPERSEDED: "nothing was released: something more urgent, or newer data, took its place",
}


def close(desk: Desk, cycle: Cycle, closing: Closing, by: str, gain: Finding | None = None) -> None:
    """Record the end of a cycle.

    Args:
        desk: The desk.
        cycle: The cycle that ends.
        closing: How it ends.
        by: Identifier of the decision, verdict or watch that ended it.
        gain: The measured gain of what was released; None when nothing was.
    """
    review = Review(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=(cycle.request.id, by),
        closing=closing,
        cost_mrow_passes=sum(job.cost_mrow_passes for job in cycle.jobs),
        gain=gain or no_gain(_WHY[closing]),
    )
    desk.book.enter(review)
    show(desk, review)

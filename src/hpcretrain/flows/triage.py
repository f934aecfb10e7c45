"""Decide about a retraining that is called for."""

from __future__ import annotations

from hpcretrain.flows.approval import await_approval
from hpcretrain.flows.names import WHATEVER
from hpcretrain.flows.running import home_flow, steered
from hpcretrain.flows.runs import end_duplicates
from hpcretrain.flows.steps import Reference, tell, weigh


@home_flow("triage", "triage of {assessment}")
def triage(
    home: str,
    assessment: str = WHATEVER,
    score: int = 0,
    priority_class: str = "standard",
    families: list[str] | None = None,
) -> Reference:
    """Request and decide, once for each assessment however often it is called.

    A training that must be approved suspends the run until somebody answered.

    What is done follows from the ledger alone; everything but `home` is there to be seen.

    Args:
        home: Folder of the home that lives.
        assessment: The record that called for it.
        score: Its score, 0 to 1000.
        priority_class: The class that it asks for.
        families: The families of signals that led to it.
    """
    decided = weigh(home)
    tell(home)
    if steered():
        end_duplicates(home, "triage")
    return await_approval(home, "run", decided, weigh)

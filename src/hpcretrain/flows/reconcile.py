"""Bring everything to the truth: what is due is done, what is new is told, and Prefect's runs follow the ledger."""

from __future__ import annotations

from hpcretrain.flows.running import home_flow, steered
from hpcretrain.flows.runs import KINDS_ALIKE, align, end_duplicates, heed_cancellations
from hpcretrain.flows.steps import Reference, catch_up, tell


@home_flow("reconcile", "reconcile")
def reconcile(home: str) -> Reference:
    """Do what is due at whatever step it stopped; whoever was killed, nothing is lost or done twice.

    Args:
        home: Folder of the home that lives.
    """
    if steered():
        end_duplicates(home, *KINDS_ALIKE)
        heed_cancellations(home)
    came = catch_up(home)
    tell(home)
    if steered():
        align(home, came)
    return came

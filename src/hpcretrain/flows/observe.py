"""Look at the batches that are due: signals, an assessment, and the event that starts a triage if one is called for."""

from __future__ import annotations

from hpcretrain.flows.running import home_flow
from hpcretrain.flows.steps import Reference, look, tell


@home_flow("observe", "observe")
def observe(home: str) -> Reference:
    """Record what the newest batches say about the model of a home.

    Args:
        home: Folder of the home that lives.
    """
    seen = look(home)
    tell(home)
    return seen

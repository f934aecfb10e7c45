"""Release the candidate that passed its gates, or reject it."""

from __future__ import annotations

from hpcretrain.flows.approval import await_approval
from hpcretrain.flows.names import WHATEVER
from hpcretrain.flows.running import home_flow
from hpcretrain.flows.steps import Reference, conclude, tell


@home_flow("release", "release for {request}")
def release(home: str, request: str = WHATEVER) -> Reference:
    """Conclude the training that came to its end; one that must be approved suspends the run until somebody answered.

    Args:
        home: Folder of the home that lives.
        request: The request that was trained for.
    """
    came = conclude(home)
    tell(home)
    return await_approval(home, "release", came, conclude)

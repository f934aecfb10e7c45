"""Release the candidate that passed its gates, or reject it."""

from __future__ import annotations

from hpcretrain.flows.running import home_flow
from hpcretrain.flows.steps import Reference, conclude, tell


@home_flow("release", "release for {request}")
def release(home: str, request: str = "whatever is open") -> Reference:
    """Conclude the training that came to its end.

    Args:
        home: Folder of the home that lives.
        request: The request that was trained for.
    """
    came = conclude(home)
    tell(home)
    return came

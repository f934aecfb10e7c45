"""A step of `prefect deploy`: what `prefect.yaml` has to know of a home."""

from __future__ import annotations

from functools import cache

from hpcretrain.adapters.home import default_home
from hpcretrain.adapters.prefect import check_home
from hpcretrain.flows.deployments import wanted
from hpcretrain.flows.names import KINDS, flow_name


@cache
def home(pool: str) -> dict[str, str]:
    """Look at the home that HPCRETRAIN_HOME names (or `.hpcretrain/`).

    Args:
        pool: The work pool.

    Returns:
        Its `id`, its `path`, and the description of each flow's deployments by the flow's name.

    Raises:
        InputError: It does not live, nothing was set up for it, or it or the pool is somebody else's.
        PrefectError: The server does not answer, or refuses.
    """
    path = default_home().resolve()
    meant = wanted(path, pool)
    check_home(meant)
    described = {each.flow: each.description for each in meant.deployments}
    return {"id": meant.ours.home, "path": str(path), **{kind: described[flow_name(kind)] for kind in KINDS}}

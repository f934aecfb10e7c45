"""Look after a fresh release: keep it, or take it back where it disappoints."""

from __future__ import annotations

from hpcretrain.flows.running import home_flow
from hpcretrain.flows.steps import Reference, look, tell


@home_flow("watch", "watch")
def watch(home: str) -> Reference:
    """Take the looks at a fresh release that are due; a release that disappoints is taken back at once.

    Looks are taken on the batches that are due, so this is what `observe` does too; it has a schedule of its own.

    Args:
        home: Folder of the home that lives.
    """
    seen = look(home)
    tell(home)
    return seen

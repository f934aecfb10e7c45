"""Write up what was done and what came of it."""

from __future__ import annotations

from hpcretrain.flows.running import home_flow
from hpcretrain.flows.steps import tell, write_page


@home_flow("review", "review")
def review(home: str) -> str:
    """Write the page about a home, with the costs and gains of its cycles.

    Args:
        home: Folder of the home that lives.

    Returns:
        The page's path.
    """
    page = write_page(home)
    tell(home)
    return page

"""Tells people by a notification block of the Prefect server that this user works with."""

from __future__ import annotations

import asyncio

from hpcretrain.adapters.prefect import reach
from hpcretrain.config.routes import PrefectRoute
from hpcretrain.report.notices import Notice


def send(route: PrefectRoute, notice: Notice) -> None:
    """Send a notice.

    Raises:
        InputError: No server is configured.
        Exception: Whatever the block raises: it was not taken.
    """
    # Without a server Prefect would start one of its own, in which there is no block.
    reach()
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    block = Block.load(route.block)
    if not isinstance(block, NotificationBlock):
        raise ValueError(f"block {route.block} tells nobody: it is no notification block")
    coming = block.notify(f"{notice.text}\n\nWhat to do: {notice.next}", notice.title)
    if coming is not None:
        asyncio.run(coming)

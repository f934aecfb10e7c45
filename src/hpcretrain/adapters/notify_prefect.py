"""Tells people by a notification block of the Prefect server that this user works with."""

from __future__ import annotations

import asyncio

from hpcretrain.config.routes import PrefectRoute
from hpcretrain.report.notices import Notice


def send(route: PrefectRoute, notice: Notice) -> None:
    """Send a notice.

    Raises:
        Exception: Whatever the block raises: it was not taken.
    """
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    block = Block.load(route.block)
    if not isinstance(block, NotificationBlock):
        raise ValueError(f"block {route.block} tells nobody: it is no notification block")
    coming = block.notify(f"{notice.text}\n\nWhat to do: {notice.next}", notice.title)
    if coming is not None:
        asyncio.run(coming)

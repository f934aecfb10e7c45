from __future__ import annotations

from prefect_server import own_server, prefect_server

__all__ = ["own_server", "prefect_server"]

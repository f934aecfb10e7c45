"""hpcretrain keeps models fresh on a Slurm cluster without hurting production inference."""

from __future__ import annotations

from typing import Any

__all__ = ["read_status", "run_backtest", "run_demo"]


def __getattr__(name: str) -> Any:
    # Loaded when used: the wiring pulls in the whole package, and the command line should start at once.
    if name in __all__:
        from hpcretrain import wiring

        return getattr(wiring, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

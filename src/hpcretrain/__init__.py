"""hpcretrain keeps models fresh on a Slurm cluster without hurting production inference."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "approve",
    "asked",
    "cancel",
    "deny",
    "explain",
    "read_notes",
    "read_records",
    "read_status",
    "request",
    "run_backtest",
    "run_demo",
    "start_live",
    "tick",
]

_WHERE = {
    "explain": "reading",
    "read_notes": "reading",
    "read_records": "reading",
    "read_status": "wiring",
    "run_backtest": "wiring",
    "run_demo": "wiring",
    "start_live": "livehome",
}


def __getattr__(name: str) -> Any:
    # Loaded when used: some of it pulls in the whole package, and the command line should start at once.
    if name in __all__:
        return getattr(import_module(f"hpcretrain.{_WHERE.get(name, 'ways')}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

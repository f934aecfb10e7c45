"""Packages that other packages take along where they are installed, and that serve nothing in our own programs.

whylogs and LightGBM import scikit-learn, and LightGBM Dask, to support them: more than a second of CPU in each process.
"""

from __future__ import annotations

import sys

_OPTIONAL = ("sklearn", "dask")


def leave_out(*names: str) -> None:
    """Have these packages be missing in this process until `bring_back`, unless they are imported already.

    Only for a process that is ours alone, since what supports them goes on without them. A `None` in `sys.modules` is
    Python's way to say so (The Python Language Reference, 5.3.1 "The module cache").
    """
    for name in names:
        sys.modules.setdefault(name, None)  # type: ignore[arg-type]


def bring_back() -> None:
    """Have them be found again, as a user's code expects."""
    for name in _OPTIONAL:
        if name in sys.modules and sys.modules[name] is None:
            del sys.modules[name]

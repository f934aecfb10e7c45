"""When files were written last that a model is to be trained after."""

from __future__ import annotations

import glob
import os
from datetime import UTC, datetime
from pathlib import Path

PREFIX = "file:"


def modified(folder: Path, name: str) -> datetime | None:
    """When the newest of the files was written that "file:PATTERN" names, relative to `folder`; None without any."""
    pattern = os.path.join(glob.escape(str(folder)), name.removeprefix(PREFIX))
    times = []
    for path in glob.glob(pattern, recursive=True):
        try:
            times.append(os.stat(path).st_mtime)
        except OSError:
            return None
    return datetime.fromtimestamp(max(times), UTC) if times else None

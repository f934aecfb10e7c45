"""Copies of SQLite databases that others may be writing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from hpcretrain.errors import HpcretrainError


def copy(database: Path, target: Path) -> None:
    """Copy a database as it stands between two of its transactions.

    Raises:
        HpcretrainError: It cannot be read, or the copy cannot be written.
    """
    try:
        with (
            closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", uri=True, timeout=30)) as source,
            closing(sqlite3.connect(target)) as made,
        ):
            source.backup(made)
    except sqlite3.Error as error:
        raise HpcretrainError(f"{database} cannot be copied: {error}") from error

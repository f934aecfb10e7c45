"""Ledgers as earlier versions kept them, in SQLite: to be read, checked, and turned into the form of today."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

from hpcretrain.adapters.ledger_rows import CHAINS, END, genesis, line, link
from hpcretrain.errors import LedgerDamagedError, LedgerError

_ROWS = 1000


def database_of(ledger: Path) -> Path:
    """Where an earlier version kept a ledger."""
    return ledger.with_name("ledger.db")


def kept_before(ledger: Path) -> bool:
    """Whether a ledger is there in the form of an earlier version only."""
    return not ledger.exists() and database_of(ledger).exists()


def open_rows(ledger: Path) -> IO[bytes]:
    """A ledger to be read, in the form of today, whatever version kept it.

    Raises:
        OSError: It cannot be opened.
        LedgerError: One of an earlier version cannot be read.
    """
    return in_lines(ledger) if kept_before(ledger) else ledger.open("rb")


def in_lines(ledger: Path) -> IO[bytes]:
    """The ledger of an earlier version in the form of today, in a nameless file.

    Raises:
        LedgerError: It cannot be read.
        LedgerDamagedError: It is not what was written.
    """
    path = database_of(ledger)
    # What names it is closed when it goes.
    file = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with closing(_reading(path)) as database:
            wrong = [row[0] for row in database.execute("PRAGMA integrity_check") if row[0] != "ok"]
            if wrong:
                raise LedgerDamagedError(f"{path} is damaged: {'; '.join(wrong[:3])}")
            for chain in CHAINS:
                file.writelines(_writes(_lines(database, chain, path)))
    except (sqlite3.Error, UnicodeError, ValueError) as error:
        file.close()
        damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN)
        kind = LedgerDamagedError if damaged else LedgerError
        raise kind(f"{path} cannot be read as a ledger: {error}") from error
    except LedgerError:
        file.close()
        raise
    file.flush()
    return file


def _writes(rows: Iterator[bytes]) -> Iterator[bytes]:
    """Rows by so many, each with the mark that ends a write."""
    while written := list(itertools.islice(rows, _ROWS)):
        yield b"".join([*written, END])


def _reading(path: Path) -> sqlite3.Connection:
    # Not `mode=ro`: after a crash in the middle of a commit SQLite has to undo that commit before anything can be read.
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=30)
    database.execute("PRAGMA query_only = ON")
    return database


def _lines(database: sqlite3.Connection, chain: str, path: Path) -> Iterator[bytes]:
    # What is left out below is checked here; the rest is covered by the hashes, which are checked with the new form.
    previous = genesis(chain)
    for seq, name, body, before, digest in database.execute(
        f"SELECT seq, name, body, previous, hash FROM {chain} ORDER BY seq"
    ):
        if before != previous or digest != link(before, seq, name, body):
            raise LedgerDamagedError(f"row {seq} of {chain} in {path} was altered, or one before it is missing")
        yield line(chain, seq, name, body, digest)
        previous = digest

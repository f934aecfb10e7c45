"""The ledger: two append-only, hash-chained logs in one SQLite database.

`decisions` holds records, whose bytes depend on the inputs alone; its head is the `ledger_head`. `operations` holds
notes of what happened in the world, with wall-clock times. Each row's hash covers its place, its content and the hash
before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcretrain.canonical import canonical
from hpcretrain.errors import LedgerDamagedError, LedgerError
from hpcretrain.ports import Note
from hpcretrain.records import Finding, Outcome, Record, parse

CHAINS = ("decisions", "operations")

# What reading JSON that somebody else wrote can raise.
_UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)

_TABLE = """\
CREATE TABLE IF NOT EXISTS {chain} (
    seq INTEGER PRIMARY KEY, name TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS {chain}_by_name ON {chain} (name);
"""


def _content(serves: str, facts: Mapping[str, Any]) -> str:
    return canonical({**facts, "serves": serves, "at": datetime.now(UTC).isoformat()})


def genesis(chain: str) -> str:
    """The hash that stands before the first row of a chain."""
    return hashlib.sha256(f"hpcretrain {chain}".encode()).hexdigest()


def link(previous: str, seq: int, name: str, body: str) -> str:
    """The hash of a row: it covers every stored column, bytes that are no UTF-8 (as surrogate escapes) included."""
    content = "\n".join((previous, str(seq), name, body))
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def anchor_path(database: Path) -> Path:
    """The file beside a ledger that tells where its chains end."""
    return database.with_name("anchor.json")


def _reading(path: Path) -> sqlite3.Connection:
    # Not `mode=ro`: after a crash in the middle of a commit SQLite has to undo that commit before anything can be read.
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=30)
    database.execute("PRAGMA query_only = ON")
    return database


def _kind(error: Exception) -> type[LedgerError]:
    """Whether it may go better another time (locked, full, unreadable now), or the file itself is damaged."""
    damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return LedgerDamagedError if damaged else LedgerError


class SqliteLedger:
    """The `Ledger` port over a SQLite file.

    Raises:
        LedgerError: It cannot be opened.
        LedgerDamagedError: It is no ledger, or (when opened to be written) its end was cut off.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        try:
            if read_only:
                self._db = _reading(path)
            else:
                os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
                self._db = sqlite3.connect(path, isolation_level=None, timeout=30)
                # With a rollback journal all is in one file once a transaction ends; FULL syncs before it does. What is
                # left beside it is void, and spares making a file each time.
                self._db.execute("PRAGMA journal_mode = PERSIST")
                self._db.execute("PRAGMA synchronous = FULL")
                for chain in CHAINS:
                    self._db.executescript(_TABLE.format(chain=chain))
        except (sqlite3.Error, OSError) as error:
            raise _kind(error)(f"ledger {path} cannot be opened: {error}") from error
        if not read_only:
            self._check_end()

    def append(self, records: Sequence[Record], note: Note | None = None) -> None:
        """Write records down, and with them perhaps a note, all or none; a record that is there is not written twice.

        Raises:
            LedgerError: One is there with another content, or the database cannot be written; nothing was written.
        """
        notes = [] if note is None else [(note.event, _content(note.serves, note.facts))]
        self._write({"decisions": [(record.id, record.body) for record in records], "operations": notes})

    def note(self, event: str, serves: str, **facts: Any) -> None:
        """Write down what happened in the world, and which decision it serves."""
        self._write({"operations": [(event, _content(serves, facts))]})

    def note_each(self, event: str, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down the same event for each decision that it serves, all or none."""
        at = datetime.now(UTC).isoformat()
        rows = [(event, canonical({**each, "serves": serves, "at": at})) for serves, each in facts.items()]
        self._write({"operations": rows})

    def records(self) -> Iterator[Record]:
        """All records, in order.

        Raises:
            LedgerDamagedError: One cannot be read.
        """
        for seq, body in self._select("SELECT seq, body FROM decisions ORDER BY seq"):
            try:
                yield parse(body)
            except _UNREADABLE as error:
                raise LedgerDamagedError(
                    f"record {seq} of {self._path} cannot be read: {error}; `hpcretrain audit verify` tells more"
                ) from error

    def notes(self, event: str | None = None, serves: str | None = None) -> list[Mapping[str, Any]]:
        """Notes in order: `event`, `serves`, `at`, and the facts."""
        query, values = "SELECT name, body FROM operations", []
        if event is not None:
            query, values = f"{query} WHERE name = ?", [event]
        rows = [{"event": name, **json.loads(body)} for name, body in self._select(f"{query} ORDER BY seq", values)]
        return [row for row in rows if serves is None or row["serves"] == serves]

    def head(self) -> str:
        """The hash of the last decision."""
        return self._head("decisions")[1]

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _write(self, entries: Mapping[str, Sequence[tuple[str, str]]]) -> None:
        """Write names and bodies into chains; a decision that is there already is not written twice."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for chain, rows in entries.items():
                    seq, previous = self._head(chain)
                    for name, body in rows:
                        if chain == "decisions" and self._is_there(name, body):
                            continue
                        seq += 1
                        digest = link(previous, seq, name, body)
                        self._db.execute(
                            f"INSERT INTO {chain} VALUES (?, ?, ?, ?, ?)", (seq, name, body, previous, digest)
                        )
                        previous = digest
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _kind(error)(f"ledger {self._path} cannot be written: {error}; nothing was written") from error
        self._anchor()

    def _is_there(self, name: str, body: str) -> bool:
        row = self._db.execute("SELECT body FROM decisions WHERE name = ?", (name,)).fetchone()
        if row is not None and row[0] != body:
            raise LedgerDamagedError(f"{name} is in the ledger with another content")
        return row is not None

    def _anchor(self) -> None:
        # After the commit, so that the anchor may be one step behind the chains after a crash, but never ahead.
        heads = {chain: list(self._head(chain)) for chain in CHAINS}
        path = anchor_path(self._path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(heads, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise LedgerError(f"{path} cannot be written: {error}; the ledger itself is whole") from error

    def _check_end(self) -> None:
        # The next write moves the anchor, and with it the only trace of rows that were removed from the end.
        known: list[Finding] = []
        anchor = anchor_path(self._path)
        try:
            anchor.read_bytes()
            heads = _heads(self._path, known)
        except FileNotFoundError:
            heads = {}
        except OSError as error:
            self.close()
            raise LedgerError(f"{anchor} cannot be read: {error}; nothing was written") from error
        if not heads and not known and not any(self._head(chain)[0] for chain in CHAINS):
            self._anchor()
            return
        gone = [chain for chain in CHAINS if chain not in heads or not self._holds(chain, *heads[chain])]
        if gone:
            self.close()
            raise LedgerDamagedError(
                f"{anchor} is missing or does not agree with the end of {' and '.join(gone)} in "
                f"{self._path}; `hpcretrain audit verify` tells more; nothing was written"
            )

    def _holds(self, chain: str, seq: int, digest: str) -> bool:
        if seq == 0:
            return digest == genesis(chain)
        return bool(self._select(f"SELECT 1 FROM {chain} WHERE seq = ? AND hash = ?", (seq, digest)))

    def _head(self, chain: str) -> tuple[int, str]:
        rows = self._select(f"SELECT seq, hash FROM {chain} ORDER BY seq DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else (0, genesis(chain))

    def _select(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _kind(error)(f"ledger {self._path} cannot be read: {error}") from error


def verify(path: Path) -> list[Finding]:
    """Check both chains of a ledger, row by row, and where they end.

    Returns:
        Findings, at least one; the ledger is intact if all of them pass.
    """
    try:
        with closing(_reading(path)) as database:
            database.text_factory = bytes
            integrity = [row[0].decode() for row in database.execute("PRAGMA integrity_check")]
            findings = [_fail("database", "; ".join(integrity))] if integrity != ["ok"] else []
            heads = _heads(path, findings)
            for chain in CHAINS:
                rows = database.execute(f"SELECT seq, name, body, previous, hash FROM {chain} ORDER BY seq")
                findings += _verify_chain(chain, rows, heads.get(chain))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return [_fail("database", f"{path} cannot be read as a ledger: {error}")]
    return findings


def _heads(path: Path, findings: list[Finding]) -> Mapping[str, tuple[int, str]]:
    try:
        heads = json.loads(anchor_path(path).read_text(encoding="utf-8"))
        return {chain: (int(heads[chain][0]), str(heads[chain][1])) for chain in CHAINS}
    except (OSError, *_UNREADABLE) as error:
        findings.append(
            _fail("anchor", f"{anchor_path(path)} cannot be read ({error}), so a cut-off end cannot be seen")
        )
        return {}


def _verify_chain(chain: str, rows: Iterator[Any], anchor: tuple[int, str] | None) -> list[Finding]:
    findings: list[Finding] = []
    previous, expected, anchored = genesis(chain), 1, anchor is None or anchor == (0, genesis(chain))
    for seq, *columns in rows:
        where = f"row {seq} of {chain}"
        if not all(isinstance(each, bytes) for each in columns):
            findings.append(_fail(chain, f"{where} was altered: it holds something else than text"))
            expected = seq + 1
            continue
        name, body, before, digest = (each.decode("utf-8", "surrogateescape") for each in columns)
        if seq != expected:
            findings.append(_fail(chain, f"row {expected} of {chain} is missing; {where} stands in its place"))
        elif before != previous:
            findings.append(_fail(chain, f"{where} does not follow from the row before it: one of them was altered"))
        elif digest != link(before, seq, name, body):
            findings.append(_fail(chain, f"{where} ({name}) was altered: its content does not give its hash"))
        elif chain == "decisions" and (problem := _misnamed(name, body)):
            findings.append(_fail(chain, f"{where}: {problem}"))
        anchored = anchored or anchor == (seq, digest)
        previous, expected = digest, seq + 1
    if not anchored:
        findings.append(
            _fail(chain, f"the end of {chain} was cut off or altered: the anchor knows row {anchor and anchor[0]}")
        )
    return findings or [
        Finding(check=chain, outcome=Outcome.PASS, reason=f"{expected - 1} rows, each following from the one before it")
    ]


def _misnamed(name: str, body: str) -> str | None:
    try:
        record = parse(body)
        same = record.id == name and record.body == body
    except _UNREADABLE as error:
        return f"is no record: {error}"
    return None if same else f"is named {name}, but its content is {record.id}"


def _fail(check: str, reason: str) -> Finding:
    return Finding(check=check, outcome=Outcome.FAIL, reason=f"{reason}; restore the home from a backup")

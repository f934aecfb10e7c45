"""The ledger: two append-only, hash-chained logs in one file of JSON Lines.

`decisions` holds records, whose bytes depend on the inputs alone; its head is the `ledger_head`. `operations` holds
notes of what happened in the world, with wall-clock times. See `ledger_rows` for the form.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcretrain.adapters.ledger_before import in_lines, kept_before
from hpcretrain.adapters.ledger_rows import (
    CHAINS,
    END,
    RECORDS_BEFORE,
    UNREADABLE,
    Anchor,
    Row,
    anchor_path,
    anchor_text,
    genesis,
    line,
    line_at,
    lines,
    link,
    read_anchor,
    read_line,
)
from hpcretrain.adapters.ledger_verify import verify as verify
from hpcretrain.canonical import canonical
from hpcretrain.errors import InputError, LedgerDamagedError, LedgerError
from hpcretrain.ports import Note
from hpcretrain.records import Record, parse

_PATIENCE_S, _POLL_S = 30.0, 0.005
_TELLS = "`hpcretrain audit verify` tells more"
Heads = dict[str, tuple[int, str]]


def _facts(serves: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**facts, "serves": serves, "at": datetime.now(UTC).isoformat()}


class FileLedger:
    """The `Ledger` port over a file; several may be open at once, in any processes of one machine.

    One that an earlier version kept in SQLite can be read.

    Raises:
        InputError: It is to be written, and an earlier version kept it.
        LedgerError: It cannot be opened.
        LedgerDamagedError: It is no ledger, or (when opened to be written) its end was cut off.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._path = path
        self._read_only = read_only
        self._end = 0
        self._heads: Heads = {chain: (0, genesis(chain)) for chain in CHAINS}
        # Where rows begin: of a record by its name, of notes by their event.
        self._records: dict[bytes, int] = {}
        self._notes: dict[bytes, array[int]] = {}
        self._file = self._open()
        try:
            if read_only:
                self._follow()
            else:
                with self._locked():
                    self._check_end()
        except BaseException:
            self.close()
            raise

    def append(self, records: Sequence[Record], note: Note | None = None) -> None:
        """Write records down, and with them perhaps a note, all or none; a record that is there is not written twice.

        Raises:
            LedgerError: One is there with another content, or the file cannot be written; nothing was written.
        """
        self._write(records, [] if note is None else [(note.event, _facts(note.serves, note.facts))])

    def note(self, event: str, serves: str, **facts: Any) -> None:
        """Write down what happened in the world, and which decision it serves."""
        self._write((), [(event, _facts(serves, facts))])

    def note_each(self, event: str, facts: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down the same event for each decision that it serves, all or none."""
        at = datetime.now(UTC).isoformat()
        self._write((), [(event, {**each, "serves": serves, "at": at}) for serves, each in facts.items()])

    def records(self) -> Iterator[Record]:
        """All records, in order.

        Raises:
            LedgerDamagedError: One cannot be read.
        """
        self._follow()
        for row in self._rows(b"decisions"):
            yield self._understood(row, parse)

    def notes(self, event: str | None = None, serves: str | None = None) -> list[Mapping[str, Any]]:
        """Notes in order: `event`, `serves`, `at`, and the facts."""
        self._follow()
        if event is None:
            rows = self._rows(b"operations")
        else:
            places = self._notes.get(event.encode(), array("Q"))
            rows = (self._row(line_at(self._file, place)) for place in places)
        found = [{"event": row.name.decode(), **self._understood(row, _read_note)} for row in rows]
        return [note for note in found if serves is None or note["serves"] == serves]

    def head(self) -> str:
        """The hash of the last decision."""
        return self.heads()["decisions"][1]

    def heads(self) -> Mapping[str, tuple[int, str]]:
        """Sequence number and hash of the last row of each chain."""
        self._follow()
        return dict(self._heads)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        try:
            if not kept_before(self._path):
                mode = os.O_RDONLY if self._read_only else os.O_RDWR | os.O_CREAT
                return os.open(self._path, mode | os.O_CLOEXEC, 0o600)
            if self._read_only:
                with in_lines(self._path) as file:
                    return os.dup(file.fileno())
        except OSError as error:
            raise LedgerError(f"ledger {self._path} cannot be opened: {error}") from error
        raise InputError(
            f"the home {self._path.parent} was made by an earlier version of hpcretrain, which kept its ledger "
            "otherwise; `hpcretrain migrate` brings it up to date; nothing was changed"
        )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the file against other writers."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise LedgerError(
                        f"ledger {self._path} cannot be written: another process has held it for {_PATIENCE_S:g} s; "
                        "nothing was written"
                    ) from None
                time.sleep(_POLL_S)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _write(self, records: Sequence[Record], notes: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Write records, and events with their facts; a record that is there already is not written twice."""
        if self._read_only:
            raise LedgerError(f"ledger {self._path} was opened to be read; nothing was written")
        with self._locked():
            self._follow()
            block = self._block(records, notes)
            if not block:
                return
            try:
                # What a writer left that was killed.
                if os.fstat(self._file).st_size != self._end:
                    os.ftruncate(self._file, self._end)
                _write_all(self._file, block, self._end)
                self._sync()
            except OSError as error:
                os.ftruncate(self._file, self._end)
                raise LedgerError(f"ledger {self._path} cannot be written: {error}; nothing was written") from error
            self._follow()
            self._anchor()

    def _sync(self) -> None:
        """See to it that what is written outlasts a power cut."""
        os.fsync(self._file)

    def _block(self, records: Sequence[Record], notes: Sequence[tuple[str, Mapping[str, Any]]]) -> bytes:
        """What is to be added to the file; nothing where all of it is there."""
        fresh = {each.id: each.body for each in records if not self._is_there(each.id, each.body)}
        before = self._heads["decisions"][0] + len(fresh)
        bodies = [(event, canonical({**facts, RECORDS_BEFORE: before})) for event, facts in notes]
        written: list[bytes] = []
        for chain, rows in (("decisions", fresh.items()), ("operations", bodies)):
            seq, previous = self._heads[chain]
            for name, body in rows:
                seq += 1
                previous = link(previous, seq, name, body)
                written.append(line(chain, seq, name, body, previous))
        return b"".join([*written, END]) if written else b""

    def _is_there(self, name: str, body: str) -> bool:
        place = self._records.get(name.encode())
        if place is not None and self._row(line_at(self._file, place)).body != body.encode():
            raise LedgerDamagedError(f"{name} is in the ledger with another content")
        return place is not None

    def _anchor(self) -> None:
        # After the write, so that the anchor may be one step behind the chains after a crash, but never ahead.
        path = anchor_path(self._path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(anchor_text(self._heads, self._end))
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise LedgerError(f"{path} cannot be written: {error}; the ledger itself is whole") from error

    def _check_end(self) -> None:
        """Refuse to go on where the end was cut off or altered: the next write would move the anchor."""
        anchor = anchor_path(self._path)
        try:
            known = read_anchor(self._path)
            self._follow()
        except FileNotFoundError:
            self._follow()
            if os.fstat(self._file).st_size == 0:
                _sync_folder(self._path.parent)
                self._anchor()
                return
            known = None
        except ValueError as error:
            raise LedgerDamagedError(f"{anchor} cannot be read: {error}; {_TELLS}; nothing was written") from error
        except OSError as error:
            raise LedgerError(f"{anchor} cannot be read: {error}; nothing was written") from error
        if known is None or not self._follows(known):
            raise LedgerDamagedError(
                f"{anchor} is missing or does not agree with {self._path}, whose end was cut off or altered; "
                f"{_TELLS}; nothing was written"
            )
        if known != Anchor(self._heads, self._end):
            self._anchor()

    def _follows(self, anchor: Anchor) -> bool:
        """Whether the ledger is what an anchor tells of, or goes on from there by rows that are linked."""
        if anchor.size == self._end:
            return anchor.heads == self._heads
        heads: Heads = {chain: (0, genesis(chain)) for chain in CHAINS}
        for text in lines(self._file, 0, min(anchor.size, self._end)):
            if text:
                row = self._row(text)
                heads[row.chain.decode()] = row.seq, row.hash.decode()
        if anchor.size > self._end or heads != anchor.heads:
            return False
        for text in lines(self._file, anchor.size, self._end):
            if text:
                _, seq, *_ = row = self._row(text)
                name, body = row.name.decode(), row.body.decode("utf-8", "surrogateescape")
                heads[row.chain.decode()] = seq, link(heads[row.chain.decode()][1], seq, name, body)
        return heads == self._heads

    def _follow(self) -> None:
        """Take in what was written since the last look, by whomever, up to the last whole write."""
        try:
            size = os.fstat(self._file).st_size
            if size < self._end:
                raise LedgerDamagedError(f"the end of {self._path} was cut off while it was open; {_TELLS}")
            place, written = self._end, []
            for text in lines(self._file, self._end, size):
                if text:
                    written.append((place, text))
                    place += len(text) + 1
                    continue
                if any(b"\0" in each for _, each in written):
                    # A write that was not on the disk yet when the machine stopped.
                    return
                place += 1
                self._take(written, place)
                written = []
        except OSError as error:
            raise LedgerError(f"ledger {self._path} cannot be read: {error}") from error

    def _take(self, written: Sequence[tuple[int, bytes]], end: int) -> None:
        for place, text in written:
            row = self._row(text)
            chain = row.chain.decode()
            if row.seq != self._heads[chain][0] + 1:
                raise LedgerDamagedError(
                    f"row {row.seq} of {chain} in {self._path} is not in its place: rows are missing, or were moved; "
                    f"{_TELLS}"
                )
            self._heads[chain] = row.seq, row.hash.decode()
            if chain == "decisions":
                self._records[row.name] = place
            else:
                self._notes.setdefault(row.name, array("Q")).append(place)
        self._end = end

    def _row(self, text: bytes) -> Row:
        row = read_line(text)
        if row is None:
            raise LedgerDamagedError(f"a line of {self._path} is no row of a ledger; {_TELLS}")
        return row

    def _rows(self, chain: bytes) -> Iterator[Row]:
        rows = (self._row(text) for text in lines(self._file, 0, self._end) if text)
        return (row for row in rows if row.chain == chain)

    def _understood(self, row: Row, read: Any) -> Any:
        try:
            return read(row.body.decode())
        except UNREADABLE as error:
            raise LedgerDamagedError(
                f"row {row.seq} of {row.chain.decode()} in {self._path} cannot be read: {error}; {_TELLS}"
            ) from error


def _read_note(body: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(body)
    content.pop(RECORDS_BEFORE, None)
    return content


def _write_all(file: int, content: bytes, place: int) -> None:
    rest = memoryview(content)
    while rest:
        done = os.pwrite(file, rest, place)
        rest, place = rest[done:], place + done


def _sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

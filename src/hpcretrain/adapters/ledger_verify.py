"""Whether a ledger is what was written: every byte of its file is looked at."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from hpcretrain.adapters.ledger_before import database_of, kept_before, open_rows
from hpcretrain.adapters.ledger_rows import (
    CHAINS,
    RECORDS_BEFORE,
    UNREADABLE,
    Anchor,
    Row,
    genesis,
    lines,
    read_anchor,
    read_line,
)
from hpcretrain.errors import LedgerError
from hpcretrain.records import KINDS, Finding, Outcome

_MOST = 10
"""How much of one chain is told: what is wrong with one row may show in every row after it."""
_KINDS = frozenset(kind.encode() for kind in KINDS)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

Place = tuple[str, int]
"""A chain, and the sequence number of a row of it."""


class Checked(NamedTuple):
    """What came of a check.

    Attributes:
        findings: At least one.
        hashes: Of the rows that were asked for.
        heads: Sequence number and hash of the last row of each chain.
        size: Bytes, in the form of today, up to the end of the last whole write.
    """

    findings: list[Finding]
    hashes: Mapping[Place, str]
    heads: Mapping[str, tuple[int, str]]
    size: int

    @property
    def intact(self) -> bool:
        """Whether the ledger is what was written."""
        return all(finding.outcome is Outcome.PASS for finding in self.findings)


def verify(path: Path) -> list[Finding]:
    """Check both chains of a ledger, row by row, and where they end.

    Returns:
        Findings, at least one; the ledger is intact if all of them pass.
    """
    return check(path).findings


def check(path: Path, wanted: Collection[Place] = ()) -> Checked:
    """Check a ledger, and tell the hashes of rows.

    Args:
        path: The ledger; one that an earlier version kept is checked, too.
        wanted: Rows whose hashes are to be told, if they are there.
    """
    kept = database_of(path) if kept_before(path) else path
    try:
        with _open(path) as (file, size, anchor):
            going = _Check(anchor, wanted, before=kept != path)
            going.file(file, size)
            return Checked(going.findings(kept), going.hashes, going.heads, going.size)
    except LedgerError as error:
        return Checked([_fail("ledger", str(error))], {}, {}, 0)
    except OSError as error:
        return Checked([_fail("ledger", f"{kept} cannot be read: {error.strerror or error}")], {}, {}, 0)


@contextmanager
def _open(path: Path) -> Iterator[tuple[int, int, Anchor | str]]:
    """The file, its size, and the anchor that belongs to it, or why there is none; no writer is between the two."""
    before = kept_before(path)
    with open_rows(path) as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_SH)
        size = os.fstat(file.fileno()).st_size
        anchor: Anchor | str
        try:
            anchor = read_anchor(path)
        except (ValueError, OSError) as error:
            anchor = str(error)
        else:
            anchor = anchor._replace(size=0) if before else anchor
        fcntl.flock(file.fileno(), fcntl.LOCK_UN)
        yield file.fileno(), size, anchor


class _Check:
    """Goes once through the lines of a ledger."""

    def __init__(self, anchor: Anchor | str, wanted: Collection[Place], *, before: bool) -> None:
        self.hashes: dict[Place, str] = {}
        self._wanted = frozenset(wanted)
        self._anchor = anchor
        self.heads = {chain: (0, genesis(chain)) for chain in CHAINS}
        self._wrong: dict[str, list[str]] = {part: [] for part in ("ledger", *CHAINS)}
        self._ends = anchor.heads if isinstance(anchor, Anchor) else dict(self.heads)
        self._anchored = {chain for chain in CHAINS if self._ends[chain] == self.heads[chain]}
        self.size = self._cut_short = 0
        # Of the size of a ledger that an earlier version kept the anchor tells nothing.
        self._fits = not isinstance(anchor, Anchor) or before or self._ends == self.heads

    def file(self, descriptor: int, size: int) -> None:
        """Check all of it."""
        written: list[bytes] = []
        place = ended = 0
        known = self._anchor.size if isinstance(self._anchor, Anchor) else 0
        for number, text in enumerate(lines(descriptor, 0, size), start=1):
            place += len(text) + 1
            if text:
                written.append(text)
                continue
            if ended >= known and any(b"\0" in each for each in written):
                break
            if not written:
                self._wrong["ledger"].append(f"line {number} is empty where there should be a row")
            for row, each in enumerate(written, start=number - len(written)):
                self._line(row, each)
            written, ended = [], place
            if ended == known:
                self._fits = self.heads == self._ends
        self.size = ended
        self._cut_short = size - ended
        if ended < known:
            self._wrong["ledger"].append(f"it ends at byte {ended:,}, and the anchor knows {known:,} bytes")
        elif not self._fits:
            self._wrong["ledger"].append(f"its first {known:,} bytes, or the anchor that knows them, were altered")

    def findings(self, path: Path) -> list[Finding]:
        """What was found."""
        if isinstance(self._anchor, str):
            why = f"the anchor of {path} cannot be read ({self._anchor}), so a cut-off end cannot be seen"
            return [_fail("anchor", why), *self._findings(path)]
        for chain in sorted({*CHAINS} - self._anchored):
            self._wrong[chain].append(
                f"the end of {chain} was cut off or altered: the anchor knows row {self._anchor.heads[chain][0]}"
            )
        return self._findings(path)

    def _findings(self, path: Path) -> list[Finding]:
        found = [_fail("ledger", f"{path}: {reason}") for reason in self._wrong["ledger"][:_MOST]]
        for chain in CHAINS:
            found += [_fail(chain, reason) for reason in self._wrong[chain][:_MOST]]
            if not self._wrong[chain]:
                reason = f"{self.heads[chain][0]} rows, each following from the one before it"
                late = self.heads[chain][0] - self._ends[chain][0]
                if late and isinstance(self._anchor, Anchor):
                    reason += f"; {late} of them the anchor does not know: whoever wrote them was killed just then"
                found.append(Finding(check=chain, outcome=Outcome.PASS, reason=reason))
        if self._cut_short and not self._wrong["ledger"]:
            reason = f"{self._cut_short:,} bytes of a write that was cut short count for nothing; the next removes them"
            found.append(Finding(check="ledger", outcome=Outcome.PASS, reason=reason))
        return found

    def _line(self, number: int, text: bytes) -> None:
        row = read_line(text)
        if row is None:
            self._wrong["ledger"].append(f"line {number} is no row of a ledger")
            return
        chain = row.chain.decode()
        if problem := _problem(row, chain, *self.heads[chain], self.heads["decisions"][0]):
            self._wrong[chain].append(f"row {row.seq} of {chain} (line {number}) {problem}")
        self.heads[chain] = row.seq, row.hash.decode()
        if row.seq == self._ends[chain][0] and self.heads[chain] == self._ends[chain]:
            self._anchored.add(chain)
        if self._wanted and (chain, row.seq) in self._wanted:
            self.hashes[chain, row.seq] = self.heads[chain][1]


def _problem(row: Row, chain: str, seq: int, previous: str, records: int) -> str:
    """What is wrong with a row, given the one before it and how many records are; empty if nothing is."""
    if row.seq != seq + 1:
        return f"stands where row {seq + 1} should: rows were removed, inserted or moved"
    content = b"%b\n%d\n%b\n%b" % (previous.encode(), row.seq, row.name, row.body)
    if hashlib.sha256(content).hexdigest().encode() != row.hash:
        return "was altered, or the row before it was: its content does not give its hash"
    return _misnamed(row) if chain == "decisions" else _misplaced(row, records)


def _misplaced(row: Row, records: int) -> str:
    """What is wrong with a note that stands behind so many records; empty if nothing is."""
    problem, content = _read(row.body)
    # Notes of earlier versions do not say.
    before = content.get(RECORDS_BEFORE, records)
    if problem or before == records:
        return problem
    return f"was written behind record {before} and stands behind record {records}: rows were moved"


def _misnamed(row: Row) -> str:
    """What is wrong with a record, whatever version of hpcretrain made it; empty if nothing is."""
    kind, _, digest = row.name.rpartition(b"-")
    if kind not in _KINDS:
        return f"is no record: it is named {row.name.decode()}"
    if hashlib.sha256(row.body).hexdigest()[:16].encode() != digest:
        return f"is named {row.name.decode()}, which its content does not give"
    if b'"kind":"%b"' % kind not in row.body:
        return f"is no {kind.decode()}, as which it is named"
    return _read(row.body)[0]


def _read(body: bytes) -> tuple[str, Mapping[str, Any]]:
    """What is wrong with a body, empty if nothing is; and what it holds, as far as it can be read."""
    try:
        # Four times as fast; it writes some numbers otherwise, of which the slower one then tells.
        content = orjson.loads(body)
        if body[:1] == b"{" and orjson.dumps(content, option=orjson.OPT_SORT_KEYS) == body:
            return "", content
    except UNREADABLE:
        pass
    try:
        content = json.loads(body)
        if isinstance(content, dict) and _ENCODER.encode(content).encode() == body:
            return "", content
    except UNREADABLE as error:
        return f"holds no JSON: {error}", {}
    return "holds no object in canonical JSON", {}


def _fail(what: str, reason: str) -> Finding:
    return Finding(check=what, outcome=Outcome.FAIL, reason=f"{reason}; restore the home from a backup")

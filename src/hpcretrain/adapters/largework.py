"""What nodes do for the profile of a large table: count a part, find duplicates in a range of hashes, merge profiles.

Each is a plain function of small arguments. What it makes it leaves in a folder that all share, whole or not at all,
and takes from there when it is asked again. So it may be killed at any time, and done elsewhere, even twice at once.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from hpcretrain.adapters import tablefile
from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.largeplan import Order, Piece, Reading
from hpcretrain.adapters.table import MemoryTable
from hpcretrain.adapters.tableschema import Column, assemble_known
from hpcretrain.adapters.whylogs import read_contract
from hpcretrain.adapters.whylogs_rules import Contract
from hpcretrain.canonical import sha256
from hpcretrain.errors import InputError, SpoolError
from hpcretrain.node.durable import make, read_json, sync, sync_all, write_json
from hpcretrain.ports import HashArray

PROFILE, HASHES, FACTS = "profile.bin", "hashes.npy", "facts.json"

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Done:
    """What came of a part or a merge: its folder and rows. Or why it cannot be read: then nothing is in the folder."""

    folder: Path
    rows: int = 0
    problems: tuple[str, ...] = ()


def profile_part(order: Order) -> Done:
    """Count a part: its profile, and the sorted hashes of its rows."""
    facts = read_json(order.target / FACTS)
    if facts is None:
        try:
            _make_part(order)
        except InputError as error:
            return Done(order.target, problems=error.problems)
        facts = _facts(order.target)
    return Done(order.target, int(facts["rows"]))


def _make_part(order: Order) -> None:
    from hpcretrain.adapters import whylogs_bins

    reading = order.reading
    contract = _contract(reading.folder, reading.contract)
    columns = [Column(name, "number" if rule.cell is float else "category") for name, rule in contract.rules.items()]
    wanted = {reading.time_column, *contract.rules}
    sheets = [_sheet(piece, wanted) for piece in order.pieces]
    content = assemble_known(sheets, columns, reading.time_column, ZoneInfo(reading.timezone), reading.time_format)
    # It may have been written to between the first look and the last byte.
    for piece in order.pieces:
        piece.require_unchanged()
    start, end = reading.window.start or _FIRST, reading.window.end or _LAST
    table = MemoryTable(content, timedelta(0), VirtualClock(end))
    rows = table.rows(start, end)
    at = reading.window.start or (table.first_time if len(content.times) else datetime.fromtimestamp(0, UTC))
    serialized = whylogs_bins.profile(table.frame(rows), contract.rules, at, {})
    hashes = np.sort(table.hashes(rows, times=True, labels=False))

    def fill(folder: Path) -> None:
        np.save(folder / HASHES, hashes)
        _keep_profile(folder, serialized, len(rows))

    _whole(order.target, fill)


def _sheet(piece: Piece, wanted: set[str]) -> tablefile.Sheet:
    piece.require_unchanged()
    path = Path(piece.path)
    return tablefile.load(path, wanted) if piece.groups is None else tablefile.load_groups(path, wanted, piece.groups)


@lru_cache(maxsize=2)
def _contract(folder: Path, digest: str) -> Contract:
    return read_contract(folder, digest)


@dataclass(frozen=True)
class Range:
    """Hashes from `low` to before `high` (None: without end) of parts in these folders."""

    parts: tuple[Path, ...]
    low: int
    high: int | None


def count_duplicates(asked: Range) -> int:
    """How many rows of the parts, with hashes in the range, equal an earlier one."""
    pieces = [_slice(part, asked) for part in asked.parts]
    hashes = np.sort(np.concatenate([np.empty(0, np.uint64), *pieces]))
    return int(np.count_nonzero(hashes[1:] == hashes[:-1]))


def _slice(part: Path, asked: Range) -> HashArray:
    # Only the pages that are looked at are read.
    hashes: HashArray = np.load(part / HASHES, mmap_mode="r")
    first = int(np.searchsorted(hashes, np.uint64(asked.low)))
    last = len(hashes) if asked.high is None else int(np.searchsorted(hashes, np.uint64(asked.high)))
    return np.array(hashes[first:last])


@dataclass(frozen=True)
class Merge:
    """Profiles in these folders are to become one in `target`."""

    parts: tuple[Path, ...]
    target: Path


def merging(reading: Reading, parts: Sequence[Path]) -> Merge:
    """The merge of some profiles; the same ones give the same target."""
    key = sha256("\n".join(part.name for part in parts))[:32]
    return Merge(tuple(parts), reading.folder / "merges" / key)


def merge(asked: Merge) -> Done:
    """Make one profile of several.

    Raises:
        SpoolError: One was altered since it was made.
    """
    facts = read_json(asked.target / FACTS)
    if facts is None:
        from hpcretrain.adapters import whylogs_bins

        rows = sum(int(_facts(part)["rows"]) for part in asked.parts)
        serialized = whylogs_bins.merged([read_profile(part) for part in asked.parts])
        _whole(asked.target, lambda folder: _keep_profile(folder, serialized, rows))
        facts = _facts(asked.target)
    return Done(asked.target, int(facts["rows"]))


def read_profile(folder: Path) -> bytes:
    """The profile in the folder of a part or a merge.

    Raises:
        SpoolError: It was altered since it was made.
    """
    serialized = (folder / PROFILE).read_bytes()
    if hashlib.sha256(serialized).hexdigest() != _facts(folder)["sha256"]:
        raise SpoolError(f"{folder / PROFILE} was altered; remove {folder}, and it is made again")
    return serialized


def _facts(folder: Path) -> dict[str, Any]:
    facts = read_json(folder / FACTS)
    if facts is None:
        raise SpoolError(f"{folder} is gone; was the spool cleaned? Start again: what is left is used")
    return facts


def _keep_profile(folder: Path, serialized: bytes, rows: int) -> None:
    (folder / PROFILE).write_bytes(serialized)
    write_json(folder / FACTS, {"rows": rows, "sha256": hashlib.sha256(serialized).hexdigest()})


def _whole(target: Path, fill: Callable[[Path], None]) -> None:
    """Have a folder that is filled whole; if another process is first, its folder stays."""
    make(target.parent)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    part.mkdir(mode=0o700)
    try:
        fill(part)
        sync_all(part)
        try:
            part.rename(target)
        except OSError:
            if not (target / FACTS).exists():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync(target.parent)

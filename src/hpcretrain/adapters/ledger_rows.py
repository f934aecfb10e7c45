"""The form of a ledger: one file of JSON Lines, a row a line, in canonical JSON; an empty line ends each write.

A row is of one of two chains. Its hash covers its place, its name, its body and the hash of the row before it in its
chain, so every byte of the file is either covered by a hash or fixed by the form.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

CHAINS = ("decisions", "operations")
RECORDS_BEFORE = "records_before"
"""Key of a note that says how many records stand before it, so that the order of both chains is covered by its hash."""
END = b"\n"
"""The empty line that ends a write; what stands after the last one was never written down."""

# What reading JSON that somebody else wrote can raise.
UNREADABLE = (ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)

_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
_BEGIN, _CHAIN = b'{"body":', b',"chain":"'
# Of the body everything else can be quoted; the last of these marks ends it, since what follows holds no quotes.
_TAIL = re.compile(
    rb',"chain":"(decisions|operations)","hash":"([0-9a-f]{64})","name":"([A-Za-z0-9_.:-]+)","seq":([1-9][0-9]{0,17})\}'
)
_BLOCK, _LINE = 1 << 20, 1 << 12


class Row(NamedTuple):
    """A row as it stands in the file, in bytes."""

    chain: bytes
    seq: int
    name: bytes
    body: bytes
    hash: bytes


class Anchor(NamedTuple):
    """Where a ledger ends: sequence number and hash of the last row of each chain, and the size of the file."""

    heads: Mapping[str, tuple[int, str]]
    size: int


def genesis(chain: str) -> str:
    """The hash that stands before the first row of a chain."""
    return hashlib.sha256(f"hpcretrain {chain}".encode()).hexdigest()


def link(previous: str, seq: int, name: str, body: str) -> str:
    """The hash of a row."""
    content = "\n".join((previous, str(seq), name, body))
    return hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()


def line(chain: str, seq: int, name: str, body: str, digest: str) -> bytes:
    """A row as the file holds it, with its end; `body` is canonical JSON.

    Raises:
        ValueError: The name is none.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a row: letters, digits and _ . : - only")
    text = f'{{"body":{body},"chain":"{chain}","hash":"{digest}","name":"{name}","seq":{seq}}}\n'
    return text.encode("utf-8", "surrogateescape")


def read_line(text: bytes) -> Row | None:
    """The row that a line, without its end, holds; None if it is none. Whether its body is JSON is not looked at."""
    tail = _TAIL.fullmatch(text, max(text.rfind(_CHAIN), 0))
    if tail is None or not text.startswith(_BEGIN):
        return None
    chain, digest, name, seq = tail.groups()
    return Row(chain, int(seq), name, text[len(_BEGIN) : tail.start()], digest)


def anchor_path(ledger: Path) -> Path:
    """The file beside a ledger that tells where it ends."""
    return ledger.with_name("anchor.json")


def anchor_text(heads: Mapping[str, tuple[int, str]], size: int) -> str:
    """An anchor as its file holds it."""
    return json.dumps({**{chain: list(head) for chain, head in heads.items()}, "size": size}, separators=(",", ":"))


def read_anchor(ledger: Path) -> Anchor:
    """The anchor beside a ledger.

    Raises:
        OSError: It cannot be read.
        ValueError: It is none.
    """
    text = anchor_path(ledger).read_text(encoding="utf-8")
    try:
        told = json.loads(text)
        heads = {chain: (int(told[chain][0]), str(told[chain][1])) for chain in CHAINS}
        # One that stands beside a ledger of an earlier version tells no size.
        anchor = Anchor(heads, int(told.get("size", 0)))
    except UNREADABLE as error:
        raise ValueError(f"it holds no anchor: {error}") from error
    if "size" in told and text != anchor_text(*anchor):
        raise ValueError("it was altered")
    return anchor


def lines(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """The whole lines of a stretch of a file, without their ends; what follows the last end is left out."""
    rest = b""
    while start < end and (read := os.pread(descriptor, min(_BLOCK, end - start), start)):
        start += len(read)
        *whole, rest = (rest + read).split(b"\n")
        yield from whole


def line_at(descriptor: int, place: int) -> bytes:
    """The line that begins at a place of a file, without its end."""
    text = b""
    while read := os.pread(descriptor, _LINE, place + len(text)):
        text += read
        if (end := text.find(b"\n", len(text) - len(read))) >= 0:
            return text[:end]
    return text

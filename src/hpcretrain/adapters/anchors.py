"""Anchors: signed lines, kept in a folder elsewhere, that tell where a ledger ended at each release.

Somebody who may write every file of a home can make its ledger anew, hashes and all; a line that lies where he cannot
write still knows the old one. Each line is canonical JSON, names the digest of the line before it, and is signed by
the home's key (Ed25519). The public key lies beside the lines; its digest is in the names of both files.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcretrain.adapters.home import write_whole
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.ledger_rows import CHAINS, UNREADABLE, genesis
from hpcretrain.adapters.signing import Key, Signed, fingerprint
from hpcretrain.canonical import canonical, sha256
from hpcretrain.errors import InputError
from hpcretrain.records import Finding, Outcome, Release

SETTING, KEY = "anchors.json", "anchor.key"
_FIRST = "0" * 64
_ANCHORED, _FAILED = "anchored", "anchor_failed"


@dataclass(frozen=True)
class Line:
    """One anchor.

    Attributes:
        number: Of its line in the file, from 1.
        release: The release at which it was made; empty before the first.
        at: When it was made.
        heads: Sequence number and hash of the last row of each chain.
        digest: Of the line.
        wrong: What is wrong with it; empty if nothing is.
    """

    number: int
    release: str
    at: str
    heads: Mapping[str, tuple[int, str]]
    digest: str
    wrong: str


class Anchors:
    """The `Anchors` port: keeps them where the home says; nothing where it says nothing.

    Args:
        home: The home.
        ledger: Its ledger.
        model: Name of its model.
        tell: Called with what could not be done.
    """

    def __init__(self, home: Path, ledger: FileLedger, model: str, tell: Callable[[str], None] = lambda _: None):
        self._home = home
        self._ledger = ledger
        self._model = model
        self._tell = tell
        self._kept = ""

    def keep(self, release: Release) -> None:
        """Anchor the ledger, once for each release. What cannot be written is told and noted, and tried again later."""
        if self._kept == release.id:
            return
        try:
            folder = folder_of(self._home)
            if folder is None:
                return
            if not any(line.release == release.id for line in read(self._file(folder)).lines):
                self.write(folder, release.id)
        except (OSError, ValueError, InputError) as error:
            reason = str(error)
            if not self._ledger.notes(_FAILED, release.id):
                self._ledger.note(_FAILED, release.id, reason=reason)
                self._tell(f"{release.id} serves, and could not be anchored: {reason}; the next step tries again")
            return
        self._kept = release.id

    def write(self, folder: Path, release: str) -> Path:
        """Add an anchor of the ledger as it stands; the file.

        Raises:
            OSError: It cannot be written.
        """
        key = Key.of(self._home / KEY)
        path = self._file(folder)
        public = path.with_suffix(".pub")
        if not public.exists():
            write_whole(public, key.public)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            known = _lines(path.read_bytes(), key.signed)
            size = os.fstat(descriptor).st_size
            # After a line that was cut short, which then stands alone.
            begin = b"\n" if size and os.pread(descriptor, 1, size - 1) != b"\n" else b""
            text = self._line(key, release, next((each.digest for each in reversed(known) if each.digest), _FIRST))
            whole = begin + text.encode() + b"\n"
            if os.write(descriptor, whole) < len(whole):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._ledger.note(_ANCHORED, release or self._model, line=sha256(text), file=path.name)
        return path

    def _line(self, key: Key, release: str, previous: str) -> str:
        content = {
            "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "model": self._model,
            "previous": previous,
            "release": release,
            **{chain: list(head) for chain, head in self._ledger.heads().items()},
        }
        return canonical({**content, "signature": key.sign(canonical(content))})

    def _file(self, folder: Path) -> Path:
        return folder / f"{self._model}-{fingerprint(Key.of(self._home / KEY).public)}.jsonl"


@dataclass(frozen=True)
class Kept:
    """What a folder keeps of a home: the file, and its lines."""

    path: Path
    lines: Sequence[Line]


def folder_of(home: Path) -> Path | None:
    """Where a home keeps its anchors; None where it keeps none.

    Raises:
        InputError: What says so cannot be read.
    """
    path = home / SETTING
    try:
        return Path(str(json.loads(path.read_text(encoding="utf-8"))["folder"]))
    except FileNotFoundError:
        return None
    except (OSError, *UNREADABLE) as error:
        raise InputError(f"{path} cannot be read: {error}; `hpcretrain audit anchor DIR` writes it anew") from error


def set_folder(home: Path, folder: Path) -> None:
    """Have a home keep its anchors in a folder from now on.

    Raises:
        InputError: It is no folder, lies in the home, or cannot be written.
    """
    place = folder.resolve()
    if not place.is_dir():
        raise InputError(f"{folder} is no folder; make it where whoever may write the home cannot remove files")
    if place.is_relative_to(home.resolve()):
        raise InputError(f"{folder} lies in the home; an anchor proves something only where others keep it")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{folder} cannot be written")
    write_whole(home / SETTING, json.dumps({"folder": str(place)}), 0o600)


def read(path: Path) -> Kept:
    """The anchors in a file; none where it is not there yet.

    Raises:
        OSError: They cannot be read.
        ValueError: The public key beside them is none.
    """
    try:
        content, public = path.read_bytes(), path.with_suffix(".pub").read_text(encoding="utf-8")
    except FileNotFoundError:
        path.parent.stat()
        return Kept(path, ())
    return Kept(path, _lines(content, Signed.by(public, path.stem.rpartition("-")[2])))


def find(home: Path, folder: Path) -> Kept | Finding:
    """The anchors of a home in a folder, or why there are none; of a copy without its key, the only ones there."""
    key = home / KEY
    try:
        folder.stat()
        found = folder.glob(f"*-{fingerprint(Key.of(key).public)}.jsonl" if key.exists() else "*.jsonl")
        kept = [read(path) for path in found]
    except (OSError, ValueError) as error:
        reason = f"the anchors in {folder} cannot be read: {error}"
        return Finding(check="anchors", outcome=Outcome.INSUFFICIENT, reason=reason)
    if len(kept) == 1 and kept[0].lines:
        return kept[0]
    reason = f"{folder} holds no anchors signed by the key of this home; was the key replaced, or the file removed?"
    return Finding(check="anchors", outcome=Outcome.FAIL, reason=reason)


def agree(kept: Kept, hashes: Mapping[tuple[str, int], str], noted: str | None) -> Finding:
    """Whether anchors are whole, and the ledger is what they know.

    Args:
        kept: The anchors.
        hashes: Hashes of the rows that they name, as the ledger has them.
        noted: Digest of the newest line, as the ledger noted it; None where it did not.
    """
    wrong, short = [], 0
    for line in kept.lines:
        where = f"line {line.number} of {kept.path.name}"
        if line.wrong:
            wrong.append(f"{where} {line.wrong}")
        elif not line.digest:
            short += 1
        for chain, (seq, digest) in line.heads.items():
            if (hashes.get((chain, seq)) if seq else genesis(chain)) != digest:
                wrong.append(
                    f"row {seq} of {chain} is not what {where} ({line.at}, {line.release or 'no release'}) knows: the "
                    "ledger was made anew or its end was cut off, or it was restored from an older backup"
                )
    if noted is not None and noted not in {line.digest for line in kept.lines}:
        wrong.append(f"{kept.path} lacks an anchor that the ledger tells of: its end was cut off or altered")
    count = len(kept.lines) - short
    reason = "; ".join(wrong[:3]) or f"{count} in {kept.path}, signed, each of which the ledger holds"
    return Finding(
        check="anchors",
        outcome=Outcome.FAIL if wrong else Outcome.PASS,
        reason=reason,
        observed=len(wrong),
        limit=0,
    )


def newest_noted(ledger: FileLedger) -> str | None:
    """Digest of the newest anchor that a ledger tells of."""
    notes = ledger.notes(_ANCHORED)
    return str(notes[-1]["line"]) if notes else None


def late(kept: Kept, releases: Sequence[Release]) -> Finding | None:
    """What is to be told where the newest releases are not anchored."""
    known = {line.release for line in kept.lines}
    unknown: list[str] = []
    for release in reversed(releases):
        if release.id in known:
            break
        unknown.insert(0, release.id)
    # What was released before the first anchor is covered by that one.
    if not unknown or len(unknown) == len(releases):
        return None
    reason = f"not anchored yet: {', '.join(unknown)}; the next step tries again, and so does `hpcretrain audit anchor`"
    return Finding(check="anchored", outcome=Outcome.WAIT, reason=reason, observed=len(unknown), limit=0)


def _lines(content: bytes, signed: Signed) -> list[Line]:
    """Anchors as a file holds them; one that was cut short in being written has no digest, and no heads."""
    found: list[Line] = []
    previous = _FIRST
    for number, text in enumerate(content.decode("utf-8", "replace").split("\n"), start=1):
        if not text:
            continue
        try:
            told = json.loads(text)
            signature, heads = told.pop("signature"), {chain: (int(told[chain][0]), told[chain][1]) for chain in CHAINS}
            release, at = str(told["release"]), str(told["at"])
        except UNREADABLE:
            found.append(Line(number, "", "", {}, "", ""))
            continue
        wrong = _wrong(told, text, str(signature), previous, signed)
        previous = sha256(text)
        found.append(Line(number, release, at, heads, previous, wrong))
    return found


def _wrong(told: Mapping[str, Any], text: str, signature: str, previous: str, signed: Signed) -> str:
    if not signed.holds(canonical(told), signature) or canonical({**told, "signature": signature}) != text:
        return "was altered: its signature does not hold"
    if told["previous"] != previous:
        return "does not follow from the one before it: lines were removed, inserted or moved"
    return ""

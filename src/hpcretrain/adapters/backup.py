"""A home in one file: a tar archive of its files, and at its end their SHA-256, under a name that holds theirs."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from hpcretrain.adapters.ledger_rows import UNREADABLE
from hpcretrain.canonical import sha256
from hpcretrain.errors import InputError

FORM = "hpcretrain backup 1"
_LIST = "manifest-"
_BLOCK = 1 << 20

# Made anew when it is needed, of this process or machine, or half written.
_LEFT_OUT = {"spool", "mlflow-server", "report.html", "prefect.lock", "home.lock"}


def wanted(home: Path, instead: Mapping[Path, Path]) -> Iterator[tuple[str, Path]]:
    """The files of a home that a backup holds, by name in it, in order.

    Args:
        home: The home.
        instead: Files that are to be taken instead of files of the home; of a database what stands beside it is its.
    """
    for folder, folders, files in os.walk(home):
        here = Path(folder)
        folders[:] = sorted(each for each in folders if not _left_out(here / each, home))
        for path in sorted(here / each for each in files):
            beside = any(path != known and path.name.startswith(f"{known.name}-") for known in instead)
            if not beside and not _left_out(path, home) and stat.S_ISREG(path.lstat().st_mode):
                yield path.relative_to(home).as_posix(), instead.get(path, path)


def _left_out(path: Path, home: Path) -> bool:
    name = path.name
    return name.startswith((".", "making-")) or (path.parent == home and name in _LEFT_OUT)


def write(target: IO[bytes], files: Iterator[tuple[str, Path]], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write an archive; its list.

    Raises:
        OSError: A file cannot be read, or the archive cannot be written.
    """
    listed: dict[str, str] = {}
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in files:
            try:
                file = path.open("rb")
            except FileNotFoundError:
                # Gone since it was seen: what the ledger names stays.
                continue
            with file:
                entry = _entry(name, os.fstat(file.fileno()).st_size)
                entry.mtime = int(os.fstat(file.fileno()).st_mtime)
                reader = _Digesting(file)
                archive.addfile(entry, reader)  # type: ignore[arg-type]
                listed[name] = reader.digest.hexdigest()
        content = {"form": FORM, **about, "files": listed}
        text = json.dumps(content, indent=1)
        archive.addfile(_entry(f"{_LIST}{sha256(text)}.json", len(text.encode())), io.BytesIO(text.encode()))
    return content


def unpack(path: Path, folder: Path) -> dict[str, Any]:
    """Write what an archive holds into an empty folder, and check all of it; its list.

    Raises:
        InputError: It is no backup, or not what was written.
        OSError: The archive cannot be read, or the folder cannot be written.
    """
    found: dict[str, str] = {}
    told: dict[str, Any] | None = None
    try:
        with tarfile.open(path, mode="r:") as archive:
            for entry in archive:
                source = archive.extractfile(entry) if entry.isreg() else None
                if source is None or told is not None:
                    raise InputError(f"{path} holds {entry.name}, which no backup does; nothing was restored")
                if entry.name.startswith(_LIST):
                    told = _list(source.read(), entry.name)
                else:
                    found[entry.name] = _save(source, folder / _inside(entry.name))
    except (tarfile.TarError, *UNREADABLE) as error:
        raise InputError(f"{path} is no backup of a home, or is damaged: {error}; nothing was restored") from error
    if told is None or told.get("form") != FORM or told.get("files") != found:
        raise InputError(f"{path} is damaged: its files are not those that it lists; nothing was restored")
    return told


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, 0o600
    return entry


def _list(text: bytes, name: str) -> dict[str, Any]:
    if name != f"{_LIST}{hashlib.sha256(text).hexdigest()}.json":
        raise ValueError("its list was altered")
    told: dict[str, Any] = json.loads(text)
    return told


def _inside(name: str) -> PurePosixPath:
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or not place.parts:
        raise ValueError(f"{name!r} lies outside of a home")
    return place


def _save(source: IO[bytes], target: Path) -> str:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    reader = _Digesting(source)
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        while block := reader.read(_BLOCK):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
    return reader.digest.hexdigest()


class _Digesting:
    """Reads a file, and knows the digest of what was read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        block = self._file.read(size)
        self.digest.update(block)
        return block

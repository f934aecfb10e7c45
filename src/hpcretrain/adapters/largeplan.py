"""A large table as parts that one task reads each: files of Parquet by row groups, and files of CSV whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from hpcretrain.adapters import tablefile
from hpcretrain.adapters.tableschema import nanoseconds
from hpcretrain.canonical import canonical, sha256
from hpcretrain.errors import InputError

PART_CELLS = 5_000_000
"""Features times rows of a part: a second of work, and 250 MB of memory beside the 250 MB of what is imported."""

_FORMAT = 1


@dataclass(frozen=True)
class Piece:
    """Some of a file, as it was when the work was planned: all of it, or row groups."""

    path: str
    size: int
    mtime_ns: int
    groups: tuple[int, ...] | None

    def require_unchanged(self) -> None:
        """Refuse a file that is not the one that was planned with.

        Raises:
            InputError: It is gone, or was written to.
        """
        if _stamp(Path(self.path)) != (self.size, self.mtime_ns):
            raise InputError(f"{self.path} was changed while it was being profiled; start again once it is complete")


@dataclass(frozen=True)
class Window:
    """Rows with start <= time < end; a bound that is None does not bound."""

    start: datetime | None = None
    end: datetime | None = None

    @property
    def bounds(self) -> tuple[int | None, int | None]:
        """The bounds in nanoseconds since 1970 in UTC."""
        return tuple(None if each is None else nanoseconds(each) for each in (self.start, self.end))  # type: ignore[return-value]


@dataclass(frozen=True)
class Reading:
    """How each part is read and counted, and where results go; the same for all parts.

    Attributes:
        folder: Shared by all who work at it.
        contract: Digest of the frozen contract, which lies in the folder.
        time_column: Column with the time of each row.
        timezone: Of times that carry none.
        time_format: strptime format of text times; None for ISO 8601.
        window: Which rows count.
    """

    folder: Path
    contract: str
    time_column: str
    timezone: str
    time_format: str | None
    window: Window

    @property
    def terms(self) -> list[object]:
        """All that the counts depend on besides the files."""
        return [_FORMAT, self.contract, self.time_column, self.timezone, self.time_format, *self.window.bounds]


@dataclass(frozen=True)
class Order:
    """One task: a part, and how it is read."""

    reading: Reading
    pieces: tuple[Piece, ...]

    @cached_property
    def key(self) -> str:
        """Names what comes of it: the same order gives the same key."""
        return named(self.reading, self.pieces)

    @property
    def target(self) -> Path:
        """The folder of what comes of it."""
        return self.reading.folder / "parts" / self.key


def named(reading: Reading, pieces: Iterable[Piece]) -> str:
    """32 hexadecimal digits that name pieces of files and how they are read."""
    body = [[piece.path, piece.size, piece.mtime_ns, list(piece.groups or ())] for piece in pieces]
    return sha256(canonical([*reading.terms, body]))[:32]


def whole(paths: Sequence[Path]) -> tuple[Piece, ...]:
    """The files, each whole.

    Raises:
        InputError: Some cannot be found; all of them.
    """
    problems = [f"{path}: there is no such file" for path in paths if not path.is_file()]
    if not paths:
        problems.append("there are no files to profile")
    if problems:
        raise InputError(problems)
    return tuple(Piece(str(path.absolute()), *_stamp(path), None) for path in sorted(set(paths)))


def split(files: Sequence[Piece], features: Sequence[str], cells: int = PART_CELLS) -> list[tuple[Piece, ...]]:
    """Parts of about equal work, in order: neighboring row groups and small files together.

    A row group, and a file that has none, is never divided.

    Args:
        files: Whole files.
        features: Columns that count.
        cells: Most cells of a part, unless a single row group has more.

    Raises:
        InputError: Files cannot be read, or none has some of the columns; every problem.
    """
    most = max(1, cells // max(1, len(features)))
    room = most
    parts: list[tuple[Piece, ...]] = []
    gathered: list[Piece] = []
    lacking = dict.fromkeys(features)
    problems: list[str] = []
    for file in files:
        try:
            names, groups = tablefile.outline(Path(file.path))
        except InputError as error:
            problems += error.problems
            continue
        for name in names:
            lacking.pop(name, None)
        # Of a file without groups nobody knows the rows before it is read.
        for number, rows in enumerate(groups if groups is not None else (most,)):
            if gathered and rows > room:
                parts.append(tuple(gathered))
                gathered, room = [], most
            gathered = _joined(gathered, file, None if groups is None else number)
            room -= rows
    if lacking and not problems:
        problems.append(
            f"no file has the columns {', '.join(lacking)}, which the frozen contract names; is it this table?"
        )
    if problems:
        raise InputError(problems)
    # Without any row it is a profile still.
    return [*parts, tuple(gathered or files)] if gathered or not parts else parts


def _joined(gathered: list[Piece], file: Piece, group: int | None) -> list[Piece]:
    last = gathered[-1] if gathered else None
    if group is not None and last is not None and last.path == file.path and last.groups is not None:
        return [*gathered[:-1], Piece(file.path, file.size, file.mtime_ns, (*last.groups, group))]
    return [*gathered, Piece(file.path, file.size, file.mtime_ns, None if group is None else (group,))]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return found.st_size, found.st_mtime_ns

"""The profile of a large table, of the profiles of its parts: counts as if one machine had read all rows.

Who does the work is told by an `Each`: this process, or workers somewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from hpcretrain.adapters.largeplan import Order, Piece, Reading
from hpcretrain.adapters.largework import Done, Range, count_duplicates, merge, merging, profile_part, read_profile
from hpcretrain.errors import InputError

A = TypeVar("A")
B = TypeVar("B")

FAN_IN = 32
"""Profiles that one task merges."""

RANGE_ROWS = 20_000_000
"""Rows among which one task looks for duplicates, in 8 bytes each, twice over."""

_HASHES = 2**64
_TOLD = 20


class Each(Protocol):
    """Calls a function with each argument, here or anywhere, in any order, more than once if need be."""

    def __call__(self, act: Callable[[A], B], arguments: Sequence[A]) -> list[B]:
        """What came of each, in the order of the arguments."""


def here(act: Callable[[A], B], arguments: Sequence[A]) -> list[B]:
    """An `Each` that does all in this process, one after the other."""
    return [act(argument) for argument in arguments]


@dataclass(frozen=True)
class Built:
    """A profile of all rows, serialized, with its rows and how many of them equal an earlier one."""

    serialized: bytes
    rows: int
    duplicates: int


def build(reading: Reading, parts: Iterable[tuple[Piece, ...]], each: Each) -> Built:
    """Profile the parts and merge what comes of them.

    What an earlier call for the same files left in the folder is used.

    Args:
        reading: How parts are read; its folder holds the contract.
        parts: At least one.
        each: Does the work.

    Raises:
        InputError: Files cannot be read or have changed; what is wrong with each, up to some number.
    """
    found = each(profile_part, [Order(reading, pieces) for pieces in parts])
    _require_readable(found)
    rows = sum(done.rows for done in found)
    folders = [done.folder for done in found]
    duplicates = sum(each(count_duplicates, _ranges(folders, rows)))
    while len(folders) > 1:
        groups = [folders[start : start + FAN_IN] for start in range(0, len(folders), FAN_IN)]
        folders = [done.folder for done in each(merge, [merging(reading, group) for group in groups])]
    return Built(read_profile(folders[0]), rows, duplicates)


def _require_readable(found: Sequence[Done]) -> None:
    problems = [problem for done in found for problem in done.problems]
    if problems:
        more = [f"and {len(problems) - _TOLD} more"] if len(problems) > _TOLD else []
        raise InputError([*problems[:_TOLD], *more])


def _ranges(folders: Sequence[Path], rows: int) -> list[Range]:
    """All hashes, in ranges that each hold about the same number."""
    count = max(1, -(-rows // RANGE_ROWS))
    bounds = [_HASHES * number // count for number in range(count)]
    return [Range(tuple(folders), low, high) for low, high in zip(bounds, [*bounds[1:], None], strict=True)]

"""Opens what a command reads: a file, or standard input where it is called `-`."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TextIO

STANDARD_INPUT = Path("-")


def called(path: Path) -> str:
    """What messages call it."""
    return "standard input" if path == STANDARD_INPUT else str(path)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Its bytes.

    Raises:
        OSError: It cannot be read.
    """
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with path.open("rb") as file:
        yield file


@contextmanager
def text_of(path: Path) -> Iterator[TextIO]:
    """Its text, in UTF-8 with or without a mark at the beginning; line ends as they are.

    Raises:
        OSError: It cannot be read.
    """
    with opened(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        try:
            yield text
        finally:
            # Whoever opened it closes it.
            text.detach()

"""Markdown that shows names given by users as they are, whatever they hold."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

_SPECIAL = re.compile(r"[\\`*_\[\]|~]")
_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
_LONGEST = 400
_BAR, _SHORT = 12, 16

Cells = Sequence[str]


def escape(text: str) -> str:
    """`text` on one line, so that it shows letter by letter within a line or a cell; what is very long is cut."""
    line = " ".join(text.split())
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
    return _SPECIAL.sub(r"\\\g<0>", line).translate(_MARKUP)


def code(identifier: str) -> str:
    """An identifier of ours, which holds no special characters, as code."""
    return f"`{identifier}`"


def short(identifier: str) -> str:
    """The beginning of an identifier, which `hpcretrain explain` understands, as code."""
    return code(identifier[:_SHORT])


def link(words: str, address: str) -> str:
    """A link to an address; the bare words where there is none."""
    return f"[{words}]({quote(address, safe=':/#?&=%@+,;~-._')})" if address else words


def table(columns: Sequence[tuple[str, bool]], rows: Iterable[Cells]) -> str:
    """A table.

    Args:
        columns: Headings, and whether their cells are numbers.
        rows: Cells, in Markdown.
    """
    lines = [[heading for heading, _ in columns], ["---:" if number else "---" for _, number in columns], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def bar(share: float) -> str:
    """A bar whose length is a share, 0 to 1."""
    return "█" * round(_BAR * min(max(share, 0.0), 1.0))


def image(words: str, kind: str, content: bytes) -> str:
    """A picture within the text; `kind` is its media type."""
    return f"![{escape(words)}](data:{kind};base64,{base64.b64encode(content).decode()})"


def first(rows: Sequence[Cells], most: int) -> tuple[Sequence[Cells], str]:
    """The first rows, and a sentence on how many more there are; empty where there are none."""
    more = len(rows) - most
    return rows[:most], f"and {more:,} more; `hpcretrain status --json` lists all" if more > 0 else ""


def paragraphs(*parts: str) -> str:
    """Parts with a line between them, without those that are empty."""
    return "\n\n".join(part for part in parts if part)

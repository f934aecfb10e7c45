"""What `hpcretrain init` guessed, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

_WIDTH = 100


def show_start(found: Mapping[str, Any]) -> str:
    """What was guessed and why, what to look at, what was written, and the next command; readable in 100 columns."""
    lines = []
    for key, guess in found["guesses"].items():
        value = guess["value"]
        shown = f"{len(value)} column{'s' * (len(value) != 1)}" if key == "model.features" else _shown(value)
        lines += _entry(f"{key} = {shown}", guess["why"])
    lines += [""] if lines else []
    for out in found["left_out"]:
        lines += _entry(f"left out: {out['column']}", out["why"])
    lines += [""] if found["left_out"] else []
    for warning in found["warnings"]:
        lines += _wrapped(f"LOOK: {warning}")
    lines += [""] if found["warnings"] else []
    lines.append(f"wrote {found['config']} and {found['policy']}")
    if found["guesses"]:
        lines += _wrapped("look at label_delay and features, then run:")
    else:
        lines += _wrapped("fill in path, time_column, target, task and reference_until, then run:")
    return "\n".join([*lines, f"  {found['next']}"])


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list | tuple) else str(value)


def _entry(head: str, why: str) -> list[str]:
    return [head, *textwrap.wrap(why, _WIDTH, initial_indent="    ", subsequent_indent="    ")]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)

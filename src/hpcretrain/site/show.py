"""What was found at a site, as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpcretrain.canonical import plain
from hpcretrain.records import Outcome
from hpcretrain.site.item import Item, Mend

_WORDS = {Outcome.PASS: "fine", Outcome.WAIT: "better", Outcome.INSUFFICIENT: "unseen", Outcome.FAIL: "WRONG"}
# What has to be done stands last, next to the count, where a terminal shows it.
_ORDER = (Outcome.PASS, Outcome.INSUFFICIENT, Outcome.WAIT, Outcome.FAIL)


def items_json(name: str, user: str, items: Sequence[Item]) -> dict[str, Any]:
    """See docs/reference/json.md."""
    return {
        "site": name,
        "user": user,
        "wrong": sum(item.finding.outcome is Outcome.FAIL for item in items),
        "items": [
            {**plain(item.finding), "mends": [plain(mend) for mend in item.mends], "who": item.who} for item in items
        ],
    }


def items_text(name: str, user: str, items: Sequence[Item]) -> str:
    """One line an item, and the lines that mend it below; then a count."""
    wide = max((len(item.finding.check) for item in items), default=0)
    lines = [f"{name}, as {user}"]
    for item in sorted(items, key=lambda each: _ORDER.index(each.finding.outcome)):
        lines.append(f"{_WORDS[item.finding.outcome]:<7} {item.finding.check:<{wide}}  {item.finding.reason}")
        if item.finding.outcome is Outcome.INSUFFICIENT and item.who:
            lines.append(f"{'':<7} {'':<{wide}}  could be seen by: {item.who}")
        for place, mend in enumerate(item.mends):
            lines += _mend(mend, "mend" if place == 0 else "or", wide)
    counts = Counter(item.finding.outcome for item in items)
    told = [f"{counts[outcome]} {_WORDS[outcome].lower()}" for outcome in reversed(_ORDER) if counts[outcome]]
    return "\n".join([*lines, ", ".join(told)])


def draft_json(path: Path, to_do: Sequence[str]) -> str:
    """See docs/reference/json.md."""
    return json.dumps({"profile": str(path), "to_do": list(to_do)})


def draft_text(path: Path, to_do: Sequence[str]) -> str:
    """Where the draft lies, and what is still to be done, a line each."""
    return "\n".join([str(path), *(f"to do: {each}" for each in to_do), f"then: hpcretrain doctor --cluster {path}"])


def _mend(mend: Mend, word: str, wide: int) -> list[str]:
    note = f"   ({mend.note})" if mend.note else ""
    head = f"{word}: {mend.who}, {mend.where}:"
    return [f"{'':<7} {'':<{wide}}  {head} {line}{note}" for line in mend.line.splitlines()]

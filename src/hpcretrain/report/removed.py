"""What was removed by retention: it is not there, and not damaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REMOVED = "payload_removed"


def removed(notes: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """When payloads were removed, by the identifier of the job or the digest of the model."""
    return {note["serves"]: str(note["at"])[:10] for note in notes if note["event"] == REMOVED}


def removed_line(when: str) -> str:
    """That it was, in words."""
    return f"its payload was removed by retention on {when}; the ledger keeps its digest"


def pruned_text(gone: Sequence[Mapping[str, Any]], *, dry_run: bool) -> str:
    """What was removed, in words."""
    if not gone:
        return "nothing is old enough to go, or all that is old is needed"
    verb = "would be removed" if dry_run else "removed"
    return "\n".join(f"{verb}: {each['payload'].replace('_', ' ')} {each['id']}" for each in gone)

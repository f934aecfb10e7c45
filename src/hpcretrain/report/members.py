"""What an average is made of: the fits whose predictions it takes the mean of, each with the rows that it learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpcretrain.canonical import plain
from hpcretrain.records import Candidate, Record, Release
from hpcretrain.report import wording

_DIGEST_DIGITS = 16


def fits(known: Mapping[str, Record], record: Record | None) -> list[Candidate]:
    """The members of an average, or of the average that a release brought; the fresh fit first, none of a single fit.

    Args:
        known: All records, by identifier.
        record: A candidate or a release; any other record has no members.
    """
    if isinstance(record, Release):
        record = known.get(record.candidate)
    members = record.members if isinstance(record, Candidate) else ()
    return [fit for fit in map(known.get, members) if isinstance(fit, Candidate)]


def told(fit: Candidate) -> dict[str, Any]:
    """A member for JSON: `candidate`, `model_digest`, `window`."""
    return {"candidate": fit.id, "model_digest": fit.model_digest, "window": plain(fit.window)}


def lines(members: list[Candidate]) -> list[str]:
    """Members as a block of text under one heading; nothing of a single fit."""
    if not members:
        return []
    return [
        f"average of {wording.plural(len(members), 'fit')}, the fresh one first:",
        *(
            f"  {fit.id}  {fit.window.name:<7}  {fit.window.rows:>9,} rows  "
            f"{fit.window.start:%Y-%m-%d %H:%M} to {fit.window.end:%Y-%m-%d %H:%M} UTC  "
            f"digest {fit.window.digest[:_DIGEST_DIGITS]}"
            for fit in members
        ),
    ]

"""What a home holds, as plain rows and objects: for notebooks, and for tables and plots of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hpcretrain.canonical import plain
from hpcretrain.errors import InputError
from hpcretrain.records import KINDS
from hpcretrain.report import explain as report
from hpcretrain.wiring import read_history


def read_records(home: Path | str | None = None, kind: str | None = None) -> list[dict[str, Any]]:
    """The decisions of a home, in order: what was seen, decided and done, at the time of the table.

    Args:
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        kind: Only records of this kind, such as "signal", "assessment" or "decision".

    Returns:
        One object a record: `id`, `kind`, and its fields, with times as ISO 8601 in UTC.

    Raises:
        InputError: There is no home there, or no such kind of record.
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"{kind!r} is no kind of record; they are {', '.join(KINDS)}")
    records = read_history(home)[0].known.values()
    return [{"id": each.id, "kind": each.kind, **plain(each)} for each in records if kind in (None, each.kind)]


def read_notes(home: Path | str | None = None, event: str | None = None) -> list[dict[str, Any]]:
    """The operations of a home, in order: what happened in the world, by the wall clock.

    Args:
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        event: Only notes of this event, such as "job_submitted".

    Returns:
        One object a note: `event`, `serves` (the record that it serves), `at`, and its facts.

    Raises:
        InputError: There is no home there.
    """
    return [dict(note) for note in read_history(home)[1].notes(event)]


def explain(home: Path | str | None, identifier: str) -> dict[str, Any]:
    """A record, what led to it, and what came of it.

    Args:
        home: The folder; None for `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        identifier: Of the record, or its beginning.

    Returns:
        See `hpcretrain explain --json` in docs/reference/json.md.

    Raises:
        InputError: There is no home there, or no such record, or several.
    """
    history, ledger = read_history(home)
    return report.explain(history, identifier, ledger.notes())

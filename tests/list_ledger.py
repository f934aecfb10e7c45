"""A ledger in memory, for tests of what only notes and asks for the baseline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hpcretrain.ports import Note
from hpcretrain.records import Baseline, Record, Slice

START = datetime(2024, 1, 1, tzinfo=UTC)


class ListLedger:
    """Records and notes in lists."""

    def __init__(self) -> None:
        self.kept: list[Record] = []
        self.noted: list[dict[str, Any]] = []

    def append(self, records: Sequence[Record], note: Note | None = None) -> None:
        self.kept.extend(records)

    def records(self) -> Iterator[Record]:
        return iter(self.kept)

    def head(self) -> str:
        return ""

    def note(self, event: str, serves: str, **facts: Any) -> None:
        self.noted.append({"event": event, "serves": serves, **facts})

    def notes(self, event: str | None = None, serves: str | None = None) -> list[Mapping[str, Any]]:
        return [note for note in self.noted if event in (None, note["event"]) and serves in (None, note["serves"])]


def ledger_with(contract: str) -> ListLedger:
    """A ledger whose baseline names a contract."""
    ledger = ListLedger()
    baseline = Baseline(
        model="m", at=START, config_digest="", policy_digest="", rule_version="1", contract_digest=contract,
        batch_s=86400, reference=Slice(START, START, 0, ""),
    )  # fmt: skip
    ledger.append([baseline])
    return ledger

"""What a reader wants over time, gathered from all records: the state alone keeps only what counts now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from hpcretrain.records import (
    Assessment,
    Baseline,
    Family,
    Finding,
    Outcome,
    Record,
    Signal,
    Slice,
)


@dataclass(frozen=True)
class Quarantined:
    """A stretch of rows that failed the data gate, and why."""

    slot: Slice
    findings: tuple[Finding, ...]


@dataclass
class Trail:
    """Scores, drift and bad data of every batch."""

    start: datetime | None = None
    """When the first model came to serve."""
    assessments: list[Assessment] = field(default_factory=list)
    batches: list[Slice] = field(default_factory=list)
    """The observed batches."""
    drift: dict[str, dict[datetime, Signal]] = field(default_factory=dict)
    """Signals of drift by feature and time of the batch's end."""
    quarantined: list[Quarantined] = field(default_factory=list)

    @property
    def end(self) -> datetime | None:
        """The end of the last batch that was assessed; None before any was."""
        return self.assessments[-1].at if self.assessments else None

    @property
    def stretches(self) -> list[tuple[datetime, datetime]]:
        """The batch that each assessment is about."""
        ends = [assessment.at for assessment in self.assessments]
        starts = [self.start or ends[0], *ends[:-1]] if ends else []
        return list(zip(starts, ends, strict=True))


def read(records: Iterable[Record]) -> Trail:
    """The trail that records leave."""
    trail = Trail()
    bad: dict[tuple[datetime, datetime], tuple[Slice, list[Finding]]] = {}
    for record in records:
        match record:
            case Baseline():
                trail.start = record.at
            case Assessment():
                trail.assessments.append(record)
            case Signal(family=Family.INPUT_DRIFT):
                trail.drift.setdefault(record.name, {})[record.at] = record
                if trail.batches[-1:] != [record.slot]:
                    trail.batches.append(record.slot)
            case Signal(family=Family.DATA_QUALITY) if record.finding.outcome in (Outcome.FAIL, Outcome.ERROR):
                slot = (record.slot.start, record.slot.end)
                bad.setdefault(slot, (record.slot, []))[1].append(record.finding)
            case _:
                pass
    trail.quarantined = [Quarantined(slot, tuple(findings)) for slot, findings in bad.values()]
    return trail

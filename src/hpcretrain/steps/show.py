"""Show: bring up to date what people see of a cycle; no decision ever reads it."""

from __future__ import annotations

from hpcretrain.records import Record, Release
from hpcretrain.report.lineage import cycle_of
from hpcretrain.report.runs import pages
from hpcretrain.steps.desk import Desk


def show(desk: Desk, record: Record) -> None:
    """Show the cycle of a record that was just entered; with a release, also that of the model that it replaces."""
    history = desk.history
    touched = [record]
    if isinstance(record, Release):
        others = (record.candidate, record.previous)
        touched += [history.known[other] for other in others if other is not None]
    for cycle in dict.fromkeys(cycle_of(history, each) for each in touched):
        for page in pages(history, cycle):
            desk.registry.show(page)

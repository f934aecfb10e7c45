"""Which rows a candidate would be trained on, and which are held out to judge it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hpcretrain.ports import Rows
from hpcretrain.records import Window
from hpcretrain.steps.desk import Desk


@dataclass(frozen=True)
class Plan:
    """Matured rows split in time: everything before `holdout.start` trains, the holdout judges."""

    training: Rows
    holdout: Rows


def plan(desk: Desk, unseen_since: datetime) -> Plan:
    """Hold out the newest matured rows that the champion has not learned.

    A holdout of fixed length, not a share of history: one that grew with history would make every candidate stale.

    Args:
        desk: The desk.
        unseen_since: End of the champion's training rows; nothing before it may judge.
    """
    gate, step = desk.terms.policy.gate, desk.terms.config.backtest.observe_every
    end, bad = desk.matured_until, desk.history.quarantine
    since = min(unseen_since, end)
    unseen = desk.table.labeled(since, end, bad)
    newest = desk.table.labeled(max(since, end - step * gate.holdout_batches), end, bad)
    start = desk.table.newest(unseen, min(max(len(newest), gate.min_rows), gate.max_rows))
    return Plan(
        training=desk.table.labeled(desk.start, start, bad),
        holdout=desk.table.labeled(start, end, bad),
    )


def everything(desk: Desk) -> Rows:
    """All matured rows that are not quarantined."""
    return desk.table.labeled(desk.start, desk.matured_until, desk.history.quarantine)


def window(desk: Desk, rows: Rows) -> Window:
    """The record of rows to be trained on."""
    excluded = tuple(span for span in desk.history.quarantine if span[0] < rows.end and span[1] > rows.start)
    return Window(
        name=desk.terms.policy.training.window,
        start=rows.start,
        end=rows.end,
        rows=len(rows),
        digest=desk.table.digest(rows, labels=True),
        excluded=excluded,
    )

"""Which rows pilots learn from, on which they compete, and on which the winner meets the champion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from hpcretrain.canonical import sha256
from hpcretrain.policy import sample
from hpcretrain.policy.types import WindowName
from hpcretrain.ports import Rows
from hpcretrain.records import Stage, Window
from hpcretrain.steps.desk import Desk


@dataclass(frozen=True)
class Plan:
    """Matured rows split in time: `training`, then `selection`, then `holdout`, the newest.

    `fresh` counts those since the rows of the last verdict of the gate.
    """

    training: Rows
    selection: Rows
    holdout: Rows
    fresh: int


@dataclass(frozen=True)
class Draw:
    """The rows that a fit reads, and their record."""

    rows: Rows
    window: Window


def plan(desk: Desk, unseen_since: datetime) -> Plan:
    """Hold out the newest matured rows that the champion has not learned; pilots compete on those just before.

    Both have a fixed length, not a share of history: one that grew with history would make every candidate stale.

    Args:
        desk: The desk.
        unseen_since: End of the champion's training rows; nothing before it may judge.
    """
    gate, end, bad = desk.terms.policy.gate, desk.matured_until, desk.history.quarantine
    start = _newest(desk, min(unseen_since, end), end, gate.holdout_batches)
    before = _newest(desk, desk.start, start, gate.selection_batches)
    gates = [verdict.holdout for verdict in desk.history.verdicts if verdict.stage is Stage.GATE]
    judged_until = max((holdout.end for holdout in gates if holdout), default=desk.start)
    return Plan(
        training=desk.table.labeled(desk.start, before, bad),
        selection=desk.table.labeled(before, start, bad),
        holdout=desk.table.labeled(start, end, bad),
        fresh=len(desk.table.labeled(min(judged_until, end), end, bad)),
    )


def _newest(desk: Desk, since: datetime, end: datetime, batches: int) -> datetime:
    """Where the newest rows before `end` begin: so many batches, but enough rows of each class and not too many."""
    gate, bad = desk.terms.policy.gate, desk.history.quarantine
    step = desk.terms.config.backtest.observe_every
    rows = desk.table.labeled(since, end, bad)
    newest = desk.table.labeled(max(since, end - step * batches), end, bad)
    fewest = sample.enough_of_each(desk.table.labels(rows), desk.terms.config.model.task, gate.min_class_rows)
    return desk.table.newest(rows, min(max(len(newest), gate.min_rows, fewest), gate.max_rows))


def everything(desk: Desk) -> Rows:
    """All matured rows that are not quarantined."""
    return desk.table.labeled(desk.start, desk.matured_until, desk.history.quarantine)


def draw(desk: Desk, rows: Rows, name: WindowName, most: int) -> Draw:
    """Draw the rows that a fit reads from a window over `rows`; the same at every time it is asked."""
    training, ages = desk.terms.policy.training, desk.table.ages(rows)
    seed = int(sha256(f"{desk.terms.config.model.seed} {name} {rows.end.isoformat()}")[:16], 16)
    inside = np.flatnonzero(sample.within(ages, name, training))
    chosen = rows.index[sample.draw(ages, name, most, seed, training)]
    # A window begins at the first row that it could draw, whichever it drew.
    start = rows.start if len(inside) in (0, len(rows)) else desk.table.newest(rows, len(inside))
    drawn = Rows(start, rows.end, chosen)
    return Draw(drawn, window(desk, drawn, name, len(inside)))


def whole(desk: Desk, rows: Rows) -> Draw:
    """All of `rows`, as a draw."""
    return Draw(rows, window(desk, rows, "all", len(rows)))


def window(desk: Desk, rows: Rows, name: WindowName, population: int) -> Window:
    """The record of rows to be trained on, drawn from so many."""
    excluded = tuple(span for span in desk.history.quarantine if span[0] < rows.end and span[1] > rows.start)
    return Window(
        name=name,
        start=rows.start,
        end=rows.end,
        rows=len(rows),
        population=population,
        digest=desk.table.digest(rows, labels=True),
        excluded=excluded,
    )

"""A batch of rows by itself, counted as a frozen reference counts, without a home."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.table import MemoryTable
from hpcretrain.adapters.tablefile import load
from hpcretrain.adapters.tableschema import assemble_known
from hpcretrain.adapters.whylogs import counted, facts
from hpcretrain.adapters.whylogs_rules import Contract
from hpcretrain.counts import BatchCounts
from hpcretrain.errors import InputError
from hpcretrain.ports import Rows


@dataclass(frozen=True)
class Batch:
    """A file of rows, and how its times are read."""

    path: Path
    time_column: str
    timezone: str
    time_format: str | None


def count(batch: Batch, reference: MemoryTable, contract: Contract, model: str) -> tuple[BatchCounts, Rows]:
    """Exact counts of a batch in the bins of a contract, and the stretch of time that its rows lie in.

    Raises:
        InputError: It cannot be read, or is no batch of that table. A column that it lacks has missing cells only.
    """
    from hpcretrain.adapters import whylogs_bins

    names = [column.name for column in reference.columns]
    sheet = load(batch.path, [*names, batch.time_column], reference.hiding)
    if batch.time_column not in sheet.names:
        raise InputError(f"{batch.path}: has no column {batch.time_column}, which data.time_column names")
    if not set(names) & set(sheet.names):
        raise InputError(f"{batch.path}: has none of the columns of the reference: {', '.join(names)}")
    content = assemble_known([sheet], reference.columns, batch.time_column, ZoneInfo(batch.timezone), batch.time_format)
    clock = VirtualClock(reference.first_time)
    table = MemoryTable(content, reference.label_delay, clock)
    if not len(content.times):
        empty = Rows(clock.now(), clock.now(), np.empty(0, dtype=np.int64))
        return BatchCounts(0, 0, {}, hashlib.sha256().hexdigest()), empty
    clock.moment = table.last_time + timedelta(microseconds=2)
    rows = table.rows(table.first_time, clock.moment)
    hashes = np.sort(table.hashes(rows, times=True, labels=False))
    known = facts(model, contract, len(rows), int(np.count_nonzero(hashes[1:] == hashes[:-1])))
    return counted(contract, whylogs_bins.profile(table.frame(rows), contract.rules, rows.start, known)), rows

"""What was spooled beside serving: signals about serving, and a table with labels that a home can read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from hpcretrain.adapters import servingsegments
from hpcretrain.config.sources import ServingMap, read_map
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family, Measure
from hpcretrain.policy.gauge import Gauge, Series, blind, newest_slots, ordered, read, silence
from hpcretrain.policy.serve import Calls, sample

MOST_TOLD = 20
_SERVING = (("latency_p95_ms", True, True), ("error_share", True, False), ("per_second", False, True))
"""Name, whether higher is worse, and whether the effect is a share of the reference."""
Tell = Callable[[str], None]


@dataclass(frozen=True)
class LabelColumns:
    """How labels are read, and what the table's columns are called.

    Attributes:
        identifier: Column of the prediction's id in files of labels.
        label: Column of the label there.
        known: Column of the time when it was known; None where there is none.
        delay: Labels known later than so long after their prediction are left out; None to take all.
        time: What the table calls the time.
        target: What the table calls the label.
    """

    identifier: str
    label: str
    known: str | None
    delay: timedelta | None
    time: str
    target: str


def observe_serving(path: Path, mapping: Path, since: datetime | None, now: datetime, tell: Tell) -> list[Measure]:
    """What the segments that were spooled beside serving say, slot by slot, until now; by default in the newest slot.

    Raises:
        InputError: The map or the segments cannot be used. Lines that cannot be read are told of, and left out.
    """
    terms = read_map(ServingMap, mapping)
    slots = newest_slots(since, now, terms.every)
    spooled = servingsegments.read([path], min([terms.reference.start, *(start for start, _ in slots)]), now)
    _tell_refused(spooled, tell)
    calls = Calls(
        np.array([row.at.timestamp() for row in spooled.rows]),
        np.array([row.latency_ms for row in spooled.rows]),
        np.array([bool(row.error) for row in spooled.rows], dtype=np.bool_),
    )
    usual = sample(calls, terms.reference.start, terms.reference.end, terms.sample)
    newest = sample(calls, slots[0][0], slots[-1][1], terms.sample) if slots else {}
    measures: list[Measure] = []
    for name, higher, relative in _SERVING:
        gauge = Gauge(terms.model, Family.SERVING, name, higher, relative, 1, None)
        for start, end in slots:
            measures += read(gauge, Series(*newest[name]), Series(*usual[name]), start, end)
    heard = Series(calls.times, calls.times)
    for start, end in slots:
        if (gap := silence(heard.between(start, end), start, end)) > terms.expect_every:
            why = f"no prediction was spooled for {gap}, where one is expected every {terms.expect_every}"
            measures.append(blind(terms.model, "predictions", end, why))
        measures += _lost(terms.model, spooled, start, end)
    return ordered(measures)


def make_table(
    segments: Sequence[Path],
    labels: Sequence[Path],
    output: Path,
    columns: LabelColumns,
    span: tuple[datetime | None, datetime | None],
    tell: Tell,
) -> dict[str, Any]:
    """Write the table of spooled predictions with their labels; what was written, and what was left out.

    Raises:
        InputError: Something cannot be read or written; nothing was written then.
    """
    from hpcretrain.adapters import servingtable

    if output.suffix != ".parquet":
        raise InputError(f"{output}: a table of predictions is Parquet; name it *.parquet")
    if columns.delay is not None and labels and columns.known is None:
        raise InputError("--label-delay needs --label-time, the column that says when a label was known")
    spooled = servingsegments.read(segments, *span)
    _tell_refused(spooled, tell)
    if not spooled.rows:
        raise InputError(f"no prediction in {', '.join(map(str, segments))} in that time; nothing was written")
    joined = servingsegments.join(
        servingtable.read_labels(labels, columns.identifier, columns.label, columns.known), spooled, columns.delay
    )
    served = [row for row in spooled.rows if not row.error]
    servingtable.write(output, served, joined.labels, columns.time, columns.target)
    return {
        "table": str(output),
        "rows": len(served),
        "labeled": sum(row.id in joined.labels for row in served),
        "left_out": {
            "failed_predictions": len(spooled.rows) - len(served),
            "repeated_predictions": spooled.duplicates,
            "dropped_predictions": sum(count for *_, count in spooled.dropped),
            "unreadable_lines": len(spooled.refused),
            **{
                f"{why}_labels": joined.left_out.get(why, 0) for why in ("unknown", "repeated", "contradicting", "late")
            },
        },
    }


def _lost(model: str, spooled: servingsegments.Spooled, start: datetime, end: datetime) -> Iterator[Measure]:
    """The share of predictions that were dropped in a slot, if any were."""
    lost = sum(count for at, _, count in spooled.dropped if start < at <= end)
    if lost:
        kept = sum(start < row.at <= end for row in spooled.rows)
        reasons = ", ".join(sorted({why for at, why, _ in spooled.dropped if start < at <= end}))
        why = f"{lost} predictions were not spooled ({reasons}), {kept} were"
        share = lost / (lost + kept)
        yield Measure(model, Family.BLIND, "dropped_predictions", end, share, share, lost + kept, 0.0, reason=why)


def _tell_refused(spooled: servingsegments.Spooled, tell: Tell) -> None:
    """Tell of lines that cannot be read; where there are no others, these are no segments."""
    refused = spooled.refused
    if refused and not (spooled.rows or spooled.dropped):
        raise InputError(refused[:MOST_TOLD])
    for line in refused[:MOST_TOLD]:
        tell(line)
    if len(refused) > MOST_TOLD:
        tell(f"and {len(refused) - MOST_TOLD} more lines that cannot be read")

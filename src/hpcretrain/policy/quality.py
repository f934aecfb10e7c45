"""The data gate: is a batch fit to learn from? Every check gives findings with numbers; unknown is never fine.

Limits are learned: the worst that reference batches and later accepted batches showed, plus the policy's slack. So a
column that is constant for a week, or often missing, or grows slowly, is judged by its own habits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hpcretrain.counts import BatchCounts, ColumnCounts
from hpcretrain.policy.types import DataGate
from hpcretrain.records import Finding, Outcome

FloatArray = npt.NDArray[np.float64]
Columns = Sequence[tuple[ColumnCounts, int]]
"""A column's counts in each batch, with the rows of the batch."""
Habit = Callable[[Columns], float]
"""The share of some kind of cells that is usual for a column."""

CHANCE_OF_CONSTANT = 1e-3
"""Labels that are all the same are suspicious when chance would make them so more seldom than this."""

_NEW_REFERENCE = "check the source; if they are here to stay, begin a new home with a later reference"

NEARLY_CONSTANT = 0.9
"""Share of rows in one frozen bin from which a column is nearly constant."""


def inspect(batch: BatchCounts, accepted: Sequence[BatchCounts], gate: DataGate) -> tuple[Finding, ...]:
    """Check one batch against the batches accepted so far (the reference's first).

    Args:
        batch: Exact counts of the batch.
        accepted: Counts of the reference's batches and of those that passed since, in order of time; not empty.
        gate: The policy's data gate.

    Returns:
        For each check one PASS with its worst column, or one FAIL for each column that fails; INSUFFICIENT for a batch
        without rows.
    """
    if batch.rows == 0:
        return (
            Finding(
                check="rows",
                outcome=Outcome.INSUFFICIENT,
                reason="the batch is empty: the model is blind; check the source",
                observed=0,
                limit=1,
            ),
        )
    earlier = [other for other in accepted if other.rows]
    findings = [_volume(batch, earlier, gate), _duplicates(batch, earlier, gate)]
    shares = _Shares(batch, earlier)
    for check, what, advice, count, slack in (
        ("missing", "missing cells", "check the source", _missing, gate.missing_slack),
        ("type", "cells of another type", "check the source, or declare a category", _wrong_type, 0.0),
        ("infinite", "infinite cells", "check how the column is computed", _infinite, 0.0),
        ("range", "cells outside the plausible range", "check units and sentinels", _outside, gate.out_of_range_slack),
    ):
        findings += shares.check(check, what, advice, count, _highest(count), slack)
    findings += shares.check(
        "category", "cells of unknown category", _NEW_REFERENCE, _unseen, _novelty, gate.new_category_slack
    )
    findings += _constant(batch, earlier)
    return tuple(findings)


def inspect_labels(labels: FloatArray, usual: FloatArray, gate: DataGate) -> tuple[Finding, ...]:
    """Check labels that have matured since the last look, of rows of one batch.

    Args:
        labels: Labels of rows whose label time has come, shape (rows,); NaN where there is none.
        usual: Labels of the reference, likewise; not empty.
        gate: The policy's data gate.
    """
    n = len(labels)
    if n == 0:
        reason = "no label has matured since the last batch"
        return (Finding(check="label_rows", outcome=Outcome.INSUFFICIENT, reason=reason, observed=0, limit=1),)
    missing = int(np.count_nonzero(~np.isfinite(labels)))
    limit = float(np.mean(~np.isfinite(usual))) + gate.missing_slack
    return (
        Finding(
            check="label_missing",
            outcome=Outcome.PASS if missing / n <= limit else Outcome.FAIL,
            reason=f"{missing} of {n} matured labels are missing or unreadable"
            + ("" if missing / n <= limit else "; check how labels are joined"),
            observed=missing / n,
            limit=limit,
        ),
        _label_constant(labels[np.isfinite(labels)], usual[np.isfinite(usual)]),
    )


def _label_constant(labels: FloatArray, usual: FloatArray) -> Finding:
    """Labels that are all the same, unless chance does that when the most frequent one is as frequent as usual."""
    check, n = "label_constant", len(labels)
    if n == 0:
        return Finding(check=check, outcome=Outcome.FAIL, reason="there is no readable label", observed=0, limit=1)
    if len(np.unique(labels)) > 1:
        return Finding(check=check, outcome=Outcome.PASS, reason=f"{n} labels vary", observed=n, limit=n)
    share = float(np.unique(usual, return_counts=True)[1].max() / len(usual))
    chance = share**n
    fine = chance >= CHANCE_OF_CONSTANT
    return Finding(
        check=check,
        outcome=Outcome.PASS if fine else Outcome.FAIL,
        reason=f"{n} labels are all {labels[0]:g}; the chance of that, from the reference, is {chance:.2g}"
        + ("" if fine else "; check how labels are joined"),
        observed=chance,
        limit=CHANCE_OF_CONSTANT,
    )


def _volume(batch: BatchCounts, earlier: Sequence[BatchCounts], gate: DataGate) -> Finding:
    rows = [other.rows for other in earlier]
    low, high = min(rows) / gate.volume_factor, max(rows) * gate.volume_factor
    fine = low <= batch.rows <= high
    return Finding(
        check="volume",
        outcome=Outcome.PASS if fine else Outcome.FAIL,
        reason=f"{batch.rows} rows, where {low:.0f} to {high:.0f} are plausible"
        + ("" if fine else "; check the source"),
        observed=batch.rows,
        limit=low if batch.rows < low else high,
    )


def _duplicates(batch: BatchCounts, earlier: Sequence[BatchCounts], gate: DataGate) -> Finding:
    share = batch.duplicates / batch.rows
    limit = max(other.duplicates / other.rows for other in earlier) + gate.duplicate_slack
    return Finding(
        check="duplicates",
        outcome=Outcome.PASS if share <= limit else Outcome.FAIL,
        reason=f"{batch.duplicates} of {batch.rows} rows repeat another"
        + ("" if share <= limit else "; check whether they were delivered twice"),
        observed=share,
        limit=limit,
    )


def _missing(column: ColumnCounts) -> int:
    return column.missing


def _wrong_type(column: ColumnCounts) -> int:
    return column.wrong_type


def _infinite(column: ColumnCounts) -> int:
    return column.infinite


def _unseen(column: ColumnCounts) -> int:
    return column.unseen


def _outside(column: ColumnCounts) -> int:
    # Only a number's first and last bins are edges of a range; a category has no minimum.
    return column.bins[0] + column.bins[-1] if column.minimum is not None else 0


def _highest(count: Callable[[ColumnCounts], int]) -> Habit:
    """The highest share of such cells in a batch."""
    return lambda batches: max(count(column) / rows for column, rows in batches)


def _novelty(batches: Columns) -> float:
    """The highest share of cells whose category no batch before had: high where categories come and go with time.

    The frozen categories are those of the whole reference; a month's name would be new to nobody there, and to
    everybody after it.
    """
    if batches[0][0].minimum is not None:
        return 0.0
    known = np.array(batches[0][0].bins) > 0
    highest = 0.0
    for column, rows in batches[1:]:
        counts = np.array(column.bins)
        highest = max(highest, (column.unseen + float(counts[~known].sum())) / rows)
        known |= counts > 0
    return highest


class _Shares:
    """Checks of the form: the share of such cells in a column, against the highest share accepted so far."""

    def __init__(self, batch: BatchCounts, earlier: Sequence[BatchCounts]) -> None:
        self.batch = batch
        self.earlier = earlier

    def check(
        self, check: str, what: str, advice: str, count: Callable[[ColumnCounts], int], habit: Habit, slack: float
    ) -> list[Finding]:
        failed, worst = [], None
        for name, column in self.batch.columns.items():
            share = count(column) / self.batch.rows
            limit = habit([(other.columns[name], other.rows) for other in self.earlier]) + slack
            finding = Finding(
                check=f"{check}:{name}",
                outcome=Outcome.PASS if share <= limit else Outcome.FAIL,
                reason=f"{count(column)} of {self.batch.rows} {what} in {name}"
                + ("" if share <= limit else f"; {advice}"),
                observed=share,
                limit=limit,
            )
            if finding.outcome is Outcome.FAIL:
                failed.append(finding)
            if worst is None or share - limit > worst[0]:
                worst = (share - limit, finding)
        if failed or worst is None:
            return failed
        nearest = worst[1]
        return [
            Finding(
                check=check,
                outcome=Outcome.PASS,
                reason=f"all columns within limits; nearest: {nearest.reason}",
                observed=nearest.observed,
                limit=nearest.limit,
            )
        ]


def _may_be_constant(column: ColumnCounts) -> bool:
    """Whether a column was constant, or so nearly that it may well be: rain, say, in a dry week."""
    return column.constant or max(column.bins) >= NEARLY_CONSTANT * column.rows


def _constant(batch: BatchCounts, earlier: Sequence[BatchCounts]) -> list[Finding]:
    suspects = [
        name
        for name, column in batch.columns.items()
        if column.constant and not any(_may_be_constant(other.columns[name]) for other in earlier)
    ]
    if not suspects:
        constant = sum(column.constant for column in batch.columns.values())
        reason = f"{constant} of {len(batch.columns)} columns are constant, as they were, or nearly were, before"
        return [Finding(check="constant", outcome=Outcome.PASS, reason=reason, observed=constant, limit=constant)]
    return [
        Finding(
            check=f"constant:{name}",
            outcome=Outcome.FAIL,
            reason=f"{name} has one value in all {batch.rows} rows; it never came near that in {len(earlier)} "
            "batches; check the source",
            observed=1,
            limit=0,
        )
        for name in suspects
    ]

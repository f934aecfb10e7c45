"""Exact counts of a batch of data in bins frozen on the reference: what profiles hand to the policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ColumnCounts:
    """Exact counts of one feature in one batch.

    `bins` are the frozen bins of the reference. For a number: below the plausible range, the quantile bins, above the
    range; for a category: one a kept category, then one for the other known ones. `unseen` counts categories that the
    reference did not have.
    """

    rows: int
    missing: int
    infinite: int
    wrong_type: int
    unseen: int
    bins: tuple[int, ...]
    minimum: float | None
    maximum: float | None
    constant: bool


@dataclass(frozen=True)
class BatchCounts:
    """Exact counts of a batch: rows, exact duplicates, and each feature's counts. `digest` names them."""

    rows: int
    duplicates: int
    columns: Mapping[str, ColumnCounts]
    digest: str


Counts = tuple[int, ...]
"""One count a bin."""


def distribution(column: ColumnCounts) -> Counts:
    """One count a bin, for drift: the frozen bins, then missing cells, then cells that fit no bin."""
    return (*column.bins, column.missing, column.unseen + column.infinite + column.wrong_type)


def totals(batches: Sequence[BatchCounts], columns: Sequence[str]) -> list[Counts]:
    """The sums of `distribution` over batches, of each column; counts in frozen bins add up exactly."""
    if len(batches) == 1:
        return [distribution(batches[0].columns[column]) for column in columns]
    return [
        tuple(sum(cells) for cells in zip(*(distribution(batch.columns[name]) for batch in batches), strict=True))
        for name in columns
    ]

"""What a column tells of the target or of the time by itself: copies, rules and clocks. Pure numpy.

A column comes as codes, shape (rows,): for each cell the place of its value among the different values, -1 where it is
missing. Codes of numbers have the order of the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcretrain.stats.metrics import measure

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

MIN_ROWS = 100
"""Fewest rows that say anything."""

MIN_CLASS_ROWS = 10
_ROWS_PER_VALUE = 5
# Amounts are often nearly told by what they were a day before, classes seldom by anything.
_SUSPICIOUS_AUC, _SUSPICIOUS_CORRELATION = 0.9, 0.98
_FOLLOWS_TIME = 0.9995
_EXACT = 1 - 1e-12


@dataclass(frozen=True)
class Relation:
    """What a column tells of the target.

    Attributes:
        leak: Why the column gives the target away; None if it does not.
        nearly: Whether it nearly does: it alone ranks the target with an AUC over 0.9, or a rank correlation over 0.98.
    """

    leak: str | None = None
    nearly: bool = False


def relation(codes: IntArray, *, ordered: bool, labels: FloatArray, binary: bool) -> Relation:
    """Look for a copy of the target, or for a rule that gives it away.

    Args:
        codes: The column.
        ordered: Whether the order of codes means something, as for numbers.
        labels: The target, shape (rows,), NaN where missing.
        binary: Whether labels are 0 and 1.
    """
    known = np.isfinite(labels)
    codes, labels = codes[known], labels[known]
    if len(codes) < MIN_ROWS:
        return Relation()
    there = codes >= 0
    if binary and _enough_of_both(labels):
        for label in (0, 1):
            if np.array_equal(there, labels == label):
                return Relation(f"it is there exactly where the target is {label}")
    codes, labels = codes[there], labels[there]
    if len(codes) < MIN_ROWS or (binary and not _enough_of_both(labels)) or len(np.unique(codes)) < 2:
        return Relation()
    strength = _strength(codes, labels, binary) if ordered else 0.0
    leak = _leak(codes, labels, strength, binary=binary)
    return Relation(leak, leak is None and strength > (_SUSPICIOUS_AUC if binary else _SUSPICIOUS_CORRELATION))


def follows(codes: IntArray, stamps: IntArray) -> bool:
    """Whether a column of numbers only grows, or only falls, with time, as row numbers and years do.

    Args:
        codes: The column, in any order of rows.
        stamps: Times, shape (rows,).
    """
    order = np.argsort(stamps, kind="stable")
    order = order[codes[order] >= 0]
    steps = np.diff(codes[order])
    if len(order) < MIN_ROWS or not steps.any():
        return False
    return (
        bool((steps >= 0).all() or (steps <= 0).all())
        or abs(_correlation(codes[order], stamps[order])) >= _FOLLOWS_TIME
    )


def _leak(codes: IntArray, labels: FloatArray, strength: float, *, binary: bool) -> str | None:
    if strength >= _EXACT:
        return (
            "a limit on it tells 0 from 1 without fail" if binary else "it has the same order as the target throughout"
        )
    values, places = np.unique(labels, return_inverse=True)
    distinct = len(np.unique(codes))
    if len(codes) < _ROWS_PER_VALUE * distinct:
        # With a value of its own in nearly every row, anything determines anything.
        return None
    pairs = len(np.unique(codes * len(values) + places))
    if pairs == distinct:
        return "each of its values goes with one value of the target"
    return None


def _strength(codes: IntArray, labels: FloatArray, binary: bool) -> float:
    if not binary:
        return abs(_correlation(codes, labels))
    auc = measure("auc", labels, codes / max(int(codes.max()), 1)).value
    return max(auc, 1 - auc)


def _correlation(left: IntArray | FloatArray, right: IntArray | FloatArray) -> float:
    """Spearman's, by mid-ranks; 0 where one does not vary."""
    ranks = [_midranks(values) for values in (left, right)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _midranks(values: IntArray | FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middle: FloatArray = np.cumsum(counts) - (counts - 1) / 2
    return middle[inverse]


def _enough_of_both(labels: FloatArray) -> bool:
    ones = int(np.count_nonzero(labels == 1))
    return min(ones, len(labels) - ones) >= MIN_CLASS_ROWS

"""The counts of a profile, for a terminal."""

from __future__ import annotations

from hpcretrain.counts import BatchCounts


def show_counts(counts: BatchCounts) -> str:
    """How many rows, and for each feature the cells that are not as the reference has them."""
    lines = [
        f"{counts.rows:,} rows, {counts.duplicates:,} of them equal to an earlier one",
        "",
        f"{'missing':>12} {'wrong type':>12} {'infinite':>12} {'unseen':>12}  feature",
    ]
    for name, column in counts.columns.items():
        numbers = (column.missing, column.wrong_type, column.infinite, column.unseen)
        lines.append(" ".join(f"{number:>12,}" for number in numbers) + f"  {name}")
    return "\n".join(lines)

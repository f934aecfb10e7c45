"""Whole numbers in proportion to shares."""

from __future__ import annotations

import math
from collections.abc import Mapping


def apportion(parts: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that add up to `total`, in proportion to `parts`, by largest remainder (Hamilton's method).

    Args:
        parts: Shares by name, none negative; of equal remainders the first name in the alphabet gets more.
        total: Their sum, not negative.

    Returns:
        A number for each name; all 0 where the parts add up to 0.
    """
    whole = math.fsum(parts.values())
    if total == 0 or whole == 0:
        return dict.fromkeys(parts, 0)
    exact = {name: total * value / whole for name, value in parts.items()}
    found = {name: math.floor(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (found[name] - exact[name], name))
    for name in by_remainder[: total - sum(found.values())]:
        found[name] += 1
    return found

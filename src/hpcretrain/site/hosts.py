"""Names of nodes as Slurm writes them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection


def fold(names: Collection[str]) -> str:
    """A host list: n1, n2, n3, gpu7 is "gpu7,n[1-3]"."""
    stems: dict[tuple[str, int], list[int]] = {}
    whole = []
    for name in names:
        match = re.fullmatch(r"(.*?\D)(0|[1-9]\d*|0\d+)", name)
        if match:
            # Numbers with leading zeros only go with those of their own width.
            width = len(match[2]) if match[2].startswith("0") else 0
            stems.setdefault((match[1], width), []).append(int(match[2]))
        else:
            whole.append(name)
    parts = whole + [_stem(stem, width, sorted(set(numbers))) for (stem, width), numbers in stems.items()]
    return ",".join(sorted(parts))


def _stem(stem: str, width: int, numbers: list[int]) -> str:
    runs = []
    for _, group in itertools.groupby(enumerate(numbers), lambda each: each[1] - each[0]):
        run = [number for _, number in group]
        ends = [run[0]] if len(run) == 1 else [run[0], run[-1]]
        runs.append("-".join(f"{number:0{width}d}" for number in ends))
    return f"{stem}{runs[0]}" if len(numbers) == 1 else f"{stem}[{','.join(runs)}]"

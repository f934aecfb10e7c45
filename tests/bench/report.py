"""docs/benchmarks.md: the last figures, with what to know when reading them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from bench.benchmark import Benchmark, Group
from bench.catalog import BENCHMARKS, GROUPS
from scipy.special import ndtri

HEAD = """# Benchmarks

What `make bench` measured last; `make bench-docs` writes this page from it. Goals are far on purpose. Figures of
times and ratios come from medians; with a peer, both ran alternately on the same input. A rate of errors stands
beside its power, with its 95 % interval (Wilson).
"""

DRIFT = """## Drift: what is simulated

A reference of 30 days, then 30 days of one batch a day; 50 independent normal features, counted in frozen deciles, of
which ten tell of the label; a binary task with a fifth of positives and an AUC of 0.75; labels a day late. The first
champion is judged as usual, on a quarter of the reference or `gate.max_rows`. Signals, score and request are the
package's own, under the shipped policy. The change keeps predictions unbiased and where they were, which is the harder
case: only five features, which move and tell less, and the AUC, with the calibration in its wake, tell of it.
"""

PROMOTION = """## Promotion: what is simulated

A holdout of 5,000 rows with a fifth of positives; two calibrated models whose scores correlate 0.9 within a class;
the package's own gate under the shipped policy: AUC superior, log loss not inferior, first use of the holdout.
Champion and candidate of the demo correlate 0.83 to 0.99 on their holdouts, 0.95 in the middle.
"""

EXPLAINED = {"drift": DRIFT, "promotion": PROMOTION}


def document(lines: Sequence[Mapping[str, Any]], raw: Mapping[str, Any]) -> str:
    """The page, from lines as `bench.json` has them and what `bench-samples.json` holds."""
    runs = dict.fromkeys(
        f"`{run['command']}` on {run['date']}, commit {run['commit']}; {run['machine']}; Python {run['python']}."
        for run in (raw[group.name]["run"] for group in GROUPS)
    )
    rows = [_row(BENCHMARKS[line["name"]], line) for line in lines]
    parts = [
        HEAD,
        "".join(f"{run}\n\n" for run in runs).removesuffix("\n"),
        _table(("Benchmark", "Measures", "Figure", "Goal", "Ours", "Peer", "Runs", "Remark"), rows),
    ]
    for group in GROUPS:
        if group.name in EXPLAINED:
            parts += [EXPLAINED[group.name], _asides(group, raw[group.name]["asides"])]
    return "\n".join(part for part in parts if part)


def wilson(share: float, runs: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's (1927) interval of a share of `runs` outcomes.

    Raises:
        ValueError: There are no outcomes.
    """
    if runs < 1:
        raise ValueError("no outcomes, so no interval")
    z = float(ndtri((1 + level) / 2))
    middle = (share + z**2 / (2 * runs)) / (1 + z**2 / runs)
    half = z * math.sqrt(share * (1 - share) / runs + z**2 / (4 * runs**2)) / (1 + z**2 / runs)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _row(benchmark: Benchmark, line: Mapping[str, Any]) -> tuple[str, ...]:
    goal = f"{'≥' if benchmark.better == 'higher' else '≤'} {benchmark.goal:g}"
    if line["value"] is None:
        figure, ours, peer = f"missing: {line['why']}", "", ""
    elif benchmark.rate:
        figure, ours, peer = _rate(line["value"], line["runs"]), "", ""
    else:
        unit = "" if benchmark.unit == "ratio" else f" {benchmark.unit}"
        figure, ours, peer = f"{line['value']:.3g}{unit}", _number(line["ours"]), _number(line["peer"])
    return f"`{benchmark.name}`", benchmark.what, figure, goal, ours, peer, str(line["runs"]), benchmark.remark


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _rate(share: float, runs: int) -> str:
    low, high = wilson(share, runs)
    return f"{share:.3g} ({low:.3f} to {high:.3f})"


def _asides(group: Group, asides: Sequence[Mapping[str, Any]]) -> str:
    if not asides:
        return ""
    names = [benchmark.name for benchmark in group.benchmarks]
    rows = [
        (aside["condition"], *(_rate(aside["rates"][name], aside["runs"]) for name in names), str(aside["runs"]))
        for aside in asides
    ]
    return _table(("Other condition", *(f"`{name}`" for name in names), "Runs each"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |\n" for line in lines)

"""Draw the result of a backtest: `python tools/picture.py .hpcretrain/result.json docs/pictures/flights.png`."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

STYLES = {
    "served": ("#0b5fa5", "-", 2.6, "served (hpcretrain)"),
    "ungated": ("#444444", "--", 1.6, "retrained monthly, no gate"),
    "frozen": ("#b3541e", ":", 1.8, "frozen first model"),
}


def draw(result: dict, path: Path) -> None:
    """The primary metric by period for the three arms, and the cycles."""
    metric = result["primary_metric"]
    times = [datetime.fromisoformat(period["start"]) for period in result["periods"]]
    figure, axes = plt.subplots(figsize=(9, 4.2), dpi=110)
    for arm, (color, dash, width, label) in STYLES.items():
        mean = result["summary"][arm]
        values = [period[arm][metric] for period in result["periods"]]
        axes.plot(times, values, dash, color=color, linewidth=width, label=f"{label}: mean {mean:.4f}")
    low, high = axes.get_ylim()
    for cycle in result["cycles"]:
        at = datetime.fromisoformat(cycle["requested_at"])
        mark, color = ("^", "#1a7f37") if cycle["released"] else ("x", "#9a1b1b")
        axes.plot([at], [low + 0.02 * (high - low)], mark, color=color, markersize=9, clip_on=False)
    axes.plot([], [], "^", color="#1a7f37", label="retrained and released")
    axes.plot([], [], "x", color="#9a1b1b", label="retrained, stopped at the gate")
    axes.set_ylim(low, high)
    axes.set_ylabel(metric.upper())
    axes.set_title(f"{result['model']}: {metric.upper()} by period", loc="left", fontsize=11)
    axes.grid(axis="y", color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))

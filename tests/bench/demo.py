"""The demo, run as a user runs it, each time in a new home."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.samples import Samples

RUNS = 5


def run(runs: int = RUNS) -> dict[str, Samples]:
    """Wall seconds of the demo, and from the same runs served and ungated AUC, and CPU seconds of both.

    Raises:
        CalledProcessError: A demo failed.
    """
    walls, summaries = [], []
    for number in range(1, runs + 1):
        wall, summary = _once()
        print(f"demo {number} of {runs}: {wall:.0f} s", file=sys.stderr)
        walls.append(wall)
        summaries.append(summary)
    return {
        "demo_wall_s": Samples(walls),
        "backtest_served_vs_ungated": _pair(summaries, "served", "ungated"),
        "backtest_cpu_ratio": _pair(summaries, "train_cpu_s", "ungated_train_cpu_s"),
    }


def _once() -> tuple[float, dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="hpcretrain-bench-") as folder:
        home = Path(folder) / "home"
        command = [sys.executable, "-m", "hpcretrain", "demo", "--home", str(home)]
        start = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall = time.monotonic() - start
        summary: dict[str, Any] = json.loads((home / "result.json").read_text(encoding="utf-8"))["summary"]
    return wall, summary


def _pair(summaries: list[dict[str, Any]], ours: str, peer: str) -> Samples:
    return Samples([summary[ours] for summary in summaries], [summary[peer] for summary in summaries])

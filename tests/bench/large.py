"""The profile of a large table by Dask's workers on this machine: rows a second, what a second worker adds, merging.

Run alone: `PYTHONPATH=tests python -m bench.large`.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
from bench.profile_frames import CURRENT, REFERENCE, mixed_frame
from bench.samples import Measured, Samples
from distributed import Client, LocalCluster

from hpcretrain.adapters.dask import SETTINGS, OnWorkers
from hpcretrain.adapters.large import build
from hpcretrain.adapters.largeplan import Reading, Window, split, whole
from hpcretrain.adapters.largework import profile_part
from hpcretrain.adapters.whylogs import contract_path
from hpcretrain.adapters.whylogs_rules import CategoryRule, Contract, NumberRule

FILES, ROWS, RUNS = 12, 250_000, 3
"""Files, rows of each, and how often each number of workers is measured."""

WARM_ROWS = 1_000


def measure() -> Measured:
    """Samples of the group."""
    with tempfile.TemporaryDirectory(prefix="hpcretrain-bench-large-") as folder:
        table = _Table(Path(folder))
        found: dict[int, list[Spent]] = {1: [], 2: []}
        for run in range(RUNS):
            for workers, spent in found.items():
                spent.append(table.profile(workers, Path(folder) / f"{workers}-{run}"))
    parts = profile_part.__name__
    walls = {workers: [run.wall_s for run in spent] for workers, spent in found.items()}
    return Measured(
        {
            "profile_worker_rows_s": Samples([FILES * ROWS / run.cpu_s[parts] for run in found[1]]),
            "profile_second_worker": Samples(walls[2], walls[1]),
            "profile_merge_ms": Samples([1000 * (run.cpu_s.total() - run.cpu_s[parts]) / FILES for run in found[1]]),
        }
    )


@dataclass
class Spent:
    """Wall seconds, and CPU seconds of all workers by the function that they were spent on."""

    wall_s: float = 0.0
    cpu_s: Counter[str] = field(default_factory=Counter)


class _Table:
    """Files of 19 mixed columns and a time, and the contract by which they are counted."""

    def __init__(self, folder: Path) -> None:
        self.contract = _frozen(mixed_frame(ROWS, REFERENCE).drop(columns="time"))
        self.paths = []
        frame = mixed_frame(ROWS, CURRENT)
        for number in range(FILES):
            # Other times are other rows.
            frame["time"] += pd.Timedelta(days=31)
            self.paths.append(folder / f"{number:02}.parquet")
            frame.to_parquet(self.paths[-1], index=False)
        self.warm = folder / "warm.parquet"
        frame.head(WARM_ROWS).to_parquet(self.warm, index=False)

    def profile(self, workers: int, folder: Path) -> Spent:
        """Profile all files; what it took."""
        contract = contract_path(folder, self.contract.digest)
        folder.mkdir(mode=0o700)
        contract.write_text(self.contract.body)
        reading = Reading(folder, self.contract.digest, "time", "UTC", None, Window())
        spent = Spent()
        names = tuple(self.contract.rules)
        gc.collect()
        local = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0")
        with dask.config.set(SETTINGS), local as cluster, Client(cluster, set_as_default=False) as client:
            # Every worker has all imported.
            warm = [split(whole([self.warm]), names)[0]]
            client.run(_warm, reading, warm[0])
            each = OnWorkers(client, lambda: "", lambda _: None)

            def timed(act: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
                start, cpu_s = time.perf_counter(), sum(client.run(time.process_time).values())
                results = each(act, arguments)
                spent.wall_s += time.perf_counter() - start
                spent.cpu_s[act.__name__] += sum(client.run(time.process_time).values()) - cpu_s
                return results

            built = build(reading, split(whole(self.paths), names, ROWS * len(names)), timed)
        if built.rows != FILES * ROWS:
            raise RuntimeError(f"{built.rows} rows were counted, not {FILES * ROWS}")
        return spent


def _warm(reading: Reading, pieces: Any) -> None:
    from hpcretrain.adapters.largeplan import Order

    profile_part(Order(reading, pieces))


def _frozen(frame: pd.DataFrame) -> Contract:
    rules: dict[str, NumberRule | CategoryRule] = {}
    for name, cells in frame.items():
        if cells.dtype == object:
            rules[str(name)] = CategoryRule.freeze(cells.tolist())
        else:
            rules[str(name)] = NumberRule.freeze(cells.to_numpy(dtype=np.float64), 0.5)
    return Contract(0.5, rules)


if __name__ == "__main__":
    for name, samples in measure().samples.items():
        print(name, [round(each, 2) for each in samples.ours], [round(each, 2) for each in samples.peer])

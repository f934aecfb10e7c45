"""CPU seconds of data profiles, ours and the peers', alternating on the same frame.

Run alone: `PYTHONPATH=tests python -m bench.profiles [PYTHON_OF_EVIDENTLY]`.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from whylogs_schema import standard_schema, whylogs_fill

# isort: split
import whylogs as why
from bench.profile_frames import CURRENT, REFERENCE, ROWS, fingerprint, mixed_frame, row_hashes

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.whylogs import WhylogsProfiles
from hpcretrain.counts import distribution
from hpcretrain.ports import HashArray, Rows
from hpcretrain.records import Baseline, Slice
from hpcretrain.stats.drift import Drift, psi

RUNS = 5
START = datetime(2024, 1, 1, tzinfo=UTC)
Figures = tuple[list[float], list[float]]


def profile_cpu_vs_whylogs(rows: int = ROWS, runs: int = RUNS) -> Figures:
    """CPU seconds of a serialized profile by run: ours, and `whylogs.log`'s, with the same metrics of whylogs."""
    frame = mixed_frame(rows, CURRENT)

    def ours() -> bytes:
        return bytes(whylogs_fill.fill(frame, standard_schema(), START).serialize())

    def peer() -> bytes:
        return bytes(why.log(pandas=frame, schema=standard_schema()).view().serialize())

    return _alternate(lambda: _cpu(ours), lambda: _cpu(peer), runs)


def profile_cpu_vs_evidently(python: Path, rows: int = ROWS, runs: int = RUNS) -> Figures:
    """CPU seconds by run: of our stored profile and drift of every column, and of evidently's data drift report.

    The reference is counted in advance, once, as in production, where it is frozen with the first model. Evidently has
    no such step: its report takes both frames, every time. What is timed of ours: numbers put into float64, the frozen
    contract read, the profile with all of whylogs' metrics and the frozen bins made and stored durably, counts taken
    from what is stored, and the drift of each of the 20 columns, the times included, which evidently leaves out.

    Args:
        python: Of an environment with `requirements-evidently.txt`.
        rows: Of each frame.
        runs: How many of each.

    Raises:
        RuntimeError: Evidently's process ended, or has other frames.
    """
    command = [str(python), "-m", "bench.evidently_report", str(rows)]
    tests = str(Path(__file__).parents[1])
    # One thread, as ours.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": tests, "DO_NOT_TRACK": "1"}
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process,
    ):
        reference, current = (_Table(mixed_frame(rows, seed)) for seed in (REFERENCE, CURRENT))
        watch = _Watch(Path(folder), reference, current)

        def answer() -> str:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise RuntimeError("evidently's process ended; what it wrote above says why")
            return line

        def peer() -> float:
            print(file=process.stdin, flush=True)
            return float(answer())

        if answer().split() != [str(table.fingerprint) for table in (reference, current)]:
            raise RuntimeError("evidently's frames are not ours; do the two versions of numpy draw other numbers?")
        return _alternate(lambda: _cpu(watch.drifts), peer, runs)


def _alternate(ours: Callable[[], float], peer: Callable[[], float], runs: int) -> Figures:
    pairs = [(ours(), peer()) for _ in range(runs)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def _cpu(act: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    act()
    return time.process_time() - start


@dataclass(frozen=True)
class _Column:
    name: str
    kind: str


class _Table:
    """A frame as hpcretrain's table gives it: numbers as float64, text as objects, and a hash of each row."""

    def __init__(self, data: pd.DataFrame) -> None:
        self._data = data
        self._hashes = row_hashes(data)
        self.fingerprint = fingerprint(self._hashes)
        kinds = {name: "category" if cells.dtype == object else "number" for name, cells in data.items()}
        self.columns = tuple(_Column(name, kind) for name, kind in kinds.items())

    def rows(self, start: datetime) -> Rows:
        return Rows(start, start + timedelta(days=1), np.arange(len(self._data)))

    def frame(self, rows: Rows) -> pd.DataFrame:
        return pd.DataFrame({column.name: self._cells(column) for column in self.columns})

    def hashes(self, rows: Rows, *, times: bool, labels: bool) -> HashArray:
        return self._hashes

    def _cells(self, column: _Column) -> pd.Series:
        cells = self._data[column.name]
        if column.kind == "category":
            return cells
        return (cells.astype(np.int64) if cells.dtype.kind == "M" else cells).astype(np.float64)


class _Watch:
    """A frozen reference, and a newer frame that is profiled anew each time."""

    def __init__(self, folder: Path, reference: _Table, current: _Table) -> None:
        self._folder, self._current, self._runs = folder, current, 0
        self._ledger = FileLedger(folder / "ledger.jsonl")
        profiles, rows = self._profiles(reference), reference.rows(START)
        baseline = Baseline(
            model="m", at=START, config_digest="", policy_digest="", rule_version="1", batch_s=3600,
            contract_digest=profiles.freeze(rows), reference=Slice(rows.start, rows.end, len(rows), ""),
        )  # fmt: skip
        self._ledger.append([baseline])
        self._frozen = profiles.counts(rows)

    def drifts(self) -> list[Drift]:
        self._runs += 1
        # Rows of another day each time, so that no stored profile serves.
        counts = self._profiles(self._current).counts(self._current.rows(START + timedelta(days=self._runs)))
        return [
            psi(distribution(frozen), distribution(counts.columns[name]), z=1.645)
            for name, frozen in self._frozen.columns.items()
        ]

    def _profiles(self, table: _Table) -> WhylogsProfiles:
        return WhylogsProfiles(table, self._folder / "profiles", self._ledger, "m", range_slack=0.5)


def _report(name: str, figures: Figures) -> None:
    ours, peer = figures
    print(f"{name}: {median(peer) / median(ours):.1f}", flush=True)
    for who, samples in (("ours", ours), ("peer", peer)):
        print(
            f"  {who} {median(samples):.2f} CPU s, by run {' '.join(f'{sample:.2f}' for sample in samples)}", flush=True
        )


if __name__ == "__main__":
    size = int(os.environ.get("ROWS", ROWS))
    _report("profile_cpu_vs_whylogs", profile_cpu_vs_whylogs(size))
    if len(sys.argv) > 1:
        _report("profile_cpu_vs_evidently", profile_cpu_vs_evidently(Path(sys.argv[1]), size))

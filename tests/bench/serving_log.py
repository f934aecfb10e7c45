"""What the logger beside serving costs a call: eight threads that predict and log, 20 inputs a prediction."""

from __future__ import annotations

import json
import random
import tempfile
import threading
import time
from pathlib import Path

from bench.samples import Measured, Samples

from hpcretrain.servinglog import ServingLog

THREADS, CALLS, INPUTS, RUNS = 8, 2000, 20, 5
PAUSE_S = 0.001
"""Between two predictions of a thread, as if it waited for the next request: some 7,000 predictions a second in all."""


def measure() -> Measured:
    """The median and the 99th percentile of µs a call, one of each a run."""
    runs = [_run() for _ in range(RUNS)]
    return Measured(
        {
            "serving_log_us": Samples([_quantile(calls, 0.5) for calls in runs]),
            "serving_log_p99_us": Samples([_quantile(calls, 0.99) for calls in runs]),
        }
    )


def _run() -> list[float]:
    """µs of each call, in order of size; all that was logged has come to the disk."""
    chance = random.Random(1)
    inputs = {f"input_{k}": chance.random() if k % 4 else f"category {k}" for k in range(INPUTS)}
    calls: list[list[float]] = [[] for _ in range(THREADS)]
    with tempfile.TemporaryDirectory(prefix="hpcretrain-bench-") as folder:
        log = ServingLog(folder, "v1", drop=["input_3"], mask=["input_4"], least_free_mb=0)

        def work(number: int) -> None:
            for call in range(CALLS):
                begun = time.perf_counter_ns()
                log.log(f"{number}-{call}", inputs, 0.5, latency_s=0.002)
                calls[number].append((time.perf_counter_ns() - begun) / 1000)
                time.sleep(PAUSE_S)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        log.close(60)
        lines = [line for path in Path(folder).iterdir() for line in path.read_text().splitlines()]
    if log.dropped or len({json.loads(line)["id"] for line in lines}) != THREADS * CALLS:
        raise RuntimeError(f"{THREADS * CALLS} predictions were logged, {len(lines)} written, {log.dropped} dropped")
    return sorted(each for some in calls for each in some)


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[int(share * (len(ordered) - 1))]

"""How long it takes to log a model and register it as a version: `python tests/bench/mlflow_store.py`.

The model is one of the size that the demo trains; everything that a run carries is logged with it.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.mlflow import MlflowRegistry
from hpcretrain.adapters.origin import Origin, environment
from hpcretrain.ports import Trained
from hpcretrain.records import Candidate, Job, PriorityClass, Purpose, Window

WARM_RUNS = 9
MODEL_BYTES = 200_000
AT = datetime(2024, 1, 1, tzinfo=UTC)


def log_model_s() -> list[float]:
    """Seconds of each of `WARM_RUNS` calls that log and register a model, after one that makes the store."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "models" / "digest").mkdir(parents=True)
        (home / "models" / "digest" / "model.txt").write_bytes(b"7" * MODEL_BYTES)
        tags, text = environment()
        columns = [(f"feature_{number}", "double") for number in range(20)]
        origin = Origin(tags=tags, params={"threads": "1"}, environment=text, columns=columns)
        registry = MlflowRegistry(
            home / "mlflow", "bench", home / "models", FileLedger(home / "ledger.jsonl"), origin=origin
        )
        return [_register(registry, number) for number in range(1 + WARM_RUNS)][1:]


def _register(registry: MlflowRegistry, number: int) -> float:
    window = Window("all", AT, AT + timedelta(days=number + 1), 1_000, 1_000, f"{number:064d}")
    job = Job(
        model="bench", at=AT, answers=("decision-1",), purpose=Purpose.JUDGE, priority_class=PriorityClass.STANDARD,
        recipe="lightgbm", params={"num_leaves": "15"}, seed=number, window=window, cost_mrow_passes=1.0,
    )  # fmt: skip
    candidate = Candidate(
        model="bench", at=AT, answers=(job.id,), purpose=Purpose.JUDGE, model_digest="digest", window=window
    )
    lineage = {"cycle": f"request-{number:016d}", "parent": "candidate-0", "data_digest": window.digest}
    began = time.perf_counter()
    registry.register(candidate, job, Trained("digest", 1.0), lineage)
    return time.perf_counter() - began


if __name__ == "__main__":
    seconds = log_model_s()
    shown = {"median": statistics.median(seconds), "worst": max(seconds), "all": seconds}
    print(json.dumps({"log_model_s": shown}, default=float))

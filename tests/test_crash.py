"""A run that is killed with SIGKILL at any moment and started again ends with the same ledger head."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tables import configure, orders

from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.errors import LedgerError
from hpcretrain.history import History
from hpcretrain.records import Candidate, Outcome

TABLE = orders(rows=8_000, minutes=16)


def start(config: Path, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hpcretrain", "backtest", str(config), "--home", str(home), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(config: Path, home: Path) -> dict:
    process = start(config, home)
    out, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    result: dict = json.loads(out)
    return result


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, float]:
    """A configuration, its result when nobody interferes, and how long that took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = configure(folder, TABLE)
    began = time.monotonic()
    result = finish(config, folder / "home")
    assert result["summary"]["releases"] >= 1
    return config, result, time.monotonic() - began


def kill_after(config: Path, home: Path, seconds: float) -> None:
    """Start a run and kill the controller alone: its training job, if it has one, lives on."""
    process = start(config, home)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("seed", range(2))
def test_a_run_killed_at_random_moments_ends_with_the_same_head(
    seed: int, undisturbed: tuple[Path, dict, float], tmp_path: Path
) -> None:
    config, expected, seconds = undisturbed
    moments = random.Random(seed)
    for _ in range(4):
        kill_after(config, tmp_path / "home", moments.uniform(0.1, 0.6) * seconds)
    result = finish(config, tmp_path / "home")
    assert result["ledger_head"] == expected["ledger_head"]
    assert result["periods"] == expected["periods"]
    assert [finding.outcome for finding in verify(tmp_path / "home" / "ledger.jsonl")] == [Outcome.PASS] * 2
    assert_mlflow_tells_all_once(tmp_path / "home")


def assert_mlflow_tells_all_once(home: Path) -> None:
    """Every candidate is one finished run below its cycle and one version; the champion is the one that serves."""
    from mlflow import MlflowClient

    history = History.fold(FileLedger(home / "ledger.jsonl", read_only=True).records())
    candidates = sorted(record.id for record in history.known.values() if isinstance(record, Candidate))
    client = MlflowClient(f"sqlite:///{home}/mlflow/mlflow.db")
    runs = client.search_runs(["1"])
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId")]
    assert sorted(run.data.tags["hpcretrain.id"] for run in below) == candidates
    assert {run.info.status for run in below} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in below} == {
        run.info.run_id for run in runs if run not in below
    }
    versions = client.search_model_versions("name = 'orders'")
    assert sorted(version.tags["hpcretrain.id"] for version in versions) == candidates
    champion = client.get_model_version_by_alias("orders", "champion")
    assert champion.tags["hpcretrain.id"] == history.champion.candidate
    assert champion.tags["hpcretrain.champion"].endswith("to now")
    assert sum("now" in version.tags.get("hpcretrain.champion", "") for version in versions) == 1


def test_a_training_job_that_outlives_its_controller_is_not_done_twice(
    undisturbed: tuple[Path, dict, float], tmp_path: Path
) -> None:
    config, expected, _ = undisturbed
    home = tmp_path / "home"
    process = start(config, home)
    deadline = time.monotonic() + 60
    submitted: list = []
    while not submitted and time.monotonic() < deadline:
        time.sleep(0.01)
        if (home / "ledger.jsonl").exists():
            try:
                submitted = FileLedger(home / "ledger.jsonl", read_only=True).notes("job_submitted")
            except LedgerError:  # the file is being made just now
                continue
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert submitted
    assert finish(config, home)["ledger_head"] == expected["ledger_head"]
    notes = FileLedger(home / "ledger.jsonl", read_only=True)
    job = submitted[0]["serves"]
    assert len(notes.notes("job_finished", job)) == 1


def test_a_second_process_is_turned_away_while_the_first_works(
    undisturbed: tuple[Path, dict, float], tmp_path: Path
) -> None:
    config, expected, _ = undisturbed
    first = start(config, tmp_path / "home")
    while not (tmp_path / "home" / "home.json").exists():
        time.sleep(0.02)
    second = start(config, tmp_path / "home")
    _, told = second.communicate(timeout=60)
    assert second.returncode == 2
    assert "is in use by process" in told
    out, _ = first.communicate(timeout=300)
    assert json.loads(out)["ledger_head"] == expected["ledger_head"]

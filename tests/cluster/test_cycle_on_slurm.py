"""The whole cycle on a real cluster, by an ordinary user: it ends as it does on one machine, whatever happens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from site_for_tests import until
from tables import configure, orders

from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.records import Outcome
from minicluster import Cluster

TABLE = orders(rows=8_000, minutes=16)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configure(tmp_path_factory.mktemp("table"), TABLE)


@pytest.fixture(scope="module")
def local(config: Path) -> dict[str, Any]:
    """The result on this machine alone."""
    command = [
        sys.executable,
        "-m",
        "hpcretrain",
        "backtest",
        str(config),
        "--home",
        str(config.parent / "home"),
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture
def place(cluster: Cluster, config: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of the ordinary user's with the same table."""
    folder = cluster.state / "home" / request.node.name
    cluster.run(["mkdir", str(folder)], check=True)
    for source in (config, config.parent / "table.csv"):
        shutil.copy(source, folder)
        (folder / source.name).chmod(0o644)
    return folder


def start(cluster: Cluster, place: Path, *more: str) -> subprocess.Popen[str]:
    command = [str(cluster.python), "-m", "hpcretrain", "backtest", "config.toml", "--home", "home", "--json", *more]
    arguments = {**cluster.as_user(), "cwd": place}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **arguments)


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    result: dict[str, Any] = json.loads(out)
    return result


def notes(place: Path, event: str) -> list[dict[str, Any]]:
    if not (place / "home" / "anchor.json").exists():
        # It comes last.
        return []
    ledger = FileLedger(place / "home" / "ledger.jsonl", read_only=True)
    return [dict(note) for note in ledger.notes(event)]


def test_a_backtest_on_the_cluster_ends_with_the_ledger_head_of_the_local_one(
    cluster: Cluster, place: Path, local: dict[str, Any]
) -> None:
    result = end(start(cluster, place, "--cluster", str(cluster.profile)))
    assert result["ledger_head"] == local["ledger_head"]
    assert result["periods"] == local["periods"]
    assert len(notes(place, "job_proven")) == len(notes(place, "job_finished")) > 5
    assert result["cluster"]["calls"]["sbatch"] == len({note["name"] for note in notes(place, "job_intended")})
    classes = {note["class"] for note in notes(place, "job_intended")}
    assert "background" in classes
    assert len(classes) > 1, "the decision's class is the job's"
    assert [finding.outcome for finding in verify(place / "home" / "ledger.jsonl")] == [Outcome.PASS] * 2
    job = notes(place, "job_proven")[0]["serves"]
    command = [str(cluster.python), "-m", "hpcretrain", "explain", job, "--home", "home"]
    said = cluster.run(command, cwd=place, capture_output=True, text=True, check=True).stdout
    assert "attempt 1 (background, job " in said
    assert "kept off inference: it ran on train" in said


def test_it_ends_the_same_when_the_controller_is_killed_and_jobs_are_preempted_meanwhile(
    cluster: Cluster, place: Path, local: dict[str, Any]
) -> None:
    for seconds in (4.0, 7.0, 5.0):
        process = start(cluster, place, "--cluster", str(cluster.profile))
        time.sleep(seconds)
        for number in cluster.ask("squeue", "-h", "-r", "-t", "running", "-o", "%A").split():
            subprocess.run(["scontrol", "requeue", number], env=cluster.environ | {"PATH": "/usr/bin"}, check=False)
        process.kill()
        process.communicate()
    result = end(start(cluster, place, "--cluster", str(cluster.profile)))
    assert result["ledger_head"] == local["ledger_head"]
    assert result["periods"] == local["periods"]
    until(lambda: not cluster.ask("squeue", "-h"))


def test_a_home_goes_on_elsewhere(cluster: Cluster, place: Path, local: dict[str, Any]) -> None:
    process = start(cluster, place, "--cluster", str(cluster.profile))
    until(lambda: notes(place, "job_proven"))
    process.kill()
    process.communicate()
    assert end(start(cluster, place))["ledger_head"] == local["ledger_head"], "on the login node, for want of a cluster"


def test_a_profile_that_cannot_be_used_is_refused_before_anything_is_made(cluster: Cluster, place: Path) -> None:
    text = cluster.profile.read_text().replace('folder = "/usr/bin"', 'folder = "/nowhere"')
    (place / "broken.toml").write_text(text)
    (place / "broken.toml").chmod(0o644)
    process = start(cluster, place, "--cluster", "broken.toml")
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "there is no sbatch in /nowhere; set commands.folder of the cluster profile" in told
    assert not (place / "home").exists()

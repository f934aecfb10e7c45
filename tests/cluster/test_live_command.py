"""One command brings the live system up, another takes it down."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from site_for_tests import until

from minicluster import Cluster, Settings

ROOT = Path(__file__).parents[2]


def live(verb: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "tools" / "live.py"), verb, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "slurm")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def code(page: str) -> int:
    """What a page answers to somebody without a password."""
    try:
        with urllib.request.urlopen(page, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_live_system_comes_up_trains_on_slurm_and_leaves_nothing() -> None:
    cluster = Cluster(settings=Settings(name="live"))
    assert not cluster.state.exists(), "a live system is up; `make live-down` ends it"

    def status() -> dict[str, Any]:
        home = str(cluster.state / "home" / "flights" / "home")
        command = [str(cluster.python), "-m", "hpcretrain", "status", "--home", home, "--json"]
        done = cluster.run(command, capture_output=True, text=True)
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    try:
        told = live("up", "--days-a-minute", "120")
        pages = re.findall(r"http://127.0.0.1:[0-9]+", told)
        closed = [f"{pages[0]}/api/admin/version", f"{pages[1]}/api/2.0/mlflow/experiments/search?max_results=1"]
        assert [code(page) for page in closed] == [401, 401]
        assert live("up") == told, "what is up is left as it is"
        until(lambda: cluster.ask("sacct", "-a", "-n", "-X", "-S", "now-1hour", "-o", "JobName").strip(), 240)
        assert status()["champion"]
    finally:
        live("down")
    assert not cluster.state.exists()
    left = subprocess.run(["pgrep", "--full", str(cluster.state)], capture_output=True, text=True).stdout
    assert left == ""

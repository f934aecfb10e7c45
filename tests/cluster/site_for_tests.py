"""A cluster as a site where an ordinary user trains."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobs_for_tests import SLOW_MEAN

from hpcretrain.adapters.ledger import FileLedger
from minicluster import Cluster

_numbers = itertools.count(1)


class Training:
    """A controller of the ordinary user that trains jobs, or did; its home, and its jobs in Slurm's eyes."""

    def __init__(self, cluster: Cluster, asked: dict[str, Any]) -> None:
        self.cluster = cluster
        self.asked = asked
        self.home = Path(asked["home"])
        self.process: subprocess.Popen[str] | None = None

    def start(self, **env: str) -> Training:
        """Start the controller, for the first time or again."""
        self.process = subprocess.Popen(
            [str(self.cluster.python), "driver.py", json.dumps(self.asked)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{**self.cluster.as_user(env), "cwd": self.home.parent},
        )
        return self

    def end(self, within_s: float = 120.0) -> dict[str, Any]:
        """What the controller printed."""
        assert self.process is not None
        try:
            out, told = self.process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, told = self.process.communicate()
            raise AssertionError(
                f"no end within {within_s} s:\n{told}\n{self.cluster.ask('squeue', '-t', 'all')}"
            ) from None
        assert self.process.returncode == 0, told
        answer: dict[str, Any] = json.loads(out)
        return answer

    def kill(self) -> None:
        """Kill the controller alone."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def notes(self, event: str) -> list[dict[str, Any]]:
        """Notes of one kind in its ledger."""
        if not (self.home / "ledger.jsonl").exists():
            return []
        ledger = FileLedger(self.home / "ledger.jsonl", read_only=True)
        try:
            return [dict(note) for note in ledger.notes(event)]
        finally:
            ledger.close()

    def fates(self) -> list[str]:
        """How its attempts ended, in order."""
        return [note["fate"] for note in self.notes("job_ended")]

    @property
    def spool(self) -> Path:
        """Its part of the shared spool."""
        return self.cluster.spool / self.home.name

    def lives(self) -> list[Path]:
        """The folders of all lives of its jobs."""
        return sorted(self.spool.glob("jobs/*/lives/*"))

    def told(self, name: str) -> list[dict[str, Any]]:
        """What its lives wrote into the file of that name, oldest first."""
        return [json.loads(path.read_text()) for life in self.lives() if (path := life / f"{name}.json").exists()]

    def queue(self) -> list[str]:
        """Its jobs' states by Slurm, ended ones included."""
        lines = self.cluster.ask("squeue", "-h", "-t", "all", "-r", "-o", "%T %j").splitlines()
        return [line.split()[0] for line in lines if f".{self.home.name}." in line]

    def accounted(self) -> Counter[str]:
        """Its jobs' states by accounting, all lives."""
        lines = self.cluster.ask("sacct", "-a", "-n", "-P", "-X", "-D", "-S", "now-1hour", "-o", "State,JobName")
        states = (line.split("|") for line in lines.splitlines() if f".{self.home.name}." in line)
        return Counter(state.split()[0] for state, _ in states)

    def numbers(self) -> list[int]:
        """Slurm's numbers of its submissions."""
        return [note["slurm_job"] for note in self.notes("job_submitted")]


class Site:
    """A cluster with a folder in which the ordinary user's controllers work."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.folder = cluster.state / "home" / "work"
        cluster.run(["mkdir", "-p", str(self.folder)], check=True)
        here = Path(__file__).parent
        for source in (here / "driver.py", here.parent / "jobs_for_tests.py"):
            shutil.copy(source, self.folder)
        (self.folder / "slow.py").write_text(SLOW_MEAN)
        for path in self.folder.iterdir():
            path.chmod(0o644)

    def training(self, *, home: str = "", **asked: Any) -> Training:
        """A controller that is not started yet."""
        name = home or f"home{next(_numbers)}"
        asked.setdefault("jobs", [{}])
        return Training(self.cluster, {"home": str(self.folder / name), "profile": str(self.cluster.profile), **asked})

    def fill(self, qos: str, seconds: float = 300.0) -> Iterator[int]:
        """Submit jobs that fill all training nodes; their numbers."""
        for _ in range(self.cluster.settings.training_nodes):
            partition = "urgent" if qos == "urgent" else "train"
            options = ["--parsable", f"--qos={qos}", f"--partition={partition}", "--account=retrain", "--exclusive"]
            done = self.cluster.run(
                ["sbatch", *options, "--output=/dev/null", f"--wrap=sleep {seconds}"],
                capture_output=True,
                text=True,
                check=True,
            )
            yield int(done.stdout)


def until(what: Callable[[], object], within_s: float = 90.0, because: str = "") -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, f"not within {within_s} s {because}"
        time.sleep(0.2)  # Most of them ask Slurm, whose commands take both cores' time.

"""A home that lives on a real cluster: nobody waits for its jobs, and who asks is answered at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import SLOW_MEAN
from nightly import NIGHTLY
from site_for_tests import until
from tables import configure, orders, write_policy

from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.records import Outcome
from minicluster import Cluster

TABLE = orders(rows=4_000, minutes=32, change_at=None)


HOLDING = """
            print("part", part, flush=True)
            while part and os.path.exists(f"{os.path.dirname(__file__)}/hold"):
                if data.interrupted():
                    return
                time.sleep(0.05)
"""
"""In each segment but the first it is held while a file `hold` lies beside the recipe, and heeds a signal meanwhile."""


TUNED = """
[[training.rungs]]
name = "tuned"
windows = ["all"]
pilot_rows = 20_000
full_rows = 60_000
average_with = 0
trials = 2
hours_share = 1.0
reason = "there is room"
"""


class LiveHome:
    """The ordinary user's, in which every training is asked for, and takes its time."""

    def __init__(self, cluster: Cluster, name: str, source: Path, profile: Path | None = None) -> None:
        self.cluster = cluster
        self.folder = cluster.state / "home" / name
        self.home = self.folder / "home"
        self.process: subprocess.Popen[str] | None = None
        cluster.run(["mkdir", str(self.folder)], check=True)
        for path in source.iterdir():
            shutil.copy(path, self.folder)
            (self.folder / path.name).chmod(0o644)
        self.told("live", "config.toml", "--cluster", str(profile or cluster.profile), "--from", "2024-02-23")
        until(lambda: self.told("tick")["serves"], 120, "until a model serves")

    def told(self, *arguments: str) -> dict[str, Any]:
        command = [str(self.cluster.python), "-m", "hpcretrain", *arguments, "--home", "home", "--json"]
        done = self.cluster.run(command, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def control(self) -> None:
        """Start a controller."""
        command = [str(self.cluster.python), "-m", "hpcretrain", "controller", "--home", "home"]
        arguments = {**self.cluster.as_user(), "cwd": self.folder, "start_new_session": True}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **arguments)
        assert self.process.stderr is not None
        assert any("is at work" in line for line in self.process.stderr)

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
            self.process.communicate(timeout=60)

    def notes(self, event: str) -> list[dict[str, Any]]:
        ledger = FileLedger(self.home / "ledger.jsonl", read_only=True)
        return [dict(note) for note in ledger.notes(event)]

    def closings(self) -> list[str | None]:
        """How its cycles ended."""
        return [cycle["closing"] for cycle in self.told("status")["cycles"]]

    def saved(self) -> int:
        """States that its jobs of a decision saved."""
        jobs = {note["serves"] for note in self.notes("job_intended") if note["class"] != "background"}
        return sum(len(list(self.cluster.spool.glob(f"*/jobs/{job}/lives/*/checkpoint-*.json"))) for job in jobs)

    def beyond_a_segment(self) -> bool:
        """Whether a job of a decision has a segment behind it."""
        names = {note["name"] for note in self.notes("job_intended") if note["class"] != "background"}
        logs = [log for name in names for log in self.cluster.spool.glob(f"*/logs/{name}*.txt")]
        return any("part 1" in log.read_text() for log in logs)

    def jobs(self, *states: str) -> list[tuple[str, str, str]]:
        """State, QOS and name of its jobs."""
        lines = self.cluster.ask("squeue", "-h", "-r", "-t", "all", "-o", "%T %q %j").splitlines()
        found = [tuple(line.split()) for line in lines]
        names = {note["name"] for note in self.notes("job_intended")}
        return [(each[0], each[1], each[2]) for each in found if each[2] in names and each[0] in (states or {each[0]})]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source"))


def write_source(folder: Path, **more: str) -> Path:
    """A model whose trainings take their time, and are held on demand."""
    changes = write_policy(folder, weight="0.0", cooldown_batches="0", fits_per_30d="1000.0")
    slow = {"model__recipe": 'recipe = "slow:SlowMean"', "model__params": "params = {segments = 30, sleep_s = 0.2}"}
    configure(folder, TABLE, **changes, **slow, **more)
    work = "            time.sleep(self.sleep_s)\n"
    (folder / "slow.py").write_text(SLOW_MEAN.replace(work, f"{work}{HOLDING}"))
    return folder


@pytest.fixture
def night(fresh: Callable[..., Cluster], tmp_path: Path) -> Iterator[LiveHome]:
    """A home whose policy, profile and Slurm have a class more, between standard and background."""
    cluster = fresh()
    cluster.up()
    outranks = [f"modify qos {name} set Preempt+=nightly" for name in ("urgent", "standard")]
    allowed = f"modify user {cluster.user} where account=retrain set qos+=nightly"
    # A session knows only those QOS that were there when it first looked.
    cluster.sacctmgr("add qos nightly set Priority=50 GraceTime=5 Preempt=background")
    cluster.sacctmgr(*outranks, allowed)
    cluster.ask("scontrol", "update", "PartitionName=train", "AllowQos=urgent,standard,nightly,background")
    folder = write_source(tmp_path, model__search="search = {sleep_s = {low = 0.1, high = 0.2}}")
    with (folder / "policy.toml").open("a") as file:
        file.write(NIGHTLY + TUNED)
    profile = folder / "cluster.toml"
    section = cluster.profile.read_text().split("[classes.standard]\n")[1].split("\n\n")[0]
    further = section.replace('qos = "standard"', 'qos = "nightly"\nbelow = "standard"')
    profile.write_text(f"{cluster.profile.read_text()}\n[classes.nightly]\n{further}\n")
    home = LiveHome(cluster, "night", folder, Path("cluster.toml"))
    yield home
    home.end()


def test_a_class_that_a_site_names_runs_in_its_qos_and_gives_way_to_what_is_above_it(night: LiveHome) -> None:
    night.control()
    (night.folder / "hold").touch()
    assert night.told("request", "--class", "nightly", "--reason", "the night has room")["done"]
    until(night.beyond_a_segment)
    assert {qos for _, qos, _ in night.jobs("RUNNING")} == {"nightly"}
    settings = night.cluster.settings
    whole = [f"--nodes={settings.training_nodes}", "--exclusive", "--wrap", "sleep 3"]
    command = ["sbatch", "--partition=urgent", "--qos=urgent", "--account=retrain", *whole]
    night.cluster.run(command, check=True, capture_output=True)
    until(night.saved)
    (night.folder / "hold").unlink()
    until(lambda: night.closings()[-1], 120)
    nightly = {note["serves"] for note in night.notes("job_intended") if note["class"] == "nightly"}
    assert len(nightly) == 3, "a pilot, and two with other parameters"
    again = [each["attempt"] + each["restart"] for each in night.notes("job_finished") if each["serves"] in nightly]
    assert max(again) > 1, "it lived again, and went on from its checkpoint"


@pytest.fixture
def live(cluster: Cluster, source: Path, request: pytest.FixtureRequest) -> Iterator[LiveHome]:
    home = LiveHome(cluster, request.node.name, source)
    yield home
    home.end()


def test_an_urgent_request_is_at_slurm_in_the_urgent_qos_before_it_is_answered(live: LiveHome) -> None:
    live.control()
    asked = live.told("request", "--class", "urgent", "--reason", "an incident")
    assert asked["done"]
    assert {qos for _, qos, _ in live.jobs("PENDING", "RUNNING", "COMPLETED")} >= {"urgent"}
    urgent = [note for note in live.notes("job_intended") if note["class"] == "urgent"]
    assert urgent
    assert live.notes("job_submitted")[-1]["at"] > urgent[-1]["at"]
    until(lambda: live.closings()[-1], 120)
    assert live.told("tick")["open"] is None, "it was concluded by the controller, as its jobs rang"
    calls = [note["calls"] for note in live.notes("slurm_calls")]
    assert sum(each.get("squeue", 0) for each in calls) < 5, "nobody asks over and over"


def test_a_training_that_is_ended_leaves_a_checkpoint_and_no_job(live: LiveHome) -> None:
    live.control()
    (live.folder / "hold").touch()
    asked = live.told("request", "--class", "standard", "--reason", "a wish")
    until(live.beyond_a_segment)
    assert live.told("cancel", asked["subject"], "--reason", "a mistake")["done"]
    until(lambda: not live.jobs("RUNNING", "PENDING", "COMPLETING"), 60)
    assert {note["serves"] for note in live.notes("job_canceled")}
    assert live.told("tick")["open"] is None
    assert live.closings() == ["canceled"]
    assert live.saved() > 0


def test_a_controller_that_is_killed_while_it_submits_leaves_one_job_for_each_intent(live: LiveHome) -> None:
    for delay in (0.0, 0.03, 0.06):
        live.control()
        command = [str(live.cluster.python), "-m", "hpcretrain", "request", "--class", "urgent", "--reason", "x"]
        asked = subprocess.Popen(
            [*command, "--key", "one", "--home", "home"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **{**live.cluster.as_user(), "cwd": live.folder},
        )  # fmt: skip
        until(lambda: live.notes("message_done"))
        time.sleep(delay)
        live.end(signal.SIGKILL)
        asked.communicate(timeout=120)
    live.control()
    assert live.told("request", "--class", "urgent", "--reason", "x", "--key", "one")["done"]
    assert len(live.closings()) == 1
    until(lambda: live.closings()[-1], 120)
    done = [note["serves"] for note in live.notes("job_finished")]
    assert len(done) == len(set(done))
    assert all(each.outcome is Outcome.PASS for each in verify(live.home / "ledger.jsonl"))

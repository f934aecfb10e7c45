"""The profile of a large table is made by workers of the background class, whatever becomes of them."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lakes import by_one_machine, frozen_home, lake
from site_for_tests import until

from minicluster import Cluster

pytest.importorskip("dask_jobqueue")

FILES, ROWS, GROUPS = 6, 4_000, 5
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, a table, and what one machine counts in it."""
    folder = tmp_path_factory.mktemp("large")
    home = frozen_home(folder)
    counts = by_one_machine(home, lake(folder / "lake", FILES, ROWS, GROUPS))
    (folder / "counts.json").write_text(json.dumps(dataclasses.asdict(counts)))
    return folder


class Run:
    """A process of the ordinary user that profiles a table."""

    def __init__(self, cluster: Cluster, made: Path, name: str) -> None:
        self.cluster = cluster
        self.folder = cluster.state / "home" / name
        cluster.run(["mkdir", str(self.folder)], check=True)
        for source in ("home", "lake"):
            shutil.copytree(made / source, self.folder / source)
        shutil.copy(HERE / "profile_driver.py", self.folder)
        owner = self.folder.stat()
        for path in self.folder.rglob("*"):
            shutil.chown(path, owner.st_uid, owner.st_gid)
        # Accounting may hear of an earlier test's last jobs only now.
        self.first = self.next_job()
        self.expected = json.loads((made / "counts.json").read_text())

    def start(self, **asked: Any) -> Run:
        content = {
            "home": str(self.folder / "home"),
            "profile": str(self.cluster.profile),
            "data": sorted(map(str, (self.folder / "lake").iterdir())),
            **asked,
        }
        command = [str(self.cluster.python), "profile_driver.py", json.dumps(content)]
        quiet = {"PREFECT_HOME": str(self.folder / "prefect"), "PREFECT_API_KEY": "secret", "DO_NOT_TRACK": "1"}
        arguments = {**self.cluster.as_user(quiet), "cwd": self.folder}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=(self.folder / "told").open("w"), text=True, **arguments
        )
        return self

    def end(self, within_s: float = 180) -> dict[str, Any]:
        out, _ = self.process.communicate(timeout=within_s)
        assert self.process.returncode == 0, (self.folder / "told").read_text()
        answer: dict[str, Any] = json.loads(out)
        return answer

    def until(self, what: Callable[[], object]) -> None:
        """Wait until something is true while the run goes on."""

        def seen() -> bool:
            assert self.process.poll() is None, f"it ended before:\n{(self.folder / 'told').read_text()}"
            return bool(what())

        until(seen, 120)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def shared(self) -> Path | None:
        return next(self.cluster.spool.glob("profiles-*"), None)

    def done(self) -> int:
        """How many parts are on the spool."""
        return len(self.made())

    def made(self) -> dict[Path, int]:
        """The parts on the spool, and when each was made."""
        # A hidden one is being written, and may be gone when it is looked at.
        return {path: path.stat().st_mtime_ns for path in self.cluster.spool.glob("profiles-*/parts/[!.]*/facts.json")}

    def jobs(self, state: str = "all") -> list[str]:
        """Lines of the queue about its workers: number, state, QOS, partition, nodes."""
        return self.cluster.ask("squeue", "-h", "-t", state, "-o", "%A %T %q %P %N %j").splitlines()

    def next_job(self) -> int:
        """The number that the next job will get."""
        config = self.cluster.ask("scontrol", "show", "config").splitlines()
        [number] = [line.split("=")[1] for line in config if line.startswith("NEXT_JOB_ID")]
        return int(number)

    def accounted(self) -> list[str]:
        """States of its jobs by accounting."""
        lines = self.cluster.ask("sacct", "-a", "-n", "-P", "-X", "-D", "-S", "now-1hour", "-o", "State,JobID,JobName")
        found = (line.split("|") for line in lines.splitlines() if "hpcretrain-profile" in line)
        return [state.split()[0] for state, number, _ in found if int(number) >= self.first]


@pytest.fixture
def run(cluster: Cluster, made: Path, request: pytest.FixtureRequest) -> Iterator[Run]:
    shutil.rmtree(cluster.spool, ignore_errors=True)
    user = (cluster.state / "home").stat()
    cluster.spool.mkdir(mode=0o700)
    shutil.chown(cluster.spool, user.st_uid, user.st_gid)
    run = Run(cluster, made, request.node.name[:60])
    yield run
    if run.process.poll() is None:
        run.kill()


def test_workers_of_the_background_class_count_what_one_machine_counts(cluster: Cluster, run: Run) -> None:
    run.start(sleep_s=0.5)
    run.until(lambda: run.done() > 2)
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout.splitlines()
    ours = [line.split()[3] for line in listening if f"pid={run.process.pid}," in line]
    assert ours
    assert all(address.startswith("127.0.0.1:") for address in ours)
    jobs = run.jobs("RUNNING")
    assert jobs
    for job in jobs:
        _, _, qos, partition, nodes, _ = job.split()
        assert (qos, partition) == ("background", "train")
        assert nodes.startswith("train")
    assert run.shared is not None
    for path in run.shared.iterdir():
        assert not path.stat().st_mode & 0o077, path
    number = jobs[0].split()[0]
    script = cluster.ask("scontrol", "write", "batch_script", number, "-")
    assert "PRIVATE KEY" not in script
    assert run.end()["counts"] == run.expected
    assert not run.jobs("PENDING,RUNNING")
    assert sorted(path.name.split("-")[0] for path in run.shared.iterdir()) == ["contract"]


def test_the_flow_gives_the_same_counts_and_nodes_hear_nothing_of_prefect(cluster: Cluster, run: Run) -> None:
    run.start(flow=True, memory_mb=700)
    seen = ""
    while run.process.poll() is None:
        for number in (line.split()[0] for line in run.jobs("RUNNING")):
            seen += cluster.ask("scontrol", "write", "batch_script", number, "-")
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                content = path.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "SLURM_JOB_NAME=hpcretrain-profile" in content:
                seen += content
        time.sleep(1)
    assert "hpcretrain-profile" in seen
    assert "PREFECT" not in seen
    answer = run.end()
    assert (answer["digest"], answer["rows"]) == (run.expected["digest"], run.expected["rows"])
    assert not run.jobs("PENDING,RUNNING")


def test_a_worker_makes_room_for_an_urgent_job_at_once_and_costs_only_what_it_had_in_hand(
    cluster: Cluster, run: Run
) -> None:
    # Each fills a node.
    run.start(sleep_s=3.0, workers=4, memory_mb=3500)
    run.until(lambda: len(run.jobs("RUNNING")) == 4 and run.done() > 4)
    before = run.made()
    options = ["--qos=urgent", "--partition=urgent", "--account=retrain", "--exclusive", "--output=/dev/null"]
    cluster.run(["sbatch", *options, "--wrap=sleep 10"], check=True, capture_output=True)
    until(lambda: any(line.split()[2] == "urgent" for line in run.jobs("RUNNING")), 10)
    after = run.made()
    assert before.items() <= after.items()
    assert run.end()["counts"] == run.expected
    states = run.accounted()
    # It left when it was told to, and another was asked for instead.
    assert len([state for state in states if state in ("COMPLETED", "PREEMPTED")]) == 1
    assert len(states) == 5


def test_a_client_that_is_killed_leaves_no_job_and_the_next_goes_on_from_there(cluster: Cluster, run: Run) -> None:
    # More than fit, so that some wait.
    run.start(sleep_s=3.0, workers=6, memory_mb=3500)
    run.until(lambda: run.done() > 3 and run.jobs("PENDING"))
    run.kill()
    until(lambda: not run.jobs("PENDING,RUNNING"), 30)
    made = run.made()
    assert made
    run.start(sleep_s=1.0)
    run.until(lambda: run.done() > len(made))
    assert made.items() <= run.made().items()
    assert run.end()["counts"] == run.expected


def test_workers_that_cannot_start_end_the_run_with_what_they_said(cluster: Cluster, run: Run) -> None:
    answer = run.start(profile_changes={"environment": {"python": "/usr/bin/python3-none"}}).end()
    assert "ended before they reached" in answer["refused"]
    assert "python3-none" in answer["refused"]
    time.sleep(1)
    assert not run.jobs("PENDING,RUNNING")


def test_nothing_is_submitted_where_workers_could_reach_nodes_that_serve(cluster: Cluster, run: Run) -> None:
    answer = run.start(profile_changes={"inference": {"partitions": ["train"], "nodes": None}}).end()
    assert "no worker was submitted" in answer["refused"]
    assert run.next_job() == run.first

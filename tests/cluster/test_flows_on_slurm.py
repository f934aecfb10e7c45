"""From a drifted batch to a Slurm job in the right QOS and to a verdict, as seen in Prefect; by an ordinary user."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.states import Cancelling
from steered import Steered, set_time, until
from tables import configure, orders

from hpcretrain.adapters.prefect_server import find
from hpcretrain.records import Closing, Decision
from minicluster import Cluster

BEFORE, DRIFTED = "2024-02-16", "2024-02-23"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configure(tmp_path_factory.mktemp("table"), orders(rows=8_000, minutes=16))


def ready(stand: dict[str, Any]) -> bool:
    """Whether a model serves, and nothing is under way any more."""
    return bool(stand["serves"]) and not stand["awaits"]


@pytest.fixture
def steered(cluster: Cluster, config: Path, request: pytest.FixtureRequest) -> Iterator[Steered]:
    """A home of the ordinary user with a champion, right before a batch that drifted, and a server of his."""
    place = cluster.state / "home" / request.node.name
    cluster.run(["mkdir", str(place)], check=True)
    for source in (config, config.parent / "table.csv"):
        shutil.copy(source, place)
        (place / source.name).chmod(0o644)

    def run(*arguments: object) -> str:
        line = [str(cluster.python), "-m", "hpcretrain", *map(str, arguments)]
        done = cluster.run(line, cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    run("live", "config.toml", "--home", "home", "--cluster", cluster.profile, "--from", BEFORE)
    until(lambda: ready(json.loads(run("tick", "--home", "home", "--json"))))
    try:
        run("prefect", "server", "server")
        server = find(place / "server")
        assert server is not None
        made = Steered(place / "home", server, str(cluster.python), {**cluster.as_user(), "cwd": place})
        made.command("prefect", "setup", "--home", "home")
        made.schedules(on=False)
        yield made
    finally:
        run("prefect", "server", "server", "--stop")


def waiting(cluster: Cluster) -> set[str]:
    """The QOS of jobs that wait or run."""
    return set(cluster.ask("squeue", "-h", "-o", "%q").split())


def fill(cluster: Cluster) -> Iterator[int]:
    """Urgent jobs of somebody else's, which nothing takes the place of: ours have to wait."""
    for _ in range(cluster.settings.training_nodes):
        options = ["--parsable", "--qos=urgent", "--partition=urgent", "--account=retrain", "--exclusive"]
        line = ["sbatch", *options, "--output=/dev/null", "--wrap=sleep 600"]
        yield int(cluster.run(line, capture_output=True, text=True, check=True).stdout)


def test_a_drifted_batch_comes_to_jobs_in_the_right_qos_and_to_a_verdict(cluster: Cluster, steered: Steered) -> None:
    filling = list(fill(cluster))
    with steered.worker() as worker:
        set_time(steered.home, DRIFTED)
        steered.start("observe")
        run = until(lambda: steered.runs("retrain", "Suspended"), because=steered.told)[-1]
        assert steered.runs("triage")[-1].parameters["priority_class"] == "standard"
        [decision] = [each for each in steered.records("decision") if each.id == run.parameters["decision"]]
        assert isinstance(decision, Decision)
        names = cluster.ask("squeue", "-h", "-q", "standard", "-t", "pending", "-o", "%j").split()
        assert names, "they wait in the class that was decided"
        children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
        until(lambda: len(children.read_text().split()) == 1, 30, lambda: "something waits with the jobs")
        for number in filling:
            cluster.ask("scancel", str(number))
        steered.schedules(on=True, kinds=("reconcile",))
        until(lambda: steered.runs("retrain", "Completed")[-1:] and not steered.runs("retrain", "Suspended"))
        until(lambda: steered.records("review"), because=steered.told)
    assert steered.records("review")[0].closing is Closing.REJECTED  # type: ignore[attr-defined]
    assert len(steered.records("request")) == len(steered.records("decision")) == 1
    submitted = [note["serves"] for note in steered.notes("job_submitted")]
    assert len(submitted) == len(set(submitted)), "each job was submitted once"


def test_canceling_a_suspended_run_in_prefect_checkpoints_and_cancels_its_jobs(
    cluster: Cluster, steered: Steered
) -> None:
    filling = list(fill(cluster))
    with steered.worker():
        set_time(steered.home, DRIFTED)
        steered.start("observe")
        run = until(lambda: steered.runs("retrain", "Suspended"), because=steered.told)[-1]
        assert "standard" in waiting(cluster)
        with steered.client() as client:
            client.set_flow_run_state(run.id, Cancelling())
        until(lambda: steered.runs("retrain", "Cancelled"), because=steered.told)
        until(lambda: "standard" not in waiting(cluster), because=steered.told)
        until(lambda: steered.records("review"), because=steered.told)
    assert steered.records("review")[-1].closing is Closing.CANCELED  # type: ignore[attr-defined]
    for number in filling:
        cluster.ask("scancel", str(number))

"""From a drifted batch to a Slurm job in the right QOS and to a release, as seen in Prefect; by an ordinary user."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from steered import Steered, set_time, until
from tables import configure, orders

from hpcretrain.adapters.prefect_server import find
from hpcretrain.records import Decision, ReleaseKind
from minicluster import Cluster

BEFORE, DRIFTED = "2024-02-16", "2024-02-23"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configure(tmp_path_factory.mktemp("table"), orders(rows=8_000, minutes=16))


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
    until(lambda: json.loads(run("tick", "--home", "home", "--json"))["serves"], 120)
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


def qos(cluster: Cluster) -> set[str]:
    return set(cluster.ask("squeue", "-h", "-t", "all", "-o", "%q").split())


def test_a_drifted_batch_comes_to_a_job_in_the_right_qos_and_to_a_release(cluster: Cluster, steered: Steered) -> None:
    with steered.worker():
        set_time(steered.home, DRIFTED)
        steered.start("observe")
        [triage] = until(lambda: steered.runs("triage", "Completed"), 90, steered.told)
        assert triage.parameters["priority_class"] == "standard"
        [decision] = [each for each in steered.records("decision") if isinstance(each, Decision)]
        [run] = until(lambda: steered.runs("retrain", "Suspended"), 60, steered.told)
        assert run.parameters["decision"] == decision.id
        assert "standard" in qos(cluster)
        steered.schedules(on=True, kinds=("reconcile",))
        until(lambda: steered.runs("retrain", "Completed"), 240, steered.told)
        until(lambda: steered.runs("release", "Completed"), 60, steered.told)
    assert [each.release_kind for each in steered.records("release")] == [ReleaseKind.FIRST, ReleaseKind.PROMOTION]  # type: ignore[attr-defined]
    assert len(steered.records("request")) == 1
    assert len(steered.runs("retrain")) == 1

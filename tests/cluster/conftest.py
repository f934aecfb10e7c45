from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from minicluster import Cluster, Refused, Settings
from minicluster.places import STATES
from minicluster.refusals import check_machine
from site_for_tests import Site

Make = Callable[..., Cluster]
PREFIX = "test-"
PACKAGES = Path(__file__).parents[2] / "slurm"


def remove_abandoned() -> None:
    """End clusters of test runs that were killed: each is called after the process that made it."""
    for state in STATES.glob(f"{PREFIX}*"):
        if not Path("/proc", state.name.removeprefix(PREFIX).partition("-")[0]).exists():
            Cluster(state, Settings(name=state.name)).down()


@pytest.fixture(scope="session")
def able() -> None:
    """Skips, with the reason, where no cluster can come up."""
    try:
        check_machine()
    except Refused as reason:
        pytest.skip(str(reason))
    remove_abandoned()


@pytest.fixture(scope="session")
def cluster_names() -> Iterator[str]:
    """A new name each time, which no other process uses."""
    return (f"{PREFIX}{os.getpid()}-{number}" for number in range(1000))


@pytest.fixture(scope="session")
def variant(able: None, cluster_names: Iterator[str]) -> Iterator[Make]:
    """Gives the cluster of the given settings, up; the same one to all tests of this process that ask for the same."""
    made: dict[Settings, Cluster] = {}

    def make(**settings: Any) -> Cluster:
        key = Settings(**settings)
        if key not in made:
            made[key] = Cluster(settings=Settings(name=next(cluster_names), **settings))
            made[key].up()
        return made[key]

    yield make
    for cluster in made.values():
        cluster.down()


@pytest.fixture(scope="session")
def cluster(variant: Make) -> Cluster:
    """A cluster as it comes, up, one for all tests of this process; whole and without jobs when a test begins."""
    return variant()


@pytest.fixture
def fresh(able: None, cluster_names: Iterator[str]) -> Iterator[Make]:
    """Gives a cluster that is this test's alone, not up yet; nothing of it is left after the test."""
    with ExitStack() as stack:

        def make(**settings: Any) -> Cluster:
            cluster = Cluster(settings=Settings(name=next(cluster_names), **settings))
            stack.callback(cluster.down)
            return cluster

        yield make


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python3 -m minicluster` by any Python, as root or as the ordinary user of a cluster."""

    def run(*arguments: str, user: Cluster | None = None, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        ran = {"capture_output": True, "text": True, "timeout": timeout}
        if user is None:
            environment = {**os.environ, "PYTHONPATH": str(PACKAGES)}
            return subprocess.run([sys.executable, "-m", "minicluster", *arguments], env=environment, **ran)
        # The clone may lie where only root looks.
        readable = user.state / "command"
        shutil.copytree(PACKAGES / "minicluster", readable / "minicluster", dirs_exist_ok=True)
        line = ["python3", "-m", "minicluster", *arguments]
        return user.run(line, env={"PYTHONPATH": str(readable)}, **ran)

    return run


@pytest.fixture(autouse=True)
def mended(request: pytest.FixtureRequest) -> Iterator[None]:
    """Brings back the daemons that a test took down, and cancels its jobs."""
    yield
    if "cluster" in request.fixturenames:
        cluster: Cluster = request.getfixturevalue("cluster")
        cluster.up()
        cluster.cancel_all()


@pytest.fixture(scope="session")
def site(cluster: Cluster) -> Site:
    """The cluster as a site where an ordinary user trains."""
    return Site(cluster)


@pytest.fixture(scope="session")
def undisturbed(site: Site) -> str:
    """The digest of the model that an uninterrupted slow job makes."""
    [digest] = site.training(params={"segments": 60, "sleep_s": 0.1}).start().end()["digests"]
    return str(digest)

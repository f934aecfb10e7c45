"""A controller whose background jobs fill nodes, to be preempted; run by a cluster's ordinary user.

`python -m bench.slurm_victims PROFILE HOME JOBS CPUS ROWS ROUNDS [OPTION...]` trains until it is killed, or until the
jobs are finished.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.slurm_home import Home, rows, with_options
from bench.slurm_programs import text_of, wait_for

from hpcretrain.config.cluster import ClusterProfile, load_cluster
from hpcretrain.records import PriorityClass


@contextmanager
def victims(
    profile: Path, home: str, jobs: int, cpus: int, count: int, rounds: int, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Background jobs that train, under a controller that waits for them; it is killed in the end."""
    asked = [str(each) for each in (profile, home, jobs, cpus, count, rounds)]
    with subprocess.Popen([sys.executable, "-m", "bench.slurm_victims", *asked, *options]) as controller:
        try:
            yield controller
        finally:
            controller.kill()


def spool_of(profile: ClusterProfile, home: str) -> Path:
    """The part of the spool that belongs to a home."""
    return profile.spool.path / home


def wait_until_training(spool: Path, lives: int) -> None:
    """Wait until so many lives have come to their work since the beginning."""

    def at_work() -> bool:
        return sum(text_of(log).count("trains on") for log in spool.glob("logs/*.txt")) >= lives

    wait_for(at_work, 60, f"life {lives} trains")


def main(arguments: Sequence[str]) -> None:
    """Train."""
    name = arguments[1]
    jobs, cpus, count, rounds = map(int, arguments[2:6])
    profile = with_options(load_cluster(Path(arguments[0])), *arguments[6:])
    home = Home(Path(name).absolute(), profile, count=count, params={"rounds": rounds}, cpus=cpus)
    home.trainer().train([(job, rows(count)) for job in home.jobs(jobs, PriorityClass.BACKGROUND)])


if __name__ == "__main__":
    main(sys.argv[1:])

"""From an urgent submission to the first line of its program; run by a cluster's ordinary user.

`python -m bench.slurm_starts PROFILE RUNS NODES NATIVE`. The program is the same for all, a line of Python in a step,
and so is the form of its batch script. What a start takes hangs on the phase of the scheduler's intervals, so many are
measured. By raw `sbatch` it is submitted to an idle cluster and, if NATIVE is true, to one full of jobs that ignore
signals; by hpcretrain to one full of its own trainings.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.slurm_home import Home, with_python
from bench.slurm_programs import CPUS, FIRST_LINE, STUBBORN, Raw, none_left, program, text_of, wait_for
from bench.slurm_victims import spool_of, victims, wait_until_training

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.config.cluster import load_cluster
from hpcretrain.config.load import shipped_policy
from hpcretrain.records import PriorityClass

_ENDLESS = 1_000_000
_LONGEST_WAIT_S = 120.0
# Longer than the scheduler's shortest interval: nothing of what was there before is still being tidied up.
_CALM_S = 2.0
_PHASES_S = 1.0
# They wait for the whole grace and KillWait, so that phases matter little.
_STUBBORN_EVERY = 3


class Starts:
    """The three ways.

    Args:
        profile: Path of the cluster profile.
        nodes: How many nodes the victims fill.
    """

    def __init__(self, profile: Path, nodes: int) -> None:
        self._path = profile
        self._site = load_cluster(profile)
        self._nodes = nodes
        self._slurm = Slurm(self._site.commands)
        self._urgent_site = with_python(self._site, program("first_line", FIRST_LINE))
        self._raw = Raw(self._urgent_site, PriorityClass.URGENT)
        stubborn = with_python(self._site, program("stubborn", STUBBORN))
        self._stubborn = Raw(stubborn, PriorityClass.BACKGROUND, CPUS)
        self._number = 0
        # As many rows as a full fit reads by the shipped policy.
        self._rows = shipped_policy().training.full_rows
        self._random = random.Random(1)

    def idle(self) -> float:
        """Seconds to the first line, by raw `sbatch` on an idle cluster."""
        self._clear()
        return self._by_sbatch()

    def stubborn(self) -> float:
        """The same on a cluster that is full of jobs that ignore signals."""
        self._clear()
        logs = [Path("logs", f"stubborn{self._number}-{node}.txt").absolute() for node in range(self._nodes)]
        for log in logs:
            self._stubborn.submit(log)
        wait_for(lambda: all("ready" in text_of(log) for log in logs), _LONGEST_WAIT_S, "jobs run that ignore signals")
        return self._by_sbatch()

    def ours(self) -> float:
        """The same by hpcretrain, on a cluster that is full of its own trainings."""
        self._clear()
        name = f"victims{self._number}"
        with victims(self._path, name, self._nodes, CPUS, self._rows, _ENDLESS):
            wait_until_training(spool_of(self._site, name), self._nodes)
            taken = self._by_us()
        return taken

    def _clear(self) -> None:
        self._number += 1
        none_left(self._slurm)

    def _calm(self) -> None:
        """Come at any phase of the scheduler's intervals, and of a victim's segments."""
        time.sleep(_CALM_S + self._random.uniform(0, _PHASES_S))

    def _by_sbatch(self) -> float:
        self._calm()
        log = Path("logs", f"urgent{self._number}.txt").absolute()
        begun = time.time()
        self._raw.submit(log)
        return _first_line(log) - begun

    def _by_us(self) -> float:
        home = Home(Path(f"urgent{self._number}").absolute(), self._urgent_site)
        [wanted] = home.jobs(1, PriorityClass.URGENT)
        task = home.prepared(wanted)
        self._calm()
        begun = time.time()
        home.tracker.submit([task])
        return _first_line(home.shared.log(home.tracker.newest(task.job))) - begun


def _first_line(log: Path) -> float:
    return float(wait_for(lambda: text_of(log), _LONGEST_WAIT_S, "the urgent program's first line").split()[0])


def main(arguments: Sequence[str]) -> dict[str, list[float]]:
    """Samples of each way, taken in turns."""
    runs, nodes, native = map(json.loads, arguments[1:])
    starts = Starts(Path(arguments[0]), nodes)
    ways = {"idle": starts.idle, "ours": starts.ours, **({"stubborn": starts.stubborn} if native else {})}
    found: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(runs):
        for name, way in ways.items():
            if name != "stubborn" or number % _STUBBORN_EVERY == 0:
                found[name].append(way())
        print(f"urgent start {number + 1} of {runs}:", {name: f"{each[-1]:.2f}" for name, each in found.items()},
              file=sys.stderr, flush=True)  # fmt: skip
    none_left(Slurm(load_cluster(Path(arguments[0])).commands))
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))

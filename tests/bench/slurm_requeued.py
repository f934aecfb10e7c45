"""From freed capacity to a preempted job running again; run by a cluster's ordinary user.

`python -m bench.slurm_requeued PROFILE RUNS NATIVE`. An urgent job of two seconds takes the node of a background job,
which is requeued: by itself where it is a training of hpcretrain, by Slurm where it is none, if NATIVE is true. Node
`train1` is for those of hpcretrain; each of Slurm's own has the next node, and waits there while the runs go on.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from bench.slurm_programs import CPUS, Raw, none_left, text_of, wait_for
from bench.slurm_victims import spool_of, victims, wait_until_training

from hpcretrain.adapters.slurm import Slurm
from hpcretrain.config.cluster import load_cluster
from hpcretrain.config.load import shipped_policy
from hpcretrain.records import PriorityClass

_ENDLESS = 1_000_000
_LONGEST_WAIT_S = 300.0
# A batch script without a step, and so without a signal before it is requeued; each life says when it begins.
_VICTIM = "#!/bin/bash\ndate +%s.%N\nsleep 3600\n"
_URGENT = "#!/bin/bash\nsleep 2\ndate +%s.%N\n"


class Requeued:
    """Both ways."""

    def __init__(self, profile: Path) -> None:
        self._site = load_cluster(profile)

    def native(self, number: int) -> tuple[float, Path]:
        """When a node was freed, and where its victim, now requeued, says when it begins."""
        node = f"--nodelist=train{number + 2}"
        log = Path("logs", f"victim{number}.txt").absolute()
        Raw(self._site, PriorityClass.BACKGROUND, CPUS, (node,)).submit(log, _VICTIM)
        wait_for(lambda: _times(log), _LONGEST_WAIT_S, "a victim runs")
        return self._freed(node, f"native{number}"), log

    def ours(self, number: int, spool: Path) -> float:
        """Seconds from the end of the urgent job to the victim's next life, once its Python is up."""
        before = _lives(spool)
        freed = self._freed("--nodelist=train1", f"ours{number}")
        wait_for(lambda: len(_lives(spool)) > len(before), _LONGEST_WAIT_S, "a victim of ours runs again")
        wait_until_training(spool, len(_lives(spool)))
        return max(_lives(spool)) - freed

    def _freed(self, node: str, name: str) -> float:
        """Seconds since the epoch when the urgent job that takes a node has ended."""
        log = Path("logs", f"urgent-{name}.txt").absolute()
        Raw(self._site, PriorityClass.URGENT, CPUS, (node,)).submit(log, _URGENT)
        return wait_for(lambda: _times(log), _LONGEST_WAIT_S, "an urgent job ends")[0]


def _lives(spool: Path) -> list[float]:
    """When each life of a job began to run Python, seconds since the epoch."""
    begun = [json.loads(path.read_text(encoding="utf-8"))["at"] for path in spool.glob("jobs/*/lives/*/begun.json")]
    return [datetime.fromisoformat(at).timestamp() for at in begun]


def _times(log: Path) -> list[float]:
    """What `date` printed; Slurm prints there too."""
    return [float(line) for line in text_of(log).splitlines() if re.fullmatch(r"[\d.]+", line)]


def _again(log: Path) -> float:
    return wait_for(lambda: _times(log)[1:], _LONGEST_WAIT_S, "a victim of Slurm's runs again")[0]


def main(arguments: Sequence[str]) -> dict[str, list[float]]:
    """Samples of each way, taken in turns."""
    profile = Path(arguments[0])
    runs, native = map(json.loads, arguments[1:])
    both = Requeued(profile)
    site = load_cluster(profile)
    spool = spool_of(site, "requeued")
    ours, waiting = [], []
    with victims(profile, "requeued", 1, CPUS, shipped_policy().training.full_rows, _ENDLESS, "--nodelist=train1"):
        wait_until_training(spool, 1)
        for number in range(runs):
            if native:
                waiting.append(both.native(number))
            ours.append(both.ours(number, spool))
            print(f"victim {number + 1} of {runs}: {ours[-1]:.2f} s", file=sys.stderr, flush=True)
        found = {"ours": ours, "slurm": [_again(log) - freed for freed, log in waiting]}
    none_left(Slurm(site.commands))
    return found


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))

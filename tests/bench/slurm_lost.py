"""CPU that a preemption costs a training; run by a cluster's ordinary user.

`python -m bench.slurm_lost PROFILE RUNS ROWS ROUNDS`. Two equal trainings run at a time, each on a node of its own, and
an urgent job of two seconds takes the node of one of them when that is between a third and two thirds done.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from bench.slurm_home import Home, rows
from bench.slurm_programs import CPUS, Raw, text_of, wait_for
from bench.slurm_victims import wait_until_training

from hpcretrain.config.cluster import load_cluster
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.life import LifeFolder
from hpcretrain.records import Job, PriorityClass

_LONGEST_WAIT_S = 300.0
_URGENT = "#!/bin/bash\nsleep 2\necho ended\n"


class Pair:
    """Two trainings of the same rows with the same seed, under two names."""

    def __init__(self, profile: Path, number: int, count: int, rounds: int) -> None:
        site = load_cluster(profile)
        self.home = Home(Path(f"pair{number}").absolute(), site, count=count, params={"rounds": rounds}, cpus=CPUS)
        self._urgent = Raw(site, PriorityClass.URGENT, CPUS, ("--nodelist=train1",))
        self._log = Path("logs", f"urgent{number}.txt").absolute()
        [made] = self.home.jobs(1, PriorityClass.BACKGROUND)
        self._twins = [replace(made, answers=(f"decision-{twin}",)) for twin in (1, 2)]

    def preempt(self, after_s: float) -> None:
        """Let an urgent job take the first node."""
        wait_until_training(self.home.shared.root, len(self._twins))
        time.sleep(after_s)
        self._urgent.submit(self._log, _URGENT)
        wait_for(lambda: text_of(self._log), _LONGEST_WAIT_S, "the urgent job ends")

    def train(self) -> None:
        """Train both to the end."""
        self.home.trainer().train([(each, rows(self.home.count)) for each in self._twins])

    def lasts_s(self) -> float:
        """How long a training lasts on its node."""
        return min(_lasts_s(life) for each in self._twins for life in self._lives(each))

    def cpu_s(self) -> tuple[float, float]:
        """CPU seconds of all lives of the one that was preempted, and of the one that was not."""
        lives = [[life.cpu_s[0] for life in self._lives(each)] for each in self._twins]
        counts = sorted(len(each) for each in lives)
        if counts != [1, 2]:
            raise RuntimeError(f"one training was to have two lives and one to have one, but they had {counts}")
        undisturbed, preempted = sorted(lives, key=len)
        return sum(preempted), sum(undisturbed)

    def _lives(self, job: Job) -> list[LifeFolder]:
        lives = JobFolder(self.home.spool.jobs / job.id).lives()
        if not all(whole for _, whole in (life.cpu_s for life in lives)):
            raise RuntimeError("a life was killed before it could say what it had used")
        return lives


def _lasts_s(life: LifeFolder) -> float:
    begun, ended = (datetime.fromisoformat(told["at"]) for name in ("begun", "ended") if (told := life.told(name)))
    return (ended - begun).total_seconds()


def main(arguments: Sequence[str]) -> dict[str, list[float]]:
    """CPU seconds of trainings that were preempted once, and of equal ones that were not."""
    profile = Path(arguments[0])
    runs, count, rounds = map(json.loads, arguments[1:])
    chance = random.Random(1)
    warm = Pair(profile, 0, count, rounds)
    warm.train()
    lasts_s = warm.lasts_s()
    preempted, undisturbed = [], []
    for number in range(1, runs + 1):
        pair = Pair(profile, number, count, rounds)
        with ThreadPoolExecutor(1) as aside:
            urgent = aside.submit(pair.preempt, lasts_s * chance.uniform(1 / 3, 2 / 3))
            pair.train()
            urgent.result()
        more, usual = pair.cpu_s()
        preempted.append(more)
        undisturbed.append(usual)
        print(f"pair {number} of {runs}: {more:.2f} s of CPU with a preemption, {usual:.2f} s without",
              file=sys.stderr, flush=True)  # fmt: skip
    return {"preempted": preempted, "undisturbed": undisturbed}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))

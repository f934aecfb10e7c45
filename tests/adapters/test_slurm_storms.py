"""Slurm fails in every way at random, and so does the controller: jobs end once, or are given up in so many words."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from pretend_site import Controller, job, problems
from pretend_slurm import World

from hpcretrain.errors import HpcretrainError

SEQUENCES, CHUNKS = 320, 16
LONGEST_S = 30_000.0
FAULTS = {
    "sbatch": ["lost", "down", "late", "full"],
    "squeue": ["down"],
    "sacct": ["down"],
    "scancel": ["down", "lost"],
    "scontrol": ["down", "lost"],
}
ACTS = ["preempt", "lose", "kill", "hold", "cancel", "forget"]


class Crash(BaseException):
    """The controller is gone."""


class StormyWorld(World):
    """A world in which the controller crashes at given calls, before or after they are done."""


def storm(seed: int, path: Path) -> tuple[World, random.Random]:
    """A world in which much happens within the first minutes."""
    dice = random.Random(seed)
    world = World(path / "world", segment_s=dice.choice([0.5, 2.0, 5.0]), late_s=dice.choice([5.0, 20.0, 60.0]))
    world.signals, world.shows = dice.random() < 0.7, dice.random() < 0.7
    world.lag_s = dice.choice([0.0, 2.0, 20.0])
    world.kept_s = dice.choice([2.0, 300.0])
    world.requeue_pause_s = dice.choice([1.0, 120.0])
    world.most_tasks = dice.choice([1, 2, 1000, 1000])
    world.needs_mb = dice.choice([0, 0, 0, 600])
    world.nodes = world.nodes[: dice.choice([1, 4])]
    for _ in range(dice.randint(0, 8)):
        act = dice.choice(ACTS)
        world.plan.append((dice.uniform(0, 60), act, (dice.randrange(4),)))
        if act == "hold":
            world.plan.append((dice.uniform(100, 200), "release", ()))
    for _ in range(dice.randint(0, 2)):
        daemon, begin = dice.choice(["slurmctld", "slurmdbd"]), dice.uniform(0, 60)
        world.plan += [(begin, "fall", (daemon,)), (begin + dice.uniform(1, 100), "rise", (daemon,))]
    for command, kinds in FAULTS.items():
        if dice.random() < 0.4:
            world.faults[command] = [dice.choice([*kinds, "fine", "fine"]) for _ in range(dice.randint(1, 6))]
    return world, dice


class CrashingController(Controller):
    """A controller that crashes before or after one of its next calls."""

    def __init__(self, base: Path, world: World, dice: random.Random, crashes: bool, **sections: object) -> None:
        super().__init__(base, world, **sections)
        ask, left, before = self.slurm.ask, dice.randint(1, 12) if crashes else 0, dice.random() < 0.5

        def crashing(name: str, *arguments: str, given: Callable[[], str] | None = None) -> str:
            nonlocal left
            left -= 1
            if left == 0 and before:
                raise Crash
            answer = ask(name, *arguments, given=given)
            if left == 0:
                raise Crash
            return answer

        self.slurm.ask = crashing  # type: ignore[method-assign]


def play(seed: int, base: Path) -> list[str]:
    """Play one sequence; what was found wrong."""
    world, dice = storm(seed, base)
    jobs = [job(number) for number in range(dice.randint(1, 3))]
    sections = {"status": {"accounting": dice.random() < 0.7}}
    crashes = dice.randint(0, 4)
    sleep, trained = world.sleep, None

    def watched(seconds: float) -> None:
        assert world.now < LONGEST_S, "no end is in sight"
        sleep(seconds)

    world.sleep = watched  # type: ignore[method-assign]
    given_up = []
    for life in range(40):
        controller = CrashingController(base, world, dice, life < crashes, **sections)
        try:
            trained = controller.train(jobs)
            break
        except Crash:
            continue
        except HpcretrainError as error:
            # A person reads it, and gives the same command again.
            given_up.append(str(error))
        finally:
            controller.close()
    found = problems(base, world, jobs) if trained else [f"never finished: {given_up}"]
    if trained and len(set(trained)) != 1:
        found.append(f"models differ: {trained}")
    attempts = Counter(task.folder for task in world.tasks)
    found += [f"{count} submissions of {folder.name}" for folder, count in attempts.items() if count > 60]
    found += [f"not typed: {words}" for words in given_up if ":" not in words]
    return found


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_storms_end_with_one_result_for_each_job(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    wrong = {}
    for seed in range(chunk, SEQUENCES, CHUNKS):
        base = tmp_path / str(seed)
        base.mkdir()
        if found := play(seed, base):
            wrong[seed] = found
    assert wrong == {}

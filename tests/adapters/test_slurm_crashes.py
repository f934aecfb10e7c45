"""A controller that is killed at any line of what talks to Slurm leaves what the next one brings to the same end."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from pretend_site import Controller, job, problems
from pretend_slurm import World

from hpcretrain.errors import HpcretrainError

TRACED = {
    *("slurm.py", "slurm_attempts.py", "slurm_jobs.py", "slurm_judge.py", "slurm_output.py", "slurm_reach.py"),
    *("slurm_script.py", "slurm_spool.py", "slurm_submission.py", "slurm_tender.py", "slurm_trainer.py", "spool.py"),
}
JOBS = [job(seed) for seed in (1, 2)]
Line = tuple[str, int]


def usual(world: World) -> None:
    """An array of which one task is preempted and one loses its node; memory is short, and raised."""
    world.needs_mb = 600
    world.plan = [(6.0, "preempt", (0,)), (8.0, "lose", (1,))]


def unheard(world: World) -> None:
    """Submissions whose answers are lost or come late, outages, and somebody who holds, releases and kills."""
    world.faults = {"sbatch": ["late", "lost"], "squeue": ["fine", "down"], "scancel": ["down"], "sacct": ["down"]}
    world.late_s, world.lag_s, world.kept_s, world.shows = 20.0, 5.0, 3.0, False
    world.plan = [(14.0, "hold", (0,)), (16.0, "release", ()), (24.0, "forget", (0,)), (30.0, "kill", (0,))]


def crowded(world: World) -> None:
    """Slurm takes one job at a time, and is down for a while; an operator cancels a job."""
    world.most_tasks = 1
    world.plan = [(3.0, "fall", ("slurmctld",)), (6.0, "rise", ("slurmctld",)), (15.0, "cancel", (0,))]
    world.faults = {"scontrol": ["down"]}


SCENES: tuple[Callable[[World], None], ...] = (usual, unheard, crowded)


def command(base: Path, world: World) -> bool:
    """Give the same command until all jobs have their models; whether they do."""
    for _ in range(6):
        controller = Controller(base, world)
        try:
            return len(set(controller.train(JOBS))) == 1
        except HpcretrainError:
            continue
        finally:
            controller.close()
    return False


def play(base: Path, scene: Callable[[World], None], seen: Callable[[World, Line], None]) -> None:
    """Play a scene, with a look before every line."""
    base.mkdir(parents=True)
    world = World(base / "world")
    scene(world)

    def line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            seen(world, (os.path.basename(frame.f_code.co_filename), frame.f_lineno))
        return line

    def call(frame: FrameType, *_: Any) -> Any:
        name = frame.f_code.co_filename
        return line if "adapters" in name and os.path.basename(name) in TRACED else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        assert command(base, world)
    finally:
        sys.settrace(before)
    assert problems(base, world, JOBS) == []


def moments(base: Path, scene: Callable[[World], None]) -> dict[int, Line]:
    """The first and the last moment at which each line is come to."""
    times: dict[Line, list[int]] = {}
    count = 0

    def seen(_: World, where: Line) -> None:
        nonlocal count
        count += 1
        times.setdefault(where, []).append(count)

    play(base, scene, seen)
    shutil.rmtree(base)
    return {number: where for where, numbers in times.items() for number in (numbers[0], numbers[-1])}


def left(base: Path, scene: Callable[[World], None], chosen: dict[int, Line], copies: Path) -> dict[int, Path]:
    """What would be on the disk, and in Slurm, were the controller killed at the chosen moments."""
    made: dict[int, Path] = {}
    count = 0

    def seen(world: World, where: Line) -> None:
        nonlocal count
        count += 1
        if count in chosen:
            assert where == chosen[count]
            world.save()
            made[count] = Path(shutil.copytree(base, copies / str(count)))

    play(base, scene, seen)
    shutil.rmtree(base)
    return made


@pytest.mark.parametrize("scene", SCENES)
def test_a_controller_killed_at_any_line_is_followed_by_one_that_ends_well(
    scene: Callable[[World], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is killed is a process, never the machine.
    monkeypatch.setattr("os.fsync", lambda _: None)
    base = tmp_path / "site"
    earlier: set[Line] = set()
    for before in SCENES[: SCENES.index(scene)]:
        earlier |= set(moments(base, before).values())
    chosen = {number: where for number, where in moments(base, scene).items() if where not in earlier}
    assert len(chosen) > 10
    wrong = {}
    for number, copy in left(base, scene, chosen, tmp_path).items():
        copy.rename(base)
        world = World.load(base / "world")
        ended = command(base, world)
        if found := problems(base, world, JOBS) if ended else ["it did not end"]:
            wrong[chosen[number]] = found
        shutil.rmtree(base)
    assert wrong == {}

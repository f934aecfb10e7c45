"""What comes of strange answers, and of the same command after something was mended; at a pretended Slurm."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pretend_site import CLASS, Controller, job
from pretend_slurm import World

from hpcretrain.adapters.slurm import Slurm, failure
from hpcretrain.adapters.slurm_output import SQUEUE_FIELDS
from hpcretrain.adapters.slurm_spool import SlurmSpool
from hpcretrain.adapters.slurm_submission import Task
from hpcretrain.config.cluster import Commands
from hpcretrain.errors import HpcretrainError, SlurmError
from hpcretrain.ports import Awaited
from hpcretrain.records import Outcome, PriorityClass
from hpcretrain.witnesses import Fate

BACKGROUND = PriorityClass.BACKGROUND


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("os.fsync", lambda _: None)
    return World(tmp_path / "world")


def at(base: Path, world: World, **changed: Any) -> Controller:
    """A controller at a site whose classes ask for something else."""
    asked = {key: value for key, value in {**CLASS, **changed}.items() if value is not None}
    return Controller(base, world, classes=dict.fromkeys(("urgent", "standard", "background"), asked))


def asks(controller: Controller) -> list[tuple[int | None, int]]:
    return [(note["memory_mb"], note["time_limit_min"]) for note in controller.ledger.notes("job_intended")]


def test_memory_that_is_set_after_the_sites_default_was_not_enough_is_asked_for(tmp_path: Path, world: World) -> None:
    world.needs_mb = 600
    first = at(tmp_path, world, memory_mb=None)
    with pytest.raises(HpcretrainError, match="set memory_mb of its class"):
        first.train([job(0)])
    first.close()
    second = at(tmp_path, world, memory_mb=1000)
    assert second.train([job(0)])
    assert asks(second)[-1] == (1000, 30)


def test_what_slurm_refused_is_asked_for_no_more_once_the_profile_is_mended(tmp_path: Path, world: World) -> None:
    def choosy(controller: Controller) -> Controller:
        take = controller.slurm._sbatch

        def sbatch(*options: str, **more: Any) -> str:
            if "--mem=99999M" in options:
                raise failure("sbatch", "sbatch: error: Requested node configuration is not available")
            return take(*options, **more)

        controller.slurm._sbatch = sbatch  # type: ignore[method-assign]
        return controller

    first = choosy(at(tmp_path, world, memory_mb=99999))
    with pytest.raises(HpcretrainError, match="Requested node configuration"):
        first.train([job(0)])
    first.close()
    second = choosy(at(tmp_path, world, memory_mb=800))
    assert second.train([job(0)])
    assert asks(second) == [(99999, 30), (800, 30)]


def test_what_was_learned_of_memory_is_not_forgotten_with_the_controller(tmp_path: Path, world: World) -> None:
    world.needs_mb, world.plan = 900, [(2.0, "cancel", (0,))]
    first = at(tmp_path, world)
    first.jobs.submit([Task(job(0).id, BACKGROUND, 1)])
    while first.jobs.newest(job(0).id).open:
        world.sleep(0.5)
        first.jobs.look([job(0).id])
    assert first.jobs.newest(job(0).id).fate is Fate.OUT_OF_MEMORY
    first.close()
    second = at(tmp_path, world, time_limit_min=300)
    second.jobs.submit([Task(job(0).id, BACKGROUND, 1)])
    assert asks(second) == [(500, 30), (750, 300)]


def test_where_accounting_lost_a_life_the_nodes_of_others_do_not_stand_for_it(tmp_path: Path, world: World) -> None:
    world.shows, world.nodes, world.requeue_pause_s = False, ("infer1",), 1.0
    controller = at(tmp_path, world)
    controller.jobs.submit([Task("job-1", BACKGROUND, 1)])
    world.sleep(1.0)
    world.preempt(0)
    del world.tasks[0].lived[0]
    world.nodes = ("train1",)
    while controller.jobs.newest("job-1").open:
        world.sleep(0.5)
        controller.jobs.look(["job-1"])
    proofs = controller.jobs.proofs(["job-1"], anew=True)
    assert proofs is not None
    assert proofs["job-1"].outcome is not Outcome.PASS


@pytest.mark.parametrize(("number", "restarts"), [(101, 0), (100, 1)])
def test_words_about_another_job_or_another_start_prove_nothing(
    tmp_path: Path, world: World, number: int, restarts: int
) -> None:
    controller = at(tmp_path, world)
    controller.jobs.submit([Task("job-1", BACKGROUND, 1)])
    world.sleep(0.5)
    [task] = world.tasks
    shown = task.folder / "lives" / "1.0" / "slurm.txt"
    told = shown.read_text()
    assert controller.jobs._spool.nodes_told(controller.jobs.newest("job-1"), 0) == task.node
    shown.write_text(
        told.replace(f"JobId={task.submission}", f"JobId={task.submission + number - 100}").replace(
            "Restarts=0", f"Restarts={restarts}"
        )
    )
    assert controller.jobs._spool.nodes_told(controller.jobs.newest("job-1"), 0) is None


def test_a_result_without_proof_is_not_waited_for_as_long_as_slurm_remembers_its_job(
    tmp_path: Path, world: World
) -> None:
    world.shows, world.kept_s, world.requeue_pause_s = False, 1e9, 1.0
    controller = Controller(tmp_path, world, status={"accounting": False})
    world.plan = [(2.0, "preempt", (0,))]
    controller.jobs.submit([Task("job-1", BACKGROUND, 1)])
    world.sleep(1.0)  # It runs, and nobody looks where;
    world.sleep(1.5)  # then it is put back.
    while controller.jobs.newest("job-1").open:
        world.sleep(0.5)
        controller.jobs.look(["job-1"])
        assert world.now < 600


def test_tasks_of_an_array_that_ended_before_they_started_are_no_duplicates_of_the_next_attempt(
    tmp_path: Path, world: World
) -> None:
    controller, world.nodes = at(tmp_path, world), ()
    tasks = [Task(f"job-{number}", BACKGROUND, 1) for number in (1, 2)]
    controller.jobs.submit(tasks)
    submission, name = world.tasks[0].submission, world.tasks[0].name
    world.cancel(0)
    world.cancel(0)
    each_by_itself = controller.slurm._squeue

    def together(*options: str, **more: Any) -> str:
        lines = [line for line in each_by_itself(*options, **more).splitlines() if not line.startswith(str(submission))]
        told = {"JobID": submission, "ArrayJobID": submission, "ArrayTaskID": "N/A", "Name": name}
        told |= {"State": "CANCELLED", "RestartCnt": 0, "NodeList": "", "Reason": "None"}
        return "\n".join([*lines, "".join(f"{told[field]}|" for field in SQUEUE_FIELDS)]) + "\n"

    controller.slurm._squeue = together  # type: ignore[method-assign]
    while controller.jobs.newest("job-1").open:
        world.sleep(0.5)
        controller.jobs.look(["job-1"])
    world.nodes = ("train1", "train2")
    controller.jobs.submit(tasks)
    for _ in range(20):
        world.sleep(0.5)
        controller.jobs.look(["job-1"])
    assert controller.ledger.notes("job_duplicate") == []


def test_a_submission_that_was_halved_and_taken_leaves_no_trouble(tmp_path: Path, world: World) -> None:
    world.faults["sbatch"] = ["full"]
    controller = at(tmp_path, world)
    controller.jobs.submit([Task(f"job-{number}", BACKGROUND, 1) for number in range(4)])
    assert len(world.tasks) == 4
    assert controller.jobs.trouble == ""


def test_a_strange_file_in_the_inbox_is_left_alone(tmp_path: Path, world: World) -> None:
    controller = at(tmp_path, world)
    strange = controller.jobs._spool.root / "inbox" / "README"
    strange.write_text("hello")
    controller.jobs.look()
    assert strange.exists()


@pytest.mark.parametrize("late_s", [5.0, 60.0])
def test_what_slurm_takes_after_it_was_withdrawn_does_no_work_and_is_canceled(
    tmp_path: Path, world: World, late_s: float
) -> None:
    controller = at(tmp_path, world)
    controller.trainer._waits = False
    world.segment_s, world.late_s, world.faults = 500.0, late_s, {"sbatch": ["late"]}
    asked = job(0)
    with pytest.raises(Awaited):
        controller.trainer.train([(asked, None)])  # type: ignore[list-item]
    assert not controller.trainer.withdraw([asked]), "nobody knows whether it was taken"
    for _ in range(600):
        world.sleep(1.0)
        controller.trainer.stirs()
        if controller.trainer.withdraw([asked]) and world.now > late_s + 10:
            break
    assert controller.trainer.withdraw([asked])
    assert not [task for task in world.tasks if task.state in ("RUNNING", "PENDING")]
    assert not controller.jobs._spool.has_result(asked.id)


@pytest.mark.parametrize("part", ["newest_attempt", "raise_fence", "write_batch"])
def test_a_spool_that_is_away_when_a_job_is_to_be_submitted_again_is_waited_for(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    controller, spool = at(tmp_path, world), SlurmSpool
    world.plan, world.kept_s = [(1.0, "kill", (0,))], 5.0
    usual, failures = getattr(spool, part), 0

    def away(self: SlurmSpool, *arguments: Any) -> Any:
        nonlocal failures
        if world.tasks and failures < 3:
            failures += 1
            raise PermissionError(13, "Permission denied")
        return usual(self, *arguments)

    monkeypatch.setattr(spool, part, away)
    assert controller.train([job(0)])
    assert failures == 3
    assert [note["fate"] for note in controller.ledger.notes("job_ended")][-1] == "finished"
    assert len(world.tasks) == 2
    assert controller.ledger.notes("job_duplicate") == []


@pytest.fixture
def door(tmp_path: Path) -> Callable[[str], Slurm]:
    def make(script: str) -> Slurm:
        for name in ("sbatch", "scancel"):
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)
        return Slurm(Commands(folder=tmp_path))

    return make


def test_of_a_command_that_was_killed_nobody_knows_what_it_did(door: Callable[[str], Slurm]) -> None:
    with pytest.raises(SlurmError, match=f"sbatch was ended by signal {signal.SIGKILL:d}") as raised:
        door("cat >/dev/null; kill -9 $$").submit([], lambda: "#!/bin/sh\n")
    assert raised.value.trouble == "unreachable"


def test_a_command_that_cannot_be_started_is_tried_again_later(
    door: Callable[[str], Slurm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm = door("exit 0")

    def refuse(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refuse)
    with pytest.raises(SlurmError, match="sbatch could not be started: Resource temporarily unavailable") as raised:
        slurm.submit([], lambda: "")
    assert raised.value.trouble == "unreachable"

"""What is done about attempts at a pretended Slurm, in hours that pass in a moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pretend_site import Controller, job, problems
from pretend_slurm import World

from hpcretrain.adapters import slurm_attempts, slurm_jobs
from hpcretrain.adapters.slurm_spool import SlurmSpool
from hpcretrain.adapters.slurm_submission import Task
from hpcretrain.errors import HpcretrainError
from hpcretrain.records import Outcome, PriorityClass
from hpcretrain.witnesses import Fate

HOUR_S = 3600.0
Start = Callable[..., Controller]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("os.fsync", lambda _: None)
    return World(tmp_path / "world")


@pytest.fixture
def start(tmp_path: Path, world: World) -> Start:
    def make(**more: Any) -> Controller:
        return Controller(tmp_path, world, **more)

    return make


def jobs_of(count: int) -> list[Any]:
    return [job(seed) for seed in range(count)]


def notes(controller: Controller, event: str) -> list[Any]:
    return controller.ledger.notes(event)


# Politeness


def an_hour(controller: Controller, awaited: list[str], events: bool = False) -> Counter[str]:
    """Slurm's commands that an hour takes; without events the world need not be asked what happens."""
    controller.slurm.calls.clear()
    world, until = controller.world, controller.world.now + HOUR_S
    while world.now < until:
        if controller.jobs.look(awaited):
            controller.jobs.follow_up(controller.jobs.attempts)
        if events:
            world.sleep(0.5)
        else:
            world.now += 0.5
    return controller.slurm.calls


@pytest.mark.parametrize("count", [1, 5000])
def test_an_hour_costs_the_same_calls_for_one_job_as_for_5000(count: int, world: World, start: Start) -> None:
    world.nodes = ()
    controller = start()
    controller.jobs.submit([Task(f"job-{number}", PriorityClass.BACKGROUND, 1) for number in range(count)])
    assert controller.slurm.calls["sbatch"] == -(-count // 1000)
    assert an_hour(controller, []) == {"squeue": 60}
    controller.slurm.calls.clear()
    assert 60 <= an_hour(controller, ["job-0"])["squeue"] < 80


def test_jobs_that_begin_and_end_all_the_hour_cost_no_more_than_one_that_is_silent(world: World, start: Start) -> None:
    world.segment_s = 9.0
    controller = start()
    controller.jobs.submit([Task(f"job-{number}", PriorityClass.BACKGROUND, 1) for number in range(390)])
    assert an_hour(controller, ["job-0"], events=True)["squeue"] < 80
    assert sum(note["fate"] == "finished" for note in notes(controller, "job_ended")) > 380


def test_a_job_that_slurm_will_not_start_now_is_asked_for_once(world: World, start: Start) -> None:
    controller = start()
    world.plan = [(2.0, "preempt", (0,)), (125.0, "preempt", (0,))]
    world.nodes = world.nodes[:1]
    ask = controller.slurm.ask

    def refusing(name: str, *arguments: str, given: str | None = None) -> str:
        if arguments[:1] == ("update",):
            controller.slurm.calls["update"] += 1
            return ""
        return ask(name, *arguments, given=given)

    controller.slurm.ask = refusing  # type: ignore[method-assign]
    controller.train(jobs_of(1))
    assert controller.slurm.calls["update"] == 2, "one for each time that it was requeued"


# Room


def test_where_slurm_takes_few_jobs_at_a_time_all_are_done_in_the_end(
    tmp_path: Path, world: World, start: Start
) -> None:
    world.most_tasks = 3
    controller = start()
    assert len(controller.train(jobs_of(20))) == 20
    assert problems(tmp_path, world, jobs_of(20)) == []
    assert controller.slurm.calls["sbatch"] < 60


def test_a_full_slurm_is_asked_ever_more_seldom(world: World, start: Start) -> None:
    world.most_tasks = 0
    controller = start()
    controller.jobs.submit([Task("job-1", PriorityClass.BACKGROUND, 1)])
    assert an_hour(controller, ["job-1"])["sbatch"] < 70


def test_a_wait_for_room_counts_against_the_queue_deadline(world: World, start: Start) -> None:
    world.most_tasks = 0
    with pytest.raises(HpcretrainError, match="queue:deadline"):
        start(rules={"queue_deadline_h": 1e-9}).train(jobs_of(1))


def test_a_submission_in_an_outage_waits_for_its_end(tmp_path: Path, world: World, start: Start) -> None:
    world.down = {"slurmctld"}
    world.plan = [(300.0, "rise", ("slurmctld",))]
    assert len(start().train(jobs_of(2))) == 2
    assert 300 < world.now < 400
    assert problems(tmp_path, world, jobs_of(2)) == []


def test_a_spool_that_is_away_is_waited_for_ever_more_patiently(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = start()
    controller.jobs.submit([Task("job-0", PriorityClass.BACKGROUND, 1)])
    tries = []

    def gone(_: SlurmSpool) -> set[tuple[str, int]]:
        tries.append(world.now)
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as away:
        away.setattr(SlurmSpool, "rung", gone)
        until = world.now + 600
        while world.now < until:
            assert not controller.jobs.look(["job-0"])
            world.now += 0.5
    assert 10 < len(tries) < 20
    assert "the spool cannot be used" in controller.jobs.trouble
    world.now += 60
    assert controller.jobs.look(["job-0"])
    assert controller.jobs.trouble == ""


# Results that come when nobody expects them


@pytest.mark.parametrize("restarted", [False, True])
def test_a_result_that_an_orphan_brings_after_all_is_not_hidden_by_another_attempt(
    world: World, start: Start, restarted: bool
) -> None:
    world.plan = [(3.0, "forget", (0,))]
    world.segment_s = 12.0
    controller = start(status={"accounting": False})
    task = Task("job-1", PriorityClass.BACKGROUND, 1)
    controller.jobs.submit([task])
    while controller.jobs.newest("job-1").open:
        world.sleep(0.5)
        controller.jobs.look(["job-1"])
    assert controller.jobs.newest("job-1").fate is Fate.LOST
    while world.orphans:
        world.sleep(0.5)
    if restarted:
        controller.close()
        controller = start(status={"accounting": False})
    controller.jobs.submit([task])
    assert controller.jobs.follow_up(["job-1"]) == {}
    world.sleep(1.0)
    controller.jobs.look(["job-1"])
    assert controller.jobs.newest("job-1").fate is Fate.FINISHED
    assert [note["attempt"] for note in notes(controller, "job_intended")] == [1]


def test_a_job_that_is_requeued_when_it_is_done_is_taken_at_once_and_its_rest_is_canceled(
    world: World, start: Start
) -> None:
    world.plan = [(8.5, "requeue_done", (0,))]
    world.nodes = world.nodes[:1]
    controller = start()
    # Its ring is not heard.
    controller.jobs._spool.rung = set  # type: ignore[method-assign]
    assert len(controller.train(jobs_of(1))) == 1
    assert world.now < 30
    assert [task.state for task in world.tasks] == ["CANCELLED by 1000"]
    assert not notes(controller, "job_duplicate")


# Withdrawals


def test_what_could_not_be_withdrawn_in_an_outage_is_withdrawn_afterwards(world: World, start: Start) -> None:
    world.nodes = ()
    world.faults = {"scancel": ["down", "down"]}
    controller = start(rules={"queue_deadline_h": 1e-9})
    with pytest.raises(HpcretrainError, match="queue:deadline"):
        controller.train(jobs_of(1))
    assert controller.slurm.calls["scancel"] == 3
    assert [task.state for task in world.tasks] == ["CANCELLED by 1000"]
    assert len(notes(controller, "job_canceled")) == 1


def test_the_same_command_has_a_job_that_was_withdrawn_done(world: World, start: Start) -> None:
    nodes, world.nodes = world.nodes, ()
    with pytest.raises(HpcretrainError, match="queue:deadline"):
        start(rules={"queue_deadline_h": 1e-9}).train(jobs_of(1))
    world.nodes = nodes
    assert len(start(rules={"queue_deadline_h": 24.0}).train(jobs_of(1))) == 1


def test_the_same_command_goes_on_with_a_job_that_was_interrupted_too_often(world: World, start: Start) -> None:
    world.plan = [(second, "preempt", (0,)) for second in (3.0, 6.0, 9.0)]
    world.requeue_pause_s = 1.0
    with pytest.raises(HpcretrainError, match="retries:interruptions"):
        start(rules={"most_interruptions": 1}).train(jobs_of(1))
    controller = start(rules={"most_interruptions": 1})
    assert len(controller.train(jobs_of(1))) == 1


def test_hours_at_work_before_a_restart_of_the_controller_are_no_time_in_the_queue(
    world: World, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.segment_s = HOUR_S
    first = start()
    first.jobs.submit([Task("job-1", PriorityClass.BACKGROUND, 1)])
    world.sleep(0.5)
    first.close()
    later = datetime.now(UTC) + timedelta(hours=3)

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return later

    for module in (slurm_jobs, slurm_attempts):
        monkeypatch.setattr(module, "datetime", Later)
    world.now += 3 * HOUR_S
    world.nodes = ()
    world.preempt(0)
    second = start(rules={"queue_deadline_h": 2.0})
    assert second.jobs.look(["job-1"])
    assert second.jobs.newest("job-1").fate is Fate.WAITING
    assert second.jobs.follow_up(["job-1"]) == {}
    later += timedelta(hours=2.1)
    assert second.jobs.follow_up(["job-1"])["job-1"].check == "queue:deadline"


# Proof


def test_a_node_that_begins_to_serve_while_a_job_runs_there_is_found_out(world: World, start: Start) -> None:
    world.plan = [(4.0, "serve", ("infer[1-2],train1",))]
    controller = start()
    controller.jobs._profile = controller.jobs._reach._profile = controller.jobs._profile.model_copy(
        update={"inference": controller.jobs._profile.inference.model_copy(update={"partitions": ("inference",)})}
    )
    with pytest.raises(HpcretrainError, match="inference:after: it ran on train1, which serve"):
        controller.train(jobs_of(1))
    assert not notes(controller, "job_proven")


def test_a_proof_waits_for_a_slurm_that_is_down(world: World, start: Start) -> None:
    world.plan = [(7.0, "fall", ("slurmctld",)), (60.0, "rise", ("slurmctld",))]
    assert len(start().train(jobs_of(1))) == 1
    assert 60 < world.now < 100


def test_what_slurm_was_asked_ahead_serves_a_submission_while_it_is_fresh_and_never_a_proof(
    world: World, start: Start
) -> None:
    controller = start()
    reach, asked = controller.jobs._reach, controller.slurm.calls
    reach.look_ahead()
    reach.look_ahead()
    assert reach.before(PriorityClass.URGENT).outcome is Outcome.PASS
    assert asked["scontrol"] == 1
    world.now += 100
    reach.look_ahead()
    world.now += 100
    assert reach.before(PriorityClass.URGENT).outcome is Outcome.PASS
    assert asked["scontrol"] == 3, "the answer had become too old"
    world.now += 100
    reach.look_ahead()
    reach.forget()
    assert reach.after({"life 1": "train1"}).outcome is Outcome.PASS
    assert asked["scontrol"] == 5

"""A controller at a site whose Slurm is pretended, and what must hold when it has come to an end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pretend_slurm import PretendSlurm, World

from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.adapters.slurm_jobs import SlurmJobs
from hpcretrain.adapters.slurm_spool import SlurmSpool
from hpcretrain.adapters.slurm_trainer import SlurmTrainer
from hpcretrain.adapters.spool import Spool, TrainerSettings
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.config.load import shipped_policy
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.life import Life
from hpcretrain.ports import Rows
from hpcretrain.records import Job, Outcome, PriorityClass, Purpose, Window

NOW = datetime(2024, 1, 1, tzinfo=UTC)
CLASS = {"partition": "train", "memory_mb": 500, "time_limit_min": 30}


def no_disk() -> None:
    """Spare this process the waits for the disk: what is killed here is a process, never the machine."""
    os.fsync = lambda _: None  # type: ignore[assignment]


def profile(base: Path, **sections: Any) -> ClusterProfile:
    """The site."""
    content: dict[str, Any] = {
        "name": "pretend",
        "spool": {"path": base / "spool"},
        "inference": {"nodes": "infer[1-2]"},
        "environment": {"python": "python3"},
        "preemption": {"grace_s": 10, "signal": "USR2"},
        "classes": {"urgent": CLASS, "standard": CLASS, "background": CLASS},
    }
    return ClusterProfile.model_validate({**content, **sections})


def job(seed: int, priority_class: PriorityClass = PriorityClass.BACKGROUND) -> Job:
    """A job."""
    window = Window("all", NOW, NOW + timedelta(days=1), 10, 10, "digest")
    return Job(
        model="m", at=NOW, answers=("baseline-1",), purpose=Purpose.JUDGE, priority_class=priority_class,
        recipe="pretend", params={}, seed=seed, window=window, cost_mrow_passes=1.0,
    )  # fmt: skip


class _Table:
    def snapshot(self, rows: Rows, path: Path) -> None:
        path.write_text("rows")


class _Ledger(FileLedger):
    """Where processes die and the power stays: the storms write more often than a disk can sync."""

    def _sync(self) -> None:
        pass


class Controller:
    """One life of the controller of the home in `base`, at the site of `world`."""

    def __init__(self, base: Path, world: World, *, rules: Any = None, **sections: Any) -> None:
        self.world = world
        site = profile(base, **sections)
        self.ledger = _Ledger(base / "ledger.jsonl")
        self.slurm = PretendSlurm(world)
        shared = SlurmSpool(site.spool.path, "home", self.ledger, requeue=True)
        settings = TrainerSettings("pretend:Recipe", {}, 1, "binary", (), None)
        spool = Spool(shared.root, base / "models", _Table(), self.ledger, settings)
        judged = shipped_policy().jobs.model_copy(update=rules or {})
        self.jobs = SlurmJobs(self.slurm, site, judged, shared, self.ledger, world.clock)
        self.said: list[str] = []
        self.trainer = SlurmTrainer(
            spool,
            shared,
            self.jobs,
            self.ledger,
            1,
            self.said.append,
            outlook=lambda _: (),
            clock=world.clock,
            sleep=world.sleep,
        )

    def train(self, jobs: Sequence[Job]) -> list[str]:
        """Digests of the models, or the errors."""
        rows: Any = None
        return [
            getattr(each, "model_digest", str(each)) for each in self.trainer.train([(each, rows) for each in jobs])
        ]

    def close(self) -> None:
        """What the end of the process does."""
        self.ledger.close()


def problems(base: Path, world: World, jobs: Sequence[Job]) -> list[str]:
    """What does not hold once all jobs have their models, and everything that is left has come to its end."""
    for _ in range(2000):
        if not (world.orphans or world.late or any(task.alive for task in world.tasks)):
            break
        world.sleep(1.0)
    ledger = FileLedger(base / "ledger.jsonl", read_only=True)
    notes = {event: ledger.notes(event) for event in ("job_intended", "job_submitted", "job_ended", "job_duplicate")}
    found = [
        f"{each.check}: {each.reason}" for each in verify(base / "ledger.jsonl") if each.outcome is not Outcome.PASS
    ]
    for each in jobs:
        finished = ledger.notes("job_finished", each.id)
        if len(finished) != 1 or not finished[0]["ok"]:
            found.append(f"{each.id}: finished {len(finished)} times")
        if len(ledger.notes("job_proven", each.id)) != 1:
            found.append(f"{each.id}: not proven once")
        folder = JobFolder(base / "spool" / "home" / "jobs" / each.id)
        newest, result = folder.newest, folder.result()
        if result is None or newest != (result["attempt"], result["restart"]):
            found.append(f"{each.id}: the newest fence {newest} has no result")
        elif finished and finished[0]["attempt"] != newest[0]:
            found.append(f"{each.id}: attempt {finished[0]['attempt']} was told of, and {newest[0]} counts")
        ends: dict[int, list[str]] = {}
        for note in notes["job_ended"]:
            if note["serves"] == each.id:
                ends.setdefault(note["attempt"], []).append(note["fate"])
        # One that was thought to have ended otherwise can turn out to have its result.
        found += [f"{each.id}: {number} {told}" for number, told in ends.items() if told[1:] not in ([], ["finished"])]
        distrusted = [note["attempt"] for note in ledger.notes("job_unproven", each.id)]
        finals = [number for number, told in ends.items() if told[-1] == "finished" and number not in distrusted]
        if finals != [newest.attempt] if newest else True:
            found.append(f"{each.id}: attempts {finals} are told to have finished, and the newest fence is {newest}")
        numbers = [note["attempt"] for note in notes["job_intended"] if note["serves"] == each.id]
        if numbers != list(range(1, 1 + len(numbers))):
            found.append(f"{each.id}: attempts {numbers}")
        brought = {life.life.attempt for life in folder.lives() if life.told("result")} - set(distrusted)
        if len(brought) != 1:
            found.append(f"{each.id}: attempts {brought} brought a result")
    found += _accounts(world, notes)
    ledger.close()
    return found


def _accounts(world: World, notes: Any) -> list[str]:
    """Where the notes and Slurm's own accounts differ."""
    found = []
    names = {task.submission: task.name for task in world.tasks}
    intended = {(note["serves"], note["attempt"]): note["name"] for note in notes["job_intended"]}
    told = {note["slurm_job"] for note in notes["job_submitted"]}
    for note in notes["job_submitted"]:
        if names.get(note["slurm_job"]) != intended[note["serves"], note["attempt"]]:
            found.append(f"job {note['slurm_job']} is noted by another name than Slurm's")
    duplicates = Counter(note["slurm_job"] for note in notes["job_duplicate"])
    found += [f"duplicate {key} was noted {count} times" for key, count in duplicates.items() if count > 1]
    for task in world.tasks:
        worked = JobFolder(task.folder).life(Life(task.attempt, task.restarts)).told("result")
        if task.state == "COMPLETED" and task.submission not in told and worked:
            found.append(f"job {task.key}, {'a duplicate' if task.key in duplicates else 'untold'}, worked to the end")
    return found

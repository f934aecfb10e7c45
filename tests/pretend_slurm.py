"""A Slurm that outlives a controller that crashes, and fails in any way that a test asks for.

Time passes when the controller sleeps. What runs does what a life on a node does, with the node's own code.
"""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretend_job import ALIVE, SEGMENTS, Lived, Task, Working

from hpcretrain.adapters.slurm import Slurm, failure
from hpcretrain.adapters.slurm_output import SACCT_FIELDS, SQUEUE_FIELDS
from hpcretrain.node.batch import Batch
from hpcretrain.node.durable import write
from hpcretrain.node.jobfolder import JobFolder, Superseded
from hpcretrain.node.life import Life

DOWN = "Unable to contact slurm controller (connect failure)"
FULL = (
    "QOSMaxSubmitJobPerUserLimit\n"
    "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)


@dataclass
class World:
    """All that is outside of the controller, and lasts.

    `faults` has for each command what its next calls come to: "lost" (done, but the answer is an error), "down" (not
    done), "late" (an error now, done after `late_s`), "full", "fine". `needs_mb` is the memory below which a life is
    killed. `plan` are acts at given times: (seconds, name of a method, arguments).
    """

    path: Path
    now: float = 0.0
    number: int = 100
    tasks: list[Task] = field(default_factory=list)
    orphans: list[Working] = field(default_factory=list)
    late: list[tuple[float, tuple[str, ...], str]] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    plan: list[tuple[float, str, tuple[Any, ...]]] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    nodes: tuple[str, ...] = ("train1", "train2", "train3", "train4")
    serving: str = "infer[1-2]"
    segment_s: float = 2.0
    late_s: float = 60.0
    lag_s: float = 2.0
    requeue_pause_s: float = 120.0
    kept_s: float = 300.0
    needs_mb: int = 0
    most_tasks: int = 1_000_000
    signals: bool = True
    shows: bool = True

    @classmethod
    def load(cls, path: Path) -> World:
        """The world as it was left."""
        world: World = pickle.loads(path.read_bytes())
        return world

    def save(self) -> None:
        """Let it last."""
        part = self.path.with_suffix(".part")
        part.write_bytes(pickle.dumps(self))
        part.replace(self.path)

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time pass, half a second at least."""
        self.now += max(seconds, 0.5)
        for due in [each for each in self.plan if each[0] <= self.now]:
            self.plan.remove(due)
            getattr(self, due[1])(*due[2])
        for moment in [each for each in self.late if each[0] <= self.now]:
            self.late.remove(moment)
            self.take(moment[1], moment[2])
        for orphan in [each for each in self.orphans if each.ends_at <= self.now]:
            self.orphans.remove(orphan)
            orphan.publish()
        for task in self.tasks:
            if task.state == "RUNNING" and task.at_work and task.at_work.ends_at <= self.now:
                self._end(task, "COMPLETED" if task.at_work.publish() == "finished" else "FAILED")
        self._start()

    def take(self, options: tuple[str, ...], script: str) -> int:
        """Take a submission; its number."""
        given = dict(option[2:].split("=", 1) for option in options if option.startswith("--") and "=" in option)
        path = re.search(r"hpcretrain\.node\.batch (\S+)", script)
        assert path
        batch = Batch.read(Path(path[1]))
        self.number += 1
        places: list[int | None] = list(range(len(batch.tasks))) if "array" in given else [None]
        for place, meant in zip(places, batch.tasks, strict=True):
            log = given["output"].replace("%a", str(place))
            folder = (Path(path[1]).parent / meant.folder).resolve()
            memory = int(given.get("mem", "0M")[:-1])
            self.tasks.append(
                Task(
                    self.number, place, given["job-name"], folder, meant.attempt, Path(log), "--requeue" in options,
                    memory, self.now + 0.5,
                )
            )  # fmt: skip
        return self.number

    def _start(self) -> None:
        taken = {task.node for task in self.tasks if task.state == "RUNNING"}
        free = [node for node in self.nodes if node not in taken]
        for task in self.tasks:
            if free and task.state == "PENDING" and task.eligible_at <= self.now and "Held" not in task.reason:
                self._begin(task, free.pop(0))

    def _begin(self, task: Task, node: str) -> None:
        task.state, task.reason, task.node = "RUNNING", "None", node
        task.lived.append(Lived(node, self.now))
        with task.log.open("a") as log:
            log.write(f"life {task.attempt}.{task.restarts}: begins on {node}\n")
        folder, life = JobFolder(task.folder), Life(task.attempt, task.restarts)
        if folder.result() is not None:
            self._end(task, "COMPLETED")
            return
        try:
            facts = {"slurm_job_id": str(task.submission), "slurm_nodelist": node}
            mine = folder.begin(life, {"host": node, "pid": 1, "at": "", **facts})
        except Superseded:
            self._end(task, "FAILED")
            return
        if self.shows:
            told = f"JobId={task.submission} Restarts={task.restarts} JobState=RUNNING NodeList={node}\n"
            write(mine.path / "slurm.txt", told)
        if task.memory_mb < self.needs_mb:
            with task.log.open("a") as log:
                log.write("slurmstepd: error: Job exceeded memory limit, being killed\n")
            self._end(task, "FAILED")
            return
        newest = folder.newest
        if newest and newest > life:
            Working(task.folder, life, 0, self.now, self.now).end("superseded", 0)
            self._end(task, "FAILED")
            return
        state = folder.inherit(mine)
        begun = state.segments if state else 0
        task.at_work = Working(task.folder, life, begun, self.now, self.now + (SEGMENTS - begun) * self.segment_s)

    def _end(self, task: Task, state: str) -> None:
        task.state, task.ended_at, task.at_work = state, self.now, None
        if task.lived and task.lived[-1].until is None:
            task.lived[-1].state, task.lived[-1].until = state, self.now

    def _again(self, task: Task, state: str) -> None:
        """Into the queue again."""
        self._end(task, state)
        task.state, task.reason, task.node, task.ended_at = "PENDING", "BeginTime", "", None
        task.restarts += 1
        task.eligible_at = self.now + self.requeue_pause_s

    def some(self, place: int, states: tuple[str, ...] = ALIVE) -> Task | None:
        """One of the tasks in these states."""
        found = [task for task in self.tasks if task.state in states and not task.forgotten]
        return found[place % len(found)] if found else None

    def preempt(self, place: int) -> None:
        """Slurm takes the node of a job."""
        if task := self.some(place, ("RUNNING",)):
            if self.signals and task.at_work:
                task.at_work.interrupt(self.now, self.segment_s, 12)
            if task.requeue:
                self._again(task, "PREEMPTED")
            else:
                self._end(task, "PREEMPTED")

    def lose(self, place: int) -> None:
        """The node of a job is lost to Slurm, while the job's processes go on."""
        if task := self.some(place, ("RUNNING",)):
            if task.at_work:
                self.orphans.append(task.at_work)
            if task.requeue:
                self._again(task, "NODE_FAIL")
            else:
                self._end(task, "NODE_FAIL")

    def kill(self, place: int) -> None:
        """A job dies by its own."""
        if task := self.some(place, ("RUNNING",)):
            self._end(task, "FAILED")

    def hold(self, place: int) -> None:
        """An operator holds a job back."""
        if task := self.some(place, ("PENDING",)):
            task.reason = "JobHeldUser"

    def release(self) -> None:
        """An operator lets all go."""
        for task in self.tasks:
            if task.state == "PENDING" and "Held" in task.reason:
                task.reason = "Priority"

    def cancel(self, place: int) -> None:
        """An operator cancels a job."""
        if task := self.some(place):
            self.cancel_task(task)

    def cancel_task(self, task: Task) -> None:
        """Cancel a job: it may save what it has."""
        if task.at_work:
            task.at_work.interrupt(self.now, self.segment_s, 15)
        self._end(task, "CANCELLED by 1000")

    def forget(self, place: int) -> None:
        """A slurmctld that crashed does not know a job any more; the job goes on."""
        if task := self.some(place):
            task.forgotten = True
            if task.at_work:
                self.orphans.append(task.at_work)
            self._end(task, "FORGOTTEN")

    def requeue_done(self, place: int) -> None:
        """Slurm puts a job back into the queue in the moment in which it is done."""
        if task := self.some(place, ("RUNNING",)):
            assert task.at_work
            task.at_work.publish()
            self._again(task, "PREEMPTED")
            task.eligible_at = self.now + 1e6

    def serve(self, nodes: str) -> None:
        """Other nodes serve from now on."""
        self.serving = nodes

    def allow(self, most: int) -> None:
        """Slurm takes no more jobs than these at a time."""
        self.most_tasks = most

    def fall(self, daemon: str) -> None:
        """A daemon is down."""
        self.down.add(daemon)

    def rise(self, daemon: str) -> None:
        """A daemon is up again."""
        self.down.discard(daemon)


class PretendSlurm(Slurm):
    """The door to a `World`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls = Counter()

    def ask(self, name: str, *arguments: str, given: Callable[[], str] | None = None) -> str:
        world = self.world
        self.calls[name] += 1
        # sbatch reads its script before it asks slurmctld for anything.
        text = given() if given else ""
        world.calls[name] += 1
        faults = world.faults.get(name, [])
        fault = faults.pop(0) if faults else "fine"
        if fault == "down" or ("slurmdbd" if name == "sacct" else "slurmctld") in world.down:
            raise failure(name, f"{name}: error: {DOWN}")
        if fault == "late":
            world.late.append((world.now + world.late_s, arguments, text))
        else:
            answer: str = getattr(self, f"_{name}")(*arguments, given=text, fault=fault)
        if fault in ("late", "lost"):
            raise failure(name, f"{name}: error: Socket timed out on send/recv operation")
        return answer

    def start(self, name: str, *arguments: str) -> Callable[[], str]:
        return lambda: self.ask(name, *arguments)

    def _sbatch(self, *options: str, given: str, fault: str) -> str:
        places = next((option.partition("-")[2] for option in options if option.startswith("--array=")), "")
        wanted = int(places.rpartition("-")[2]) + 1 if places else 1
        if fault == "full" or wanted + sum(task.alive for task in self.world.tasks) > self.world.most_tasks:
            raise failure("sbatch", f"sbatch: error: {FULL}")
        return f"{self.world.take(options, given)}\n"

    def _squeue(self, *_: str, **__: Any) -> str:
        lines = []
        for task in self.world.tasks:
            if task.forgotten or (task.ended_at is not None and self.world.now - task.ended_at > self.world.kept_s):
                continue
            place = "N/A" if task.place is None else str(task.place)
            told = {"JobID": str(task.submission), "ArrayJobID": str(task.submission), "ArrayTaskID": place,
                    "Name": task.name, "State": task.state.split()[0], "RestartCnt": str(task.restarts),
                    "NodeList": task.node, "Reason": task.reason}  # fmt: skip
            lines.append("".join(f"{told[each]}|" for each in SQUEUE_FIELDS))
        return "\n".join(lines) + "\n"

    def _sacct(self, *arguments: str, **_: Any) -> str:
        names = next((each.partition("=")[2].split(",") for each in arguments if each.startswith("--name=")), None)
        known = self.world.now - self.world.lag_s
        lines = []
        for task in self.world.tasks:
            for life in task.lived:
                if (names is None or task.name in names) and life.since <= known:
                    ended = life.until is not None and life.until <= known
                    state = {"FORGOTTEN": "RUNNING"}.get(life.state, life.state) if ended else "RUNNING"
                    lines.append([task.key, task.key, task.name, state, "0:0", life.node, "", "500M", "1"])
                    lines.append(
                        [task.key, f"{task.key}.0", "python", state.split()[0], "0:0", life.node, "1K", "", "1"]
                    )
        assert all(len(line) == len(SACCT_FIELDS) for line in lines)
        return "\n".join("|".join(line) for line in lines)

    def _scontrol(self, *arguments: str, **_: Any) -> str:
        if arguments[0] == "update":
            told = dict(each.split("=", 1) for each in arguments[1:])
            wanted = told["JobId"].split(",")
            for task in self.world.tasks:
                if task.key in wanted and task.state == "PENDING":
                    task.eligible_at, task.reason = self.world.now + 0.5, "Priority"
            return ""
        return (
            f"PartitionName=train AllowQos=ALL Nodes=train[1-4] State=UP\n"
            f"PartitionName=inference AllowQos=serving Nodes={self.world.serving} State=UP\n"
        )

    def _scancel(self, option: str, *keys: str, **_: Any) -> str:
        for task in self.world.tasks:
            if task.key in keys and task.alive and option == f"--name={task.name}":
                self.world.cancel_task(task)
        return ""

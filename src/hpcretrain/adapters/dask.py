"""The door to Dask: workers as Slurm jobs of the background class, which come and go while a scheduler here holds on.

The scheduler runs in this process. It and its workers speak TLS, with a key that is made for the run and lies where
only this user reads; it listens on the one address by which nodes reach this machine, and shows no dashboard.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import dask.config
from dask_jobqueue import SLURMCluster
from dask_jobqueue.slurm import SLURMJob
from distributed import Client, wait
from distributed.core import Status
from distributed.deploy.spec import ProcessInterface
from distributed.scheduler import KilledWorker
from distributed.security import Security

from hpcretrain.adapters import dask_script
from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_reach import Reach
from hpcretrain.adapters.spool import tail
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import SlurmError
from hpcretrain.node.durable import make
from hpcretrain.policy.fate import STATES
from hpcretrain.records import Outcome
from hpcretrain.witnesses import ENDED, Fate

A = TypeVar("A")
B = TypeVar("B")

LOOK_EVERY_S = 10.0
"""Seconds between two looks at the queue while results are awaited; fewer at first, when most goes wrong."""

HOPELESS = 3
"""Workers that end by themselves without having been heard of, after which a run is given up."""

_RETRIES = 2
_ALLOWED_FAILURES = 20
"""Workers that may be lost under one task: preemption says nothing against it."""

_FAULTS = frozenset({Fate.FAILED, Fate.TIMED_OUT, Fate.OUT_OF_MEMORY})
"""Ends of a job that neither Slurm nor a person willed. One that is told to make room exits 0."""

SETTINGS: Mapping[str, Any] = {
    # A worker that is lost is replaced at once; by default fifteen seconds later.
    "distributed.deploy.lost-worker-timeout": "1s",
    # Before the first parts are done nobody knows how long one takes: a worker for each, up to the most.
    "distributed.scheduler.default-task-durations": {"profile_part": "60s", "count_duplicates": "60s", "merge": "60s"},
    "distributed.adaptive.target-duration": "60s",
    # A node that is taken away without a word.
    "distributed.scheduler.worker-ttl": "2 minutes",
    "distributed.scheduler.http.routes": [],
}
"""Settings of Dask while workers are up."""


@dataclass
class Site:
    """Where workers run, and how they are submitted.

    Attributes:
        slurm: The door.
        profile: The site.
        name: The name that all jobs bear.
        folder: Shared by all who work at it.
        host: The address on which the scheduler listens.
        memory_mb: Memory of a worker; None for that of the background class.
    """

    slurm: Slurm
    profile: ClusterProfile
    name: str
    folder: Path
    host: str
    memory_mb: int | None = None
    refused: list[SlurmError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reach = Reach(self.slurm, self.profile)
        self.ask = dask_script.asked(self.profile, self.memory_mb)

    def submit(self, script: str) -> int:
        """Submit one worker; the job's number.

        Raises:
            SlurmError: It was refused, or it could come to a node that serves.
        """
        finding = self._reach.before(dask_script.CLASS)
        if finding.outcome is not Outcome.PASS:
            raise SlurmError(f"no worker was submitted: {finding.reason}", "refused")
        return self.slurm.submit(dask_script.options(self.profile, self.name, self.ask, self.folder), lambda: script)


class _Job(SLURMJob):  # type: ignore[misc]
    """A worker as a job: submitted and canceled through the door to Slurm."""

    def __init__(self, scheduler: str, name: str, site: Site, security: Security | None = None, **_: Any) -> None:
        ProcessInterface.__init__(self, scheduler, name)
        self._site = site
        self.job_id: int | None = None
        self.worker_processes = 1
        files = security.get_tls_config_for_role("worker") if security else {}
        tls = [word for key in ("ca_file", "cert", "key") for word in (f"--tls-{key.replace('_', '-')}", files[key])]
        self._script = dask_script.script(site.profile, site.folder, scheduler, site.ask, str(name), tls)

    def job_script(self) -> str:
        """The batch script."""
        return self._script

    async def start(self) -> None:
        """Submit it."""
        try:
            self.job_id = await asyncio.to_thread(self._site.submit, self._script)
        except SlurmError as error:
            self.status = Status.failed
            self._site.refused.append(error)
            raise
        await ProcessInterface.start(self)

    async def close(self) -> None:
        """Cancel it, if it is there still."""
        if self.job_id is not None:
            with contextlib.suppress(SlurmError):
                await asyncio.to_thread(self._site.slurm.ask, "scancel", f"--name={self._site.name}", str(self.job_id))
        await ProcessInterface.close(self)


class Workers(SLURMCluster):  # type: ignore[misc]
    """A cluster of workers on Slurm.

    Args:
        site: Where they run.
    """

    job_cls = _Job

    def __init__(self, site: Site, **more: Any) -> None:
        self._site = site
        self._heard: set[str] = set()
        self._lost: dict[int, str] = {}
        super().__init__(
            site=site,
            security=Security.temporary(),
            shared_temp_directory=str(site.folder),
            protocol="tls://",
            scheduler_options={
                "host": site.host,
                "dashboard": False,
                "dashboard_address": "127.0.0.1:0",
                "allowed_failures": _ALLOWED_FAILURES,
            },
            **more,
        )

    def _update_worker_status(self, op: str, msg: Any) -> None:
        if op == "add":
            self._heard.update(str(each["name"]) for each in msg["workers"].values())
        super()._update_worker_status(op, msg)

    def tend(self) -> str:
        """Have jobs replaced that ended without Dask's noticing; how the workers stand, in words.

        Raises:
            SlurmError: Slurm refuses workers, or they end before they are heard of.
        """
        refused, self._site.refused[:] = list(self._site.refused), []
        for error in refused:
            if error.trouble == "refused":
                raise error
        lines = [line for line in self._site.slurm.queue() if line.name == self._site.name]
        states = {line.key.submission: line.seen.state for line in lines}
        self.sync(self._drop, states)
        if len(self._lost) >= HOPELESS:
            last = max(self._lost)
            log = tail(self._site.folder / dask_script.LOGS / f"{last}.txt").strip()
            raise SlurmError(
                f"{len(self._lost)} workers ended before they reached {self.scheduler_address}; is environment.python "
                f"of the cluster profile right, and may nodes connect to this machine? Job {last} ({self._lost[last]}) "
                f"said:\n{log}",
                "refused",
            )
        counted = {word: sum(state == word for state in states.values()) for word in ("RUNNING", "PENDING")}
        words = f"{counted['RUNNING']} workers running, {counted['PENDING']} waiting"
        return f"{words} ({refused[-1]})" if refused else words

    async def _close(self) -> None:
        await super()._close()
        for name in ("ca_file", "cert", "key"):
            getattr(self, f"_job_{name}").close()

    async def _drop(self, states: Mapping[int, str]) -> None:
        """Forget jobs that Slurm has ended: those that never connected are missed by nobody else."""
        connected = {str(state.name) for state in self.scheduler.workers.values()}
        for name, job in list(self.workers.items()):
            # A job that is not in the queue was submitted since the queue was asked.
            fate = STATES.get(states.get(job.job_id, ""))
            if str(name) in connected or (fate not in ENDED and job.status is not Status.failed):
                continue
            if fate in _FAULTS and str(name) not in self._heard:
                self._lost[job.job_id] = states[job.job_id]
            await ProcessInterface.close(job)
            del self.workers[name]


@contextlib.contextmanager
def prepared(site: Site) -> Iterator[None]:
    """Nothing is left of an earlier run before, and nothing of this one after, even if this process is killed."""
    site.slurm.cancel_named([site.name])
    for key in site.folder.glob(".dask-jobqueue.*"):
        key.unlink(missing_ok=True)
    logs = site.folder / dask_script.LOGS
    shutil.rmtree(logs, ignore_errors=True)
    make(logs)
    with site.slurm.canceled_at_end(site.name), dask.config.set(SETTINGS):
        yield
    shutil.rmtree(logs, ignore_errors=True)


@contextlib.contextmanager
def workers(site: Site, most: int, tell: Callable[[str], None]) -> Iterator[OnWorkers]:
    """Workers on Slurm, none to `most` as there is work, and the `Each` that uses them."""
    with prepared(site), Workers(site) as cluster:
        cluster.adapt(minimum=0, maximum=most)
        with Client(cluster, set_as_default=False) as client:
            yield OnWorkers(client, cluster.tend, tell)


@dataclass(frozen=True)
class OnWorkers:
    """An `Each` on Dask's workers.

    Attributes:
        client: Of the scheduler.
        tend: Called every some seconds; how the workers stand.
        tell: Is told how far the work is.
    """

    client: Client
    tend: Callable[[], str]
    tell: Callable[[str], None]

    def __call__(self, act: Callable[[A], B], arguments: Sequence[A]) -> list[B]:
        """What came of each, in the order of the arguments."""
        name = getattr(act, "__name__", "work")
        # Not pure: the same call may have to be made again after files were removed.
        futures = self.client.map(act, arguments, pure=False, retries=_RETRIES)
        told, waiting, pause_s = "", futures, 1.0
        while waiting:
            with contextlib.suppress(TimeoutError), self.client.as_current():
                wait(waiting, timeout=pause_s)
            pause_s = min(2 * pause_s, LOOK_EVERY_S)
            waiting = [each for each in futures if not each.done()]
            done = len(futures) - len(waiting)
            line = f"{name}: {done} of {len(futures)} done; {self.tend()}"
            if line != told:
                told = line
                self.tell(line)
        try:
            results: list[B] = self.client.gather(futures)
        except KilledWorker as error:
            raise SlurmError(
                f"{name}: one call ended {_ALLOWED_FAILURES} workers; they may lack memory: give them more, or make "
                "parts smaller",
                "refused",
            ) from error
        return results

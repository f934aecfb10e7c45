"""Short jobs that say what a node sees: one for each class, bounded in waiting, and gone on every way out."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import stat
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcretrain.adapters import slurm_script
from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_output import NAMES, QueueLine, expand
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import SlurmError
from hpcretrain.node import probe
from hpcretrain.policy.fate import state_of
from hpcretrain.policy.retry import Ask
from hpcretrain.records import PriorityClass
from hpcretrain.site.facts import Probe
from hpcretrain.site.node import NO_SPOOL, NOT_WRITABLE
from hpcretrain.witnesses import ENDED, Fate

RUN_S = 90.0
"""How long a job that has started may take."""
_ARRIVE_S = 5.0
"""How long a file that a node wrote may take until it is seen here."""
_OUTPUT_TAIL = 2000


@dataclass
class _Running:
    """A job that is out."""

    name: str
    folder: Path
    submitted_at: float
    number: int | None = None
    line: QueueLine | None = None
    ended_at: float | None = None


class Probes:
    """Sends short jobs.

    Args:
        slurm: The door.
        profile: The site.
        clock: Seconds since 1970, as nodes tell them too.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        slurm: Slurm,
        profile: ClusterProfile,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._slurm = slurm
        self._profile = profile
        self._clock = clock
        self._sleep = sleep

    def run(self, classes: Collection[PriorityClass], wait_s: float) -> dict[PriorityClass, Probe]:
        """One job of each class.

        Args:
            classes: Those that shall be tried.
            wait_s: How long a job may wait until it starts.
        """
        token = uuid.uuid4().hex[:12]
        folder = self._profile.spool.path / f"doctor-{token}"
        jobs: dict[PriorityClass, _Running] = {}
        refused: dict[PriorityClass, Probe] = {}
        with _ended_by_signals_too():
            try:
                self._furnish(folder, token)
                for each in classes:
                    jobs[each] = _Running(f"{NAMES}doctor.{token}.{each.value}", folder / each.value, self._clock())
                    try:
                        jobs[each].number = self._submit(each, jobs[each], folder, token)
                    except SlurmError as error:
                        refused[each] = Probe(False, str(error))
                waiting = {each: job for each, job in jobs.items() if each not in refused}
                self._wait(waiting.values(), wait_s)
                return refused | {each: self._told(job, wait_s) for each, job in waiting.items()}
            except OSError as error:
                return {each: Probe(False, f"the spool cannot be written here: {error}") for each in classes}
            finally:
                # By name: where sbatch was cut short, nobody knows the number.
                self._slurm.cancel_named([job.name for job in jobs.values() if job.ended_at is None])
                shutil.rmtree(folder, ignore_errors=True)

    def _furnish(self, folder: Path, token: str) -> None:
        folder.mkdir(mode=0o700)
        shutil.copyfile(probe.__file__, folder / "probe.py")
        (folder / "token").write_text(token)

    def _submit(self, priority_class: PriorityClass, job: _Running, folder: Path, token: str) -> int:
        wanted = self._profile.classes.of(priority_class)
        # The signal before the time limit must not come at once.
        time_limit = min(wanted.time_limit_min, self._profile.preemption.lead_s // 60 + 3)
        options = slurm_script.options(
            self._profile,
            priority_class,
            name=job.name,
            ask=Ask(wanted.memory_mb, time_limit),
            cpus=1,
            tasks=1,
            root=folder,
        )
        # Where the spool is missing on the node, the job shall be able to say so. The last of several options counts.
        options += ["--output=/dev/null", "--chdir=/"]
        text = script(self._profile, folder, priority_class.value, token)
        return self._slurm.submit(options, lambda: text)

    def _wait(self, jobs: Collection[_Running], wait_s: float) -> None:
        begun, pause = self._clock(), 0.25
        while any(job.ended_at is None for job in jobs):
            self._sleep(pause)
            # One query serves all, however many there are; in the end one every two seconds.
            pause = min(2.0, pause * 1.3)
            self._hear(jobs)
            now = self._clock()
            late = [job for job in jobs if job.ended_at is None and now - begun >= wait_s + RUN_S * _started(job)]
            if len(late) == sum(job.ended_at is None for job in jobs):
                return

    def _hear(self, jobs: Collection[_Running]) -> None:
        try:
            lines = {line.key.submission: line for line in self._slurm.queue()}
        except SlurmError:
            # It may answer again; what has been waited for is bounded.
            return
        for job in jobs:
            line = lines.get(job.number) if job.number is not None else None
            gone = line is None and job.line is not None
            job.line = line or job.line
            if job.ended_at is None and (gone or (line is not None and state_of(line.seen.state) in ENDED)):
                job.ended_at = self._clock()

    def _told(self, job: _Running, wait_s: float) -> Probe:
        if job.ended_at is None:
            if job.line is None or not _started(job):
                reason = f": {job.line.seen.reason}" if job.line else ""
                return Probe(False, f"its job did not start within {wait_s:g} s{reason}")
            return Probe(False, f"its job did not end within {RUN_S:g} s of its start")
        shown = self._show(job)
        hosts = shown.get("NodeList") or (job.line.seen.nodes if job.line else "")
        code = shown.get("ExitCode", "").partition(":")[0]
        seen, own, appeared = self._arrived(job)
        return Probe(
            ran=True,
            why=f"job {job.number} ended {shown.get('JobState', '')}".strip(),
            nodes=frozenset(expand(hosts)) if hosts else frozenset(),
            exit_code=int(code) if code.isdigit() else None,
            output=_tail(job.folder / "output.txt"),
            seen=seen,
            requeue={"0": False, "1": True}.get(shown.get("Requeue", "")),
            own=own,
            behind_s=_behind(seen, job.submitted_at, appeared),
        )

    def _show(self, job: _Running) -> Mapping[str, str]:
        try:
            return (self._slurm.show("job", str(job.number)) or [{}])[0]
        except SlurmError:
            return {}

    def _arrived(self, job: _Running) -> tuple[Mapping[str, Any] | None, bool, float]:
        path, end = job.folder / "seen.json", self._clock() + _ARRIVE_S
        while True:
            with suppress(OSError, ValueError):
                # Listing a folder makes a client of NFS look again.
                os.listdir(job.folder)
                status = path.stat()
                own = status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077
                return json.loads(path.read_text(encoding="utf-8")), own, self._clock()
            expected = job.line is not None and state_of(job.line.seen.state) is Fate.FINISHED
            if not expected or self._clock() >= end:
                return None, True, self._clock()
            self._sleep(0.2)


def script(profile: ClusterProfile, folder: Path, name: str, token: str) -> str:
    """The batch script: the spool is tried first, by bash alone, then the environment as training uses it.

    Args:
        profile: The site.
        folder: Where the program lies, in the spool.
        name: The folder in it that the job makes and writes to.
        token: What the file `token` must hold: a node may have a folder of its own at the same place.
    """
    place = shlex.quote(str(folder))
    first = [
        f'cd {place} && [ "$(cat token)" = {shlex.quote(token)} ] || exit {NO_SPOOL}',
        f"mkdir {name} && : > {name}/new && mv {name}/new {name}/written || exit {NOT_WRITABLE}",
        f"exec > {name}/output.txt 2>&1",
    ]
    lines = slurm_script.preamble(profile.environment, first)
    return "\n".join(
        [*lines, slurm_script.step(profile.environment, folder, str(folder / "probe.py"), str(folder / name)), ""]
    )


def _started(job: _Running) -> bool:
    return job.line is not None and state_of(job.line.seen.state) not in (Fate.WAITING, Fate.HELD)


def _behind(seen: Mapping[str, Any] | None, submitted: float, appeared: float) -> float:
    at = (seen or {}).get("at")
    if not isinstance(at, int | float):
        return 0.0
    return max(0.0, submitted - at) or min(0.0, appeared - at)


def _tail(path: Path) -> str:
    with suppress(OSError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _OUTPUT_TAIL))
        return file.read().decode("utf-8", "replace").strip()
    return ""


@contextmanager
def _ended_by_signals_too() -> Iterator[None]:
    """SIGTERM and SIGHUP end what runs as Ctrl-C does, so that it is cleaned up."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        # Python lets only the main thread listen; whoever runs this in another has to see to its end.
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""Processes by pid and start time, so that no stranger who got the pid later is ever signaled."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from minicluster.errors import Failed

PROC = Path("/proc")
MARK = "MINICLUSTER_STATE"


@dataclass(frozen=True)
class Process:
    """A process of this boot."""

    pid: int
    started: int
    """Clock ticks since boot."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this pid now; None where there is none or only a zombie."""
        try:
            # The name in parentheses may hold anything, so fields count from its end (proc(5)).
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), boot())

    @classmethod
    def read(cls, file: Path) -> Process | None:
        """What `write` wrote, if it lives."""
        try:
            pid, started, boot_id = file.read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        process = cls(int(pid), int(started), boot_id)
        return process if process.alive else None

    def write(self, file: Path) -> None:
        """Write it to a file, whole or not at all."""
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{self.pid} {self.started} {self.boot}\n")
        fresh.replace(file)

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Process.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process, if it lives."""
        try:
            # From here on the descriptor stands for one process, whatever becomes of the pid.
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
        finally:
            os.close(descriptor)

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 10) -> None:
        """Send a signal and wait for the end; SIGKILL where that takes too long.

        Raises:
            Failed: Even SIGKILL did not end it.
        """
        self.send(number)
        if not wait_for(self._ended, seconds):
            self.send(signal.SIGKILL)
            if not wait_for(self._ended, 10):
                raise Failed(f"process {self.pid} does not end, not even by SIGKILL")

    def _ended(self) -> bool:
        # A child of this very program would stay as a zombie.
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return not self.alive


def boot() -> str:
    """What tells this boot from others: start times count from it."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Process:
    """Start a program in a session of its own, its output appended to a file.

    Raises:
        Failed: It was gone before its start time could be read.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        pid = os.posix_spawn(
            "/usr/bin/env",
            # No folder of the caller is held.
            ["env", "--chdir=/", *command],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
            setsigmask=[],
            # Python ignores SIGPIPE; a daemon's jobs should not.
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGHUP],
        )
    finally:
        os.close(output)
    process = Process.of(pid)
    if process is None:
        raise Failed(f"{command[0]} ended as soon as it began; see {log}")
    return process


def wait_for(ready: Callable[[], bool], seconds: float) -> bool:
    """Whether something becomes true in time."""
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def left_over(state: Path, conf: Path, user: int | None) -> list[Process]:
    """Processes of a cluster, however they came to be: daemons, steps, jobs, and all that its user runs."""
    mark = f"{MARK}={state}".encode()
    job = f"SLURM_CONF={conf}".encode()
    found = []
    for folder in PROC.iterdir():
        if not folder.name.isdigit() or (process := Process.of(int(folder.name))) is None:
            continue
        try:
            owner = folder.stat().st_uid
            variables = (folder / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        # SLURM_CONF alone is in the shell of anyone who talks to the cluster.
        is_job = job in variables and any(variable.startswith(b"SLURM_JOB_ID=") for variable in variables)
        if process.pid != os.getpid() and (owner == user or mark in variables or is_job):
            found.append(process)
    return found


def kill(processes: Iterable[Process]) -> None:
    """SIGKILL them all, then wait for each.

    Raises:
        Failed: One does not end.
    """
    processes = list(processes)
    for process in processes:
        process.send(signal.SIGKILL)
    for process in processes:
        process.stop(signal.SIGKILL)

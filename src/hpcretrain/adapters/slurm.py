"""The door to Slurm: its plain commands, as any user may call them. Calls are counted."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from hpcretrain.adapters.slurm_output import (
    SACCT_FIELDS,
    History,
    Key,
    QueueLine,
    read_accounting,
    read_queue,
    read_records,
    squeue_format,
)
from hpcretrain.config.cluster import Commands
from hpcretrain.errors import InputError, SlurmError

T = TypeVar("T")

# Everything else in the controller's environment stays here: sbatch hands its own on to the job, and `SBATCH_*` or
# `SLURM_*` of a job in which the controller itself runs would change what is asked for.
_PASSED_ON = ("HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SLURM_CONF")

_UNREACHABLE = (
    "unable to contact slurm controller",
    "socket timed out",
    "zero bytes were transmitted",
    "unexpected message received",
    "connection refused",
    "connect failure",
    "communication connection failure",
    "standby mode",
    "temporarily unable",
    "temporarily unavailable",
    "transport endpoint",
    "problem talking to the database",
    "protocol authentication error",
    "munge encode failed",
    "try again",
)
# The sentence "Job violates accounting/QOS policy" stands for limits of any kind; a reason above it names the limit.
_FULL = ("submitjob", "maxjobcount", "too many jobs")
"""Words of refusals that pass when other jobs end."""

_MOST_NAMES = 100
"""More names than this would be too long an argument."""


class Slurm:
    """Calls Slurm's commands.

    Args:
        commands: Where they are.

    Raises:
        InputError: `sbatch` or the named configuration is not there.
    """

    def __init__(self, commands: Commands) -> None:
        self._timeout_s = commands.timeout_s
        self._environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        self._environment["LC_ALL"] = "C"
        if commands.conf:
            if not commands.conf.is_file():
                raise InputError(f"commands.conf: there is no file {commands.conf}; mend the cluster profile")
            self._environment["SLURM_CONF"] = str(commands.conf)
        self._folder = commands.folder
        self.calls: Counter[str] = Counter()
        """How often each command was called."""
        self.command("sbatch")

    def command(self, name: str) -> str:
        """The path of a command.

        Raises:
            InputError: It is not there.
        """
        found = shutil.which(name, path=str(self._folder) if self._folder else self._environment.get("PATH"))
        if found is None:
            where = f"in {self._folder}" if self._folder else "on PATH"
            raise InputError(f"there is no {name} {where}; set commands.folder of the cluster profile")
        return found

    def ask(self, name: str, *arguments: str, given: Callable[[], str] | None = None) -> str:
        """What a command prints.

        Args:
            name: Of the command.
            arguments: Its arguments.
            given: Makes what it reads from standard input, while it starts. If this raises the command is killed.

        Raises:
            SlurmError: It failed.
        """
        return self._answer(name, self._start(name, arguments, reads=given is not None), given)[0]

    def start(self, name: str, *arguments: str) -> Callable[[], str]:
        """Start a command; to be called for what it prints, which may raise a `SlurmError`."""
        process = self._start(name, arguments)
        return lambda: self._answer(name, process)[0]

    def _start(self, name: str, arguments: Sequence[str], *, reads: bool = False) -> subprocess.Popen[str]:
        self.calls[name] += 1
        try:
            return subprocess.Popen(
                [self.command(name), *arguments],
                stdin=subprocess.PIPE if reads else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=self._environment,
                umask=0o077,
            )
        except OSError as error:
            # A login node limits processes and memory, and both come back.
            raise SlurmError(f"{name} could not be started: {error.strerror or error}", "unreachable") from error

    def _answer(
        self, name: str, process: subprocess.Popen[str], given: Callable[[], str] | None = None
    ) -> tuple[str, str]:
        """What a command that was started prints, and what it says besides."""
        with process:
            try:
                told, error = process.communicate(given() if given else None, self._timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise SlurmError(f"{name} did not answer within {self._timeout_s:g} s", "unreachable") from None
            except BaseException:
                process.kill()
                raise
        if process.returncode < 0:
            # By whatever watches over a login node; nobody knows what it had done.
            raise SlurmError(f"{name} was ended by signal {-process.returncode}", "unreachable")
        if process.returncode:
            raise failure(name, error or told)
        return told, error

    def submit(self, options: Sequence[str], script: Callable[[], str]) -> int:
        """Submit a batch script; the identifier of the job, or of the array.

        Args:
            options: Of sbatch.
            script: Makes the script, and does what must be done before it is submitted. It is called while sbatch
                starts, which takes longer than to write an intent down: sbatch reads a script to its end before it
                asks slurmctld for anything, and refuses an empty one.

        Raises:
            SlurmError: It was refused, or nobody knows whether it was taken.
        """
        told = self.ask("sbatch", "--parsable", *options, given=script).strip().splitlines()
        number = told[-1].partition(";")[0] if told else ""
        if not number.isdigit():
            raise SlurmError(f"sbatch printed {told!r} where a job's number was due", "unreachable")
        return int(number)

    def try_submission(self, options: Sequence[str], script: str) -> str:
        """What sbatch says of a job that is not submitted: when and where it would start.

        Raises:
            SlurmError: It would be refused.
        """
        return self._answer("sbatch", self._start("sbatch", ["--test-only", *options], reads=True), lambda: script)[1]

    def queue(self) -> list[QueueLine]:
        """All jobs of this user that slurmctld knows, those that ended lately too: one call, however many they are.

        Raises:
            SlurmError: It does not answer.
        """
        options = ["--noheader", "--array", "--states=all", f"--user={os.getuid()}", f"-O{squeue_format()}"]
        return _understood(read_queue, self.ask("squeue", *options))

    def accounting(self, names: Collection[str], since: datetime) -> list[History]:
        """What accounting knows of the jobs with these names, all their lives.

        Raises:
            SlurmError: It does not answer, or there is none.
        """
        # Local time without a zone is all that sacct reads.
        begin = since.astimezone().strftime("%Y-%m-%dT%H:%M:%S")
        options = ["--noheader", "--parsable2", "--duplicates", f"--user={os.getuid()}", f"--starttime={begin}"]
        if len(names) <= _MOST_NAMES:
            options.append(f"--name={','.join(sorted(names))}")
        return _understood(read_accounting, self.ask("sacct", *options, f"--format={','.join(SACCT_FIELDS)}"))

    def show(self, kind: str, name: str | None = None) -> list[Mapping[str, str]]:
        """Partitions, reservations, nodes, jobs: what `scontrol show` tells, a mapping of keys to values for each."""
        return self.start_show(kind, name)()

    def start_show(self, kind: str, name: str | None = None) -> Callable[[], list[Mapping[str, str]]]:
        """Start to ask for what `show` tells; to be called for the answer, which may raise a `SlurmError`."""
        named = [name] if name else []
        # All: partitions that this user may not use are hidden otherwise, and those that serve are among them.
        answer = self.start("scontrol", "--oneliner", "--all", "show", kind, *named)
        return lambda: read_records(answer())

    def cancel(self, jobs: Mapping[Key, str]) -> None:
        """Cancel jobs, each with the name that it was submitted by; one that has ended is left as it is.

        By both, since another cluster, or this one once its counter was set back, gives the same number to another job.
        """
        for name in sorted(set(jobs.values())):
            try:
                self.ask("scancel", f"--name={name}", *sorted(str(key) for key in jobs if jobs[key] == name))
            except SlurmError as error:
                if error.trouble == "unreachable":
                    raise

    def cancel_named(self, names: Collection[str]) -> None:
        """Cancel this user's jobs of these names, whose numbers may not be known."""
        for name in sorted(names):
            with contextlib.suppress(SlurmError):
                self.ask("scancel", f"--user={os.getuid()}", f"--name={name}")

    @contextlib.contextmanager
    def canceled_at_end(self, name: str) -> Iterator[None]:
        """Have this user's jobs of this name canceled at the end of the block, or of this process if it is killed."""
        command = shlex.join([self.command("scancel"), "--quiet", f"--user={os.getuid()}", f"--name={name}"])
        # A submission may be on its way while this process dies.
        script = f"cat; {command}; sleep 2; {command}; sleep 10; {command}"
        guard = subprocess.Popen(
            ["/bin/sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd="/",
            start_new_session=True,
        )
        try:
            yield
        finally:
            self.cancel_named([name])
            guard.kill()
            guard.communicate()

    def start_now(self, keys: Collection[Key]) -> None:
        """Let requeued jobs start at once, not only when Slurm's pause after a requeue is over."""
        if not keys:
            return
        try:
            self.ask("scontrol", "update", f"JobId={','.join(sorted(map(str, keys)))}", "StartTime=now")
        except SlurmError as error:
            # Refused where one has started meanwhile: nothing hangs on this.
            if error.trouble == "unreachable":
                raise


def _understood(read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise SlurmError(str(error), "unreachable") from None


def failure(name: str, told: str) -> SlurmError:
    """What a command's error says, and whether it may pass."""
    lines = [line.removeprefix(f"{name}: ").removeprefix("error: ").strip() for line in told.strip().splitlines()]
    words = "; ".join(line for line in lines if line) or "it failed without a word"
    low = words.lower()
    if any(sign in low for sign in _UNREACHABLE):
        return SlurmError(f"{name}: {words}", "unreachable")
    return SlurmError(f"{name}: {words}", "full" if any(sign in low for sign in _FULL) else "refused")


def where(path: Path) -> str:
    """A path as sbatch takes it for files of output: its own placeholders are kept from meaning anything."""
    return str(path).replace("%", "%%")

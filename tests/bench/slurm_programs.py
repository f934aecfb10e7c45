"""Programs that Slurm starts for benchmarks, and waiting for what they write; used by a cluster's ordinary user."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hpcretrain.adapters import slurm_script
from hpcretrain.adapters.slurm import Slurm
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.policy.retry import Ask
from hpcretrain.records import PriorityClass

CPUS = 4
"""Cores of a node of the minicluster."""

Found = TypeVar("Found")

FIRST_LINE = "import time; print(time.time(), flush=True)\n"
"""A program that says when its first line ran."""

STUBBORN = """\
import signal, time
for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(3600)
"""
"""A program that goes on whatever it is told."""


def program(name: str, text: str) -> Path:
    """An executable of this interpreter in the working directory."""
    path = Path(name).absolute()
    path.write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
    path.chmod(0o755)
    return path


class Raw:
    """Submits by `sbatch` alone what hpcretrain would submit: the same options, and a script of the same form.

    Args:
        profile: The site; its `environment.python` is what runs.
        priority_class: Of the jobs.
        cpus: Cores of a job.
        options: Further options of sbatch.
    """

    def __init__(
        self, profile: ClusterProfile, priority_class: PriorityClass, cpus: int = 1, options: Sequence[str] = ()
    ) -> None:
        root = Path.cwd()
        (root / "logs").mkdir(exist_ok=True)
        wanted = profile.classes.of(priority_class)
        ask = Ask(wanted.memory_mb, wanted.time_limit_min)
        given = slurm_script.options(profile, priority_class, name="raw", ask=ask, cpus=cpus, tasks=1, root=root)
        kept = [each for each in given if not each.startswith("--output=")]
        self._command = [Slurm(profile.commands).command("sbatch"), "--parsable", *kept, *options]
        self._script = slurm_script.script(profile, root / "batches" / "raw.json")

    def submit(self, log: Path, script: str | None = None) -> float:
        """Wall seconds of `sbatch`. What the job prints goes into `log`; `script` takes the place of its own."""
        command = [*self._command, f"--output={log}"]
        begun = time.perf_counter()
        subprocess.run(command, input=script or self._script, capture_output=True, text=True, check=True)
        return time.perf_counter() - begun


def wait_for(what: Callable[[], Found], within_s: float, why: str) -> Found:
    """What a call gives, once that is true.

    Raises:
        RuntimeError: It takes too long.
    """
    deadline = time.monotonic() + within_s
    while not (found := what()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {within_s:g} s: {why}")
        time.sleep(0.02)
    return found


def text_of(log: Path) -> str:
    """What is in a file; nothing while it is not there, or ends within a line."""
    try:
        text = log.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    return text if text.endswith("\n") else ""


def none_left(slurm: Slurm) -> None:
    """Cancel all jobs of this user and wait until none is left."""
    slurm.cancel({line.key: line.name for line in slurm.queue()})

    def gone() -> bool:
        return not slurm.ask("squeue", "--noheader", "--me", "--format=%A").strip()

    wait_for(gone, 60, "jobs that were canceled end")

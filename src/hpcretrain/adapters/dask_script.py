"""What a worker of Dask is started by on Slurm: options of sbatch and a batch script. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpcretrain.adapters import slurm_script
from hpcretrain.adapters.slurm import where
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.policy.retry import Ask
from hpcretrain.records import PriorityClass

CLASS = PriorityClass.BACKGROUND
"""The class of workers: they give way to every training."""

LOGS = "logs"

DEATH_TIMEOUT_S = 60
"""How long a worker looks for its scheduler before it ends."""

_LIFETIME, _STAGGER = 0.9, 0.05
"""Shares of a job's time limit: a worker leaves before it is over, not all at the same moment."""


def asked(profile: ClusterProfile, memory_mb: int | None) -> Ask:
    """Memory and time limit of a worker's job: the class's, unless another memory is given."""
    wanted = profile.classes.of(CLASS)
    return Ask(memory_mb or wanted.memory_mb, wanted.time_limit_min)


def options(profile: ClusterProfile, name: str, ask: Ask, folder: Path) -> list[str]:
    """The options of sbatch for one worker.

    It is never requeued, since whoever needs a worker asks for a new one; a job that came back would find nobody. And
    no signal is asked for: at preemption Slurm sends TERM, at which a worker leaves.

    Args:
        profile: The site.
        name: The name by which all workers of a run are found again.
        ask: Memory and time limit.
        folder: Shared by all who work at it.
    """
    preemption = profile.preemption.model_copy(update={"signal": None, "requeue": False})
    plain = profile.model_copy(update={"preemption": preemption})
    given = slurm_script.options(plain, CLASS, name=name, ask=ask, cpus=1, tasks=1, root=folder)
    # The last one counts: a log for each worker, as they all have one name.
    return [*given, f"--output={where(folder / LOGS)}/%j.txt"]


def script(profile: ClusterProfile, folder: Path, scheduler: str, ask: Ask, name: str, tls: Sequence[str]) -> str:
    """The batch script of one worker.

    Args:
        profile: The site.
        folder: Shared by all who work at it.
        scheduler: The address of Dask's scheduler.
        ask: Memory and time limit of the job.
        name: Of the worker, for the scheduler.
        tls: Options that name the files of keys; the script itself holds no secret.
    """
    place = profile.environment
    limit_s = ask.time_limit_min * 60
    arguments = [
        scheduler, "--name", name, "--nthreads", "1", "--nworkers", "1",
        "--memory-limit", f"{ask.memory_mb}MiB" if ask.memory_mb else "auto",
        "--death-timeout", str(DEATH_TIMEOUT_S),
        "--lifetime", f"{_LIFETIME * limit_s:.0f}s", "--lifetime-stagger", f"{_STAGGER * limit_s:.0f}s",
        # Whoever else is on the node sees nothing of it.
        "--no-dashboard", "--dashboard-address", "127.0.0.1:0",
        *tls,
    ]  # fmt: skip
    # One thread does the work; those of libraries would share its one core.
    quiet = ("OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "DASK_DISTRIBUTED__WORKER__HTTP__ROUTES=[]")
    lines = slurm_script.preamble(place) + [f"export {each}" for each in quiet]
    return "\n".join([*lines, slurm_script.step(place, folder, "-m", "distributed.cli.dask_worker", *arguments), ""])

"""What sbatch is given: options and a batch script. Pure; tests hold whole scripts against golden files."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from hpcretrain.config.cluster import ClusterProfile, Environment
from hpcretrain.node.signals import SIGNALS
from hpcretrain.policy.retry import Ask
from hpcretrain.records import PriorityClass


def options(
    profile: ClusterProfile, priority_class: PriorityClass, *, name: str, ask: Ask, cpus: int, tasks: int, root: Path
) -> list[str]:
    """The options of sbatch.

    Args:
        profile: The site.
        priority_class: The class of the jobs.
        name: The name by which the jobs are found again.
        ask: Memory and time limit of each.
        cpus: Cores of each.
        tasks: How many jobs there are; more than one make an array.
        root: The spool.
    """
    wanted = profile.classes.of(priority_class)
    signal = profile.preemption.signal
    given = {
        "job-name": name,
        "partition": wanted.partition,
        "qos": wanted.qos,
        "account": wanted.account,
        "reservation": wanted.reservation,
        "gres": wanted.gres,
        "nodes": 1,
        "ntasks": 1,
        "cpus-per-task": cpus,
        "mem": f"{ask.memory_mb}M" if ask.memory_mb else None,
        "time": ask.time_limit_min,
        "signal": f"{signal}@{profile.preemption.lead_s}" if signal else None,
        "array": f"0-{tasks - 1}" if tasks > 1 else None,
        "chdir": root,
        "output": root / "logs" / (f"{name}_%a.txt" if tasks > 1 else f"{name}.txt"),
        "open-mode": "append",
    }
    requeue = "--requeue" if profile.preemption.requeue else "--no-requeue"
    return [f"--{key}={value}" for key, value in given.items() if value is not None] + [requeue, *wanted.options]


# A warning would kill an interpreter that only starts; held back, it is heard once there is somebody to hear it. Before
# version 8.31 coreutils cannot do this; then Slurm tells by which signal the job ended.
_HELD = (
    f"HELD='env --block-signal={','.join(each.name.removeprefix('SIG') for each in SIGNALS)}'",
    "$HELD true 2>/dev/null || HELD=",
)


def script(profile: ClusterProfile, batch: Path) -> str:
    """The batch script: the environment of the node, and the one program that does the work."""
    place = profile.environment
    program = step(place, batch.parent.parent, "-m", "hpcretrain.node.batch", str(batch), held="$HELD ")
    return "\n".join([*preamble(place), *_HELD, program, ""])


def preamble(place: Environment, first: Sequence[str] = ()) -> list[str]:
    """The lines that make the environment of the node; `first` stands before anything of the site's is loaded."""
    # Only a login shell has `module` and `conda` defined by the site.
    lines = ["#!/bin/bash -l" if place.modules or place.conda else "#!/bin/bash", "umask 077", *first]
    lines += [f"module load {shlex.quote(module)}" for module in place.modules]
    if place.conda:
        lines += ['eval "$(conda shell.bash hook)"', f"conda activate {shlex.quote(place.conda)}"]
    return [*lines, *place.setup]


def step(place: Environment, root: Path, *arguments: str, held: str = "") -> str:
    """The line that runs the interpreter of the environment; `held` stands before the program.

    It runs in a step, since Slurm warns steps before it takes a node away, and batch scripts only afterwards.
    """
    srun = ["exec", "srun", "--ntasks=1", "--export=ALL", "--unbuffered", "--input=none", "--quiet"]
    program = shlex.join([*_program(place, root), *arguments])
    return f'{shlex.join(srun)} --cpus-per-task="$SLURM_CPUS_PER_TASK" {held}{program}'


def _program(place: Environment, root: Path) -> list[str]:
    if place.container is None:
        return [place.python]
    return ["apptainer", "exec", f"--bind={root}", *place.container_options, place.container, place.python]

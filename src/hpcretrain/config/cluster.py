"""The types of a cluster profile: how training reaches Slurm at one site. Its reference is generated from them.

What a site forbids or does not have is left out; nothing is asked of Slurm that the profile does not name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from hpcretrain.config.checked import parse, read_toml
from hpcretrain.errors import InputError
from hpcretrain.priority import PriorityClass, lined_up
from hpcretrain.table import Table

Word = Annotated[str, Field(min_length=1, pattern=r"^[^\s\"'`$;&|<>\\]+$")]
"""What stands in a command or a script: no white space, and nothing that a shell would read."""

Line = Annotated[str, Field(min_length=1, pattern=r"^[^\n\r\x00]+$")]


class Commands(Table):
    """How Slurm's commands are found and asked."""

    folder: Path | None = Field(default=None, description="Where sbatch, squeue, ... lie. Default: on PATH.")
    conf: Path | None = Field(default=None, description="SLURM_CONF. Default: where the commands look by themselves.")
    timeout_s: float = Field(default=60, gt=0, le=3600, description="Seconds after which a command has failed.")


class Spool(Table):
    """The folder through which controller and nodes exchange files."""

    path: Path = Field(description="On a file system that the nodes share; each home gets a folder in it.")

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        if not path.is_absolute() or any(character in str(path) for character in "\n\r\0%\"'`$\\"):
            raise ValueError("must be an absolute path without quotes, %, $ or line ends")
        return path


class Inference(Table):
    """What serves predictions. Nothing that is trained may come there."""

    partitions: tuple[Word, ...] = Field(default=(), description="Partitions whose nodes serve.")
    nodes: Word | None = Field(default=None, description='Nodes that serve, as Slurm\'s list: "infer[1-4],gpu7".')

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.partitions and not self.nodes:
            raise ValueError("name the nodes or the partitions that serve; without them nothing can be proven")
        return self


class Environment(Table):
    """How Python with hpcretrain is found on a node."""

    python: Word = Field(description="The interpreter, as a node calls it (inside the container, if there is one).")
    modules: tuple[Word, ...] = Field(default=(), description="Modules to load.")
    conda: Word | None = Field(default=None, description="Conda environment to activate: a name or a path.")
    container: Word | None = Field(default=None, description="Apptainer image in which to run.")
    container_options: tuple[Word, ...] = Field(default=(), description='For Apptainer, such as "--bind=/scratch".')
    setup: tuple[Line, ...] = Field(default=(), description="Lines of bash to run first. Never put a secret here.")


class Preemption(Table):
    """What happens to a job that has to make room."""

    grace_s: int = Field(ge=0, description="GraceTime of the QOS whose jobs may be preempted.")
    signal: Literal["USR1", "USR2"] | None = Field(
        default=None, description="Signal before the time limit and at preemption. Left out: none is asked for."
    )
    lead_s: int = Field(default=60, ge=10, le=65535, description="How long before its time limit a job is told.")
    requeue: bool = Field(default=True, description="May Slurm requeue a job? If not, the controller submits anew.")
    requeue_on_node: bool = Field(default=True, description="May a job call scontrol on its node to requeue itself?")


class Status(Table):
    """How Slurm is asked how jobs stand."""

    every_s: float = Field(default=60, ge=1, description="Seconds between two queries when nothing is awaited.")
    accounting: bool = Field(default=True, description="Is there accounting (sacct)?")


class Limits(Table):
    """What the site's limits leave to retraining."""

    array_size: int = Field(default=1000, ge=1, description="Most tasks of an array (MaxArraySize is one more).")
    most_memory_mb: int | None = Field(default=None, ge=1, description="Memory up to which a retry may be raised.")
    most_time_min: int | None = Field(default=None, ge=1, description="Time limit up to which a retry may be raised.")


_OURS = (
    "account", "array", "chdir", "cluster", "clusters", "cpus-per-task", "error", "gres", "help", "hold",
    "job-name", "mem", "mem-per-cpu", "mem-per-gpu", "no-requeue", "nodelist", "nodes", "ntasks", "open-mode",
    "output", "parsable", "partition", "qos", "quiet", "requeue", "reservation", "signal", "test-only", "time",
    "usage", "version", "wait", "wrap",
)  # fmt: skip
_OURS_SHORT = tuple("AaDMceHhJNnopqQtVWwi")


class ClassOfJobs(Table):
    """What Slurm is asked for by jobs of one priority class."""

    partition: Word = Field(description="Partition.")
    qos: Word | None = Field(default=None, description="QOS.")
    account: Word | None = Field(default=None, description="Account.")
    reservation: Word | None = Field(default=None, description="Reservation.")
    gres: Word | None = Field(default=None, description='Generic resources, such as "gpu:1".')
    memory_mb: int | None = Field(default=None, ge=1, description="Memory of a job.")
    time_limit_min: int = Field(ge=1, description="Time limit of a job.")
    options: tuple[Word, ...] = Field(
        default=(),
        description='Further options of sbatch, each one word: "--constraint=skylake". None that is set here.',
    )

    @field_validator("options")
    @classmethod
    def _leave_ours_alone(cls, options: tuple[str, ...]) -> tuple[str, ...]:
        """The last of two options counts for sbatch: one of ours given again would undo what was checked and noted."""
        for option in options:
            name = option[2:].partition("=")[0] if option.startswith("--") else ""
            # sbatch takes any beginning of a name.
            ours = [each for each in _OURS if name and each.startswith(name)]
            if ours or option[1:2] in _OURS_SHORT or not option.startswith("-") or option.strip("-") == "":
                what = f"--{ours[0]} is hpcretrain's to set" if ours else "it is hpcretrain's to set, or no option"
                raise ValueError(
                    f'"{option}": {what}; partition, qos, account, reservation, gres, memory_mb and time_limit_min are '
                    'keys of their own, and others are written as one word: "--constraint=skylake"'
                )
        return options


class FurtherClassOfJobs(ClassOfJobs):
    """What Slurm is asked for by jobs of a class that the site names."""

    below: str = Field(description="The class right after which it comes in urgency, as in the policy.")


class Classes(Table):
    """The priority classes. What a policy names more has a table `[classes.NAME]` here, with the key `below`, too."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, FurtherClassOfJobs] = Field(init=False)

    urgent: ClassOfJobs
    standard: ClassOfJobs
    background: ClassOfJobs

    @model_validator(mode="after")
    def _placed(self) -> Self:
        _ = self.order
        return self

    @property
    def order(self) -> tuple[PriorityClass, ...]:
        """All classes, most urgent first."""
        return lined_up({name: each.below for name, each in (self.model_extra or {}).items()})

    def of(self, priority_class: PriorityClass) -> ClassOfJobs:
        """What jobs of a class ask for.

        Raises:
            InputError: There is no such class.
        """
        if priority_class not in self.order:
            raise InputError(_lacks(priority_class))
        further = self.model_extra or {}
        found: ClassOfJobs = further.get(priority_class) or getattr(self, priority_class)
        return found


class ClusterProfile(Table):
    """One site."""

    name: Word = Field(description="Name of the site.")
    commands: Commands = Commands()
    spool: Spool
    inference: Inference
    environment: Environment
    preemption: Preemption
    status: Status = Status()
    limits: Limits = Limits()
    classes: Classes


def require_classes(profile: ClusterProfile, order: Sequence[PriorityClass]) -> None:
    """Let nothing be trained for a policy of whose classes a site knows some not, or in another order.

    Args:
        profile: The site.
        order: The policy's classes, most urgent first.

    Raises:
        InputError: The profile lacks some, or has them otherwise; every problem at once.
    """
    known = profile.classes.order
    if lacking := [each for each in order if each not in known]:
        raise InputError([_lacks(each, order) for each in lacking])
    if (there := [each for each in known if each in order]) != list(order):
        raise InputError(
            f"cluster profile: classes: from the most urgent on they are {', '.join(there)}, and in the policy "
            f"{', '.join(order)}; give each the same place by `below`"
        )


def _lacks(name: PriorityClass, order: Sequence[PriorityClass] = ()) -> str:
    place = f' with below = "{order[order.index(name) - 1]}"' if order else ""
    return (
        f"cluster profile: classes.{name}: is missing, and the policy has that class; write [classes.{name}]{place}, "
        "partition and time_limit_min"
    )


def load_cluster(path: Path) -> ClusterProfile:
    """The cluster profile in a file.

    Raises:
        InputError: It is missing, or holds what it may not; every problem at once.
    """
    profile = parse(ClusterProfile, read_toml(path), str(path))
    signal = profile.preemption
    short = [
        name
        for name in profile.classes.order
        if signal.signal and profile.classes.of(name).time_limit_min * 60 <= 2 * signal.lead_s
    ]
    if short:
        raise InputError(
            f"{path}: preemption.lead_s: {signal.lead_s} s is half of the time limit of {', '.join(short)}, or more; "
            "a job would stop before it has worked"
        )
    return profile

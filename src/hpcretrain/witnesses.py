"""What may be known of one attempt at a training job, and the fates that it can have."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Fate(enum.Enum):
    """What became of an attempt; see `hpcretrain.policy.fate`."""

    UNKNOWN = "unknown"
    """No witness has told anything that can be relied on. Never the same as done."""
    WAITING = "waiting"
    """In the queue: for the first time, or again after it was requeued."""
    HELD = "held"
    """In the queue, and will not start before somebody releases it."""
    RUNNING = "running"
    FINISHED = "finished"
    """It left its result, and that counts."""
    INTERRUPTED = "interrupted"
    """It was told to stop, left a checkpoint and is out of the queue."""
    PREEMPTED = "preempted"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"
    CANCELLED = "canceled"
    """A person or the site ended it."""
    FAILED = "failed"
    """It ended by an error of its own before it had a result."""
    UNTAKEN = "not taken"
    """It was meant to be submitted, and Slurm has never known it."""
    LOST = "lost"
    """Slurm answers and knows nothing of it any more, and it left no result."""


ALIVE = frozenset({Fate.WAITING, Fate.HELD, Fate.RUNNING})
OPEN = (*ALIVE, Fate.UNKNOWN)
"""May still be at work, or come to be; a tuple, since whoever tracks thousands of jobs asks all the time."""
ENDED = frozenset(Fate).difference(OPEN)


@dataclass(frozen=True)
class Queued:
    """What `squeue` says: Slurm's state, its reason, how often the job was requeued, and where it runs or ran."""

    state: str
    reason: str = ""
    restarts: int = 0
    nodes: str = ""


@dataclass(frozen=True)
class Accounted:
    """What `sacct` says of one life: its state, the states of its steps, whether one used more memory than the job had
    asked for, the CPU seconds that were allocated to it, and its nodes."""

    state: str
    exit_code: str = "0:0"
    steps: tuple[str, ...] = ()
    over_memory: bool = False
    cpu_s: int = 0
    nodes: str = ""


@dataclass(frozen=True)
class Marker:
    """What the newest life wrote into the spool.

    `ended` is how it says that it ended ("finished", "interrupted", "out_of_memory", ...), None while it has not;
    `signal` is the signal that it heard; `result` tells whether a result that counts is there. `log_tells_memory` is
    whether Slurm wrote into its log that it exceeded its memory.
    """

    restart: int = 0
    begun: bool = False
    ended: str | None = None
    signal: str | None = None
    result: bool = False
    log_tells_memory: bool = False


@dataclass(frozen=True)
class Witnesses:
    """What each witness says now; None where it says nothing of the attempt.

    `queue_answered` and `accounting_answered` tell an empty answer from none; a site without accounting never answers.
    `taken` is whether Slurm is known to have accepted it. `silent_s` is how long ago, in seconds, any witness last told
    of the attempt, or it was submitted; `ended_s`, how long ago Slurm was first heard to say that it ended.
    """

    queued: Queued | None = None
    queue_answered: bool = False
    lives: tuple[Accounted, ...] = ()
    accounting_answered: bool = False
    has_accounting: bool = True
    taken: bool = True
    marker: Marker = Marker()
    silent_s: float = 0.0
    ended_s: float = 0.0

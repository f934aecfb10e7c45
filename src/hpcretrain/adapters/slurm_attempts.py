"""The attempts at training jobs that were meant for Slurm, as the ledger's notes tell of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hpcretrain.adapters.slurm_output import NAMES, Key
from hpcretrain.policy.retry import Ask, Past
from hpcretrain.ports import Ledger
from hpcretrain.records import PriorityClass
from hpcretrain.witnesses import ENDED, Fate, Marker


@dataclass
class Attempt:
    """One attempt: what was meant, and what is known of it."""

    job: str
    number: int
    name: str
    """The name that it was submitted by, alone or with others as an array."""
    place: int | None
    """Its place in the array; None where it was submitted alone."""
    priority_class: PriorityClass
    cpus: int
    ask: Ask
    intended_at: datetime
    segments: int = 0
    """How many segments were in the checkpoint that it began with."""
    submission: int | None = None
    fate: Fate = Fate.UNKNOWN
    why: str = ""
    restarts: int = 0
    ran_on: dict[int, str] = field(default_factory=dict)
    """The nodes of each life, as Slurm names them."""
    heard_at: float = 0.0
    """When anything was last heard of it, on the clock that the tracker goes by."""
    waiting_since: datetime | None = None
    marker: Marker = field(default_factory=Marker)
    by_us: bool = False
    progress: bool = False

    @property
    def key(self) -> Key | None:
        """How Slurm calls it; None where Slurm is not known to have taken it."""
        return None if self.submission is None else Key(self.submission, self.place)

    @property
    def open(self) -> bool:
        """Whether it may still be at work, or come to be."""
        return self.fate not in ENDED

    @property
    def past(self) -> Past:
        """What counts of it when another attempt is decided about."""
        return Past(self.fate, self.ask, self.restarts, self.progress)


def name_of(home: str, tasks: Sequence[tuple[str, int]]) -> str:
    """The name of a submission: the home, and a digest of which attempts at which jobs are in it."""
    content = "\n".join(f"{job} {number}" for job, number in tasks)
    return f"{NAMES}{home}.{hashlib.sha256(content.encode()).hexdigest()[:16]}"


def intention(attempt: Attempt) -> dict[str, Any]:
    """What is noted before an attempt is submitted."""
    return {
        "attempt": attempt.number,
        "name": attempt.name,
        "place": attempt.place,
        "class": attempt.priority_class.value,
        "cpus": attempt.cpus,
        "memory_mb": attempt.ask.memory_mb,
        "time_limit_min": attempt.ask.time_limit_min,
        "segments": attempt.segments,
    }


def recall(ledger: Ledger, heard_at: float) -> dict[str, list[Attempt]]:
    """The attempts at each job, oldest first, from the notes of this and all earlier lives of the controller."""
    attempts: dict[str, list[Attempt]] = {}
    for note in ledger.notes("job_intended"):
        if "name" in note:
            attempts.setdefault(note["serves"], []).append(_meant(note, heard_at))
    for note in ledger.notes("job_submitted"):
        for attempt in _of(attempts, note):
            attempt.submission, attempt.fate = int(note["slurm_job"]), Fate.WAITING
    for note in ledger.notes("job_ended"):
        for attempt in _of(attempts, note):
            attempt.fate, attempt.why, attempt.restarts = Fate(note["fate"]), str(note["why"]), int(note["restarts"])
            attempt.progress, attempt.by_us = bool(note["progress"]), bool(note["by_us"])
            attempt.ran_on = {int(life): str(nodes) for life, nodes in note["ran_on"].items()}
    return attempts


def _of(attempts: Mapping[str, list[Attempt]], note: Mapping[str, Any]) -> list[Attempt]:
    return [each for each in attempts.get(note["serves"], []) if each.number == note["attempt"]]


def _meant(note: Mapping[str, Any], heard_at: float) -> Attempt:
    return Attempt(
        job=note["serves"],
        number=int(note["attempt"]),
        name=str(note["name"]),
        place=note["place"],
        priority_class=PriorityClass(note["class"]),
        cpus=int(note["cpus"]),
        ask=Ask(note["memory_mb"], int(note["time_limit_min"])),
        intended_at=datetime.fromisoformat(note["at"]),
        waiting_since=datetime.fromisoformat(note["at"]),
        segments=int(note["segments"]),
        heard_at=heard_at,
    )

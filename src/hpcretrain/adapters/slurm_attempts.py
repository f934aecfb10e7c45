"""The attempts at training jobs that were meant for Slurm, as the ledger's notes tell of them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hpcretrain.adapters.slurm_output import NAMES, Key
from hpcretrain.policy.retry import Ask, Past
from hpcretrain.ports import Ledger
from hpcretrain.records import PriorityClass
from hpcretrain.witnesses import ALIVE, OPEN, Accounted, Fate, Marker, Queued


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
    queued: Queued | None = None
    """What the queue said of it last."""
    ended_at: float | None = None
    """When Slurm was first heard to say that it ended, on the clock that the tracker goes by."""
    end_told: Queued | None = None
    """What the queue then said, which it may forget."""
    by_us: bool = False
    progress: bool = False

    @property
    def key(self) -> Key | None:
        """How Slurm calls it; None where Slurm is not known to have taken it."""
        return None if self.submission is None else Key(self.submission, self.place)

    @property
    def open(self) -> bool:
        """Whether it may still be at work, or come to be."""
        return self.fate in OPEN

    @property
    def past(self) -> Past:
        """What counts of it when another attempt is decided about."""
        return Past(self.fate, self.ask, self.restarts, self.progress)

    @property
    def lives(self) -> set[int]:
        """Its lives that had a node: one before each restart, the newest that wrote, and what Slurm named nodes of."""
        return {*range(self.restarts), *([self.marker.restart] if self.marker.begun else []), *self.ran_on}

    @property
    def unproven(self) -> set[int]:
        """Lives of which Slurm has not told where they ran."""
        return self.lives - set(self.ran_on)

    def unchanged(self, queued: Queued | None) -> bool:
        """Whether the queue says the same as before of an attempt that is alive, and nobody else says more."""
        same = queued is not None and queued == self.queued
        return same and self.fate in ALIVE and self.ended_at is None and not self.marker.result

    def read(self, marker: Marker) -> None:
        """Learn from what its newest life wrote."""
        self.marker = marker
        self.restarts = max(self.restarts, marker.restart)
        if marker.begun:
            self.waiting_since = None

    def learn(self, queued: Queued | None, lives: Sequence[Accounted]) -> bool:
        """Learn from what Slurm says; whether it has been requeued."""
        # Where accounting lacks a life, nobody knows which of the others it tells of.
        if len(lives) > max(self.restarts, queued.restarts if queued else 0):
            for life, told in enumerate(lives):
                if told.nodes:
                    self.ran_on[life] = told.nodes
        self.queued = queued
        if queued is None:
            return False
        if queued.nodes:
            self.ran_on[queued.restarts] = queued.nodes
        requeued = queued.restarts > self.restarts
        if requeued:
            # It was at work since, and waits anew.
            self.restarts, self.waiting_since = queued.restarts, None
        return requeued

    def became(self, become: Fate, why: str) -> None:
        """Keep what became of it while it goes on."""
        if become is not Fate.WAITING:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = datetime.now(UTC)
        self.fate, self.why = become, why


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


def ending(attempt: Attempt) -> dict[str, Any]:
    """What is noted when an attempt has ended."""
    return {
        "attempt": attempt.number,
        "fate": attempt.fate.value,
        "why": attempt.why,
        "restarts": attempt.restarts,
        "progress": attempt.progress,
        "by_us": attempt.by_us,
        "ran_on": {str(life): nodes for life, nodes in sorted(attempt.ran_on.items())},
    }


def put_off(job: str, priority_class: PriorityClass, cpus: int, ask: Ask, why: str) -> Attempt:
    """Stands for the first attempt at a job until Slurm can be asked to take one; nothing is noted of it."""
    now = datetime.now(UTC)
    return Attempt(job, 0, "", None, priority_class, cpus, ask, now, fate=Fate.UNTAKEN, why=why, waiting_since=now)


def follow(before: Sequence[Attempt], each: Attempt) -> None:
    """Let the wait of an attempt that Slurm did not take go on in the one that follows it."""
    if before and before[-1].fate is Fate.UNTAKEN:
        each.waiting_since = before[-1].waiting_since


def forgiven(ledger: Ledger, attempts: Mapping[str, Collection[Attempt]]) -> dict[str, int]:
    """By job, the last attempt that does not count against it any more.

    What ended, or was given up, in an earlier life of the controller: a person has run it again.
    """
    numbers = {job: max((each.number for each in tried if not each.open), default=0) for job, tried in attempts.items()}
    for note in ledger.notes("job_given_up"):
        numbers[note["serves"]] = max(numbers.get(note["serves"], 0), int(note.get("attempt", 0)))
    return numbers


def recall(ledger: Ledger, heard_at: float) -> dict[str, list[Attempt]]:
    """The attempts at each job, oldest first, from the notes of this and all earlier lives of the controller."""
    attempts: dict[str, list[Attempt]] = {}
    for note in ledger.notes("job_intended"):
        if "name" in note:
            attempts.setdefault(note["serves"], []).append(_meant(note, heard_at))
    for note in ledger.notes("job_submitted"):
        for attempt in _of(attempts, note):
            attempt.submission, attempt.fate = int(note["slurm_job"]), Fate.WAITING
    for note in ledger.notes("job_canceled"):
        for attempt in _of(attempts, note):
            attempt.by_us = True
    for note in ledger.notes("job_ended"):
        for attempt in _of(attempts, note):
            attempt.fate, attempt.why, attempt.restarts = Fate(note["fate"]), str(note["why"]), int(note["restarts"])
            attempt.progress, attempt.by_us = bool(note["progress"]), bool(note["by_us"])
            attempt.ran_on = {int(life): str(nodes) for life, nodes in note["ran_on"].items()}
    for tried in attempts.values():
        for before, each in itertools.pairwise(tried):
            follow([before], each)
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

"""A job of a pretended Slurm, and its lives, which write what those on a node write, with the node's own code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hpcretrain.node.jobfolder import JobFolder, Superseded
from hpcretrain.node.life import Life
from hpcretrain.node.model import Manifest, seal

SEGMENTS = 4
ALIVE = ("PENDING", "RUNNING")


@dataclass
class Working:
    """A life at work: it has its result, and says so, when its time has come."""

    folder: Path
    life: Life
    segments: int
    since: float
    ends_at: float

    def done(self, now: float, segment_s: float) -> int:
        """How many segments are done."""
        return min(SEGMENTS, self.segments + int((now - self.since) / segment_s + 1e-6))

    def save(self, segments: int, *, finished: bool = False) -> str:
        """Write what a recipe would; the digest of the model."""
        mine = JobFolder(self.folder).life(self.life)
        with mine.saving(segments, float(segments), float(segments), finished=finished) as part:
            (part / "model").write_text(f"{segments}")
            return seal(part, Manifest("pretend:Recipe", {}, "binary", ("x",), ()))

    def publish(self) -> str:
        """Come to the end; the kind of the end."""
        folder = JobFolder(self.folder)
        sealed = self.save(SEGMENTS, finished=True)
        try:
            folder.require_newest(self.life)
        except Superseded:
            return self.end("superseded", SEGMENTS)
        facts = {"segments": SEGMENTS, "cpu_s": float(SEGMENTS), **self.life._asdict()}
        folder.life(self.life).tell("result", {"model_digest": sealed, **facts})
        return self.end("finished", SEGMENTS)

    def interrupt(self, now: float, segment_s: float, signal: int) -> None:
        """Save what is done, and end."""
        self.save(self.done(now, segment_s))
        self.end("interrupted", self.done(now, segment_s), signal)

    def end(self, kind: str, segments: int, signal: int | None = None) -> str:
        """Write how it ended."""
        folder = JobFolder(self.folder)
        told = {"kind": kind, "reason": None, "signal": signal, "segments": segments, "cpu_s": 1.0, "requeued": None}
        folder.life(self.life).tell("ended", told)
        folder.ring(self.life, "ended")
        return kind


@dataclass
class Lived:
    """What accounting keeps of one life."""

    node: str
    since: float
    state: str = "RUNNING"
    until: float | None = None


@dataclass
class Task:
    """A job, or a task of an array."""

    submission: int
    place: int | None
    name: str
    folder: Path
    attempt: int
    log: Path
    requeue: bool
    memory_mb: int
    eligible_at: float
    state: str = "PENDING"
    reason: str = "Priority"
    restarts: int = 0
    node: str = ""
    ended_at: float | None = None
    forgotten: bool = False
    lived: list[Lived] = field(default_factory=list)
    at_work: Working | None = None

    @property
    def key(self) -> str:
        return str(self.submission) if self.place is None else f"{self.submission}_{self.place}"

    @property
    def alive(self) -> bool:
        return self.state in ALIVE and not self.forgotten

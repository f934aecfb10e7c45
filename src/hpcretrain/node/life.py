"""The folder of one life of a training job: everything that this life writes, and nobody else.

    begun.json              {"attempt", "restart", "host", "pid", "slurm_job_id", "slurm_nodelist", "at"}
    checkpoint-<n>/         the model after segment n, sealed by the digests of its files
    checkpoint-<n>.json     {"segments", "cpu_s", "life_cpu_s"}: how far it is
    model/, model.json      the same of the finished model
    result.json             {"model_digest" | "error", "cpu_s", "segments", "attempt", "restart"}
    ended.json              {"kind", "reason", "signal", "segments", "cpu_s", "checkpoint_s", "segment_s", "at",
                             "requeued"}: seconds of the last checkpoint and of the longest segment; whether it
                             requeued itself, null if that is not known; with "requeue_answer" where it is not so
    slurm.txt               what `scontrol show job` said soon after the beginning

`cpu_s` of a state and of a result are the CPU seconds that its segments took, in whichever life; `life_cpu_s` and the
`cpu_s` of ended.json are all that the process of this life used, lost or not. A life that was killed outright leaves
no ended.json; then what it used after its last checkpoint is not known here.
"""

from __future__ import annotations

import enum
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from hpcretrain.errors import ModelFileError
from hpcretrain.node.durable import building, read_json, remove, sync_all, write_json
from hpcretrain.node.model import check

_CHECKPOINT, _MODEL = "checkpoint-", "model"
_STATE = re.compile(rf"{_MODEL}|{_CHECKPOINT}\d+")


class Life(NamedTuple):
    """One start of one attempt, both counted from where the controller and Slurm count: 1 and 0. Later is greater."""

    attempt: int
    restart: int = 0

    def __str__(self) -> str:
        return f"{self.attempt}.{self.restart}"

    @staticmethod
    def parse(text: str) -> Life | None:
        """The life of that name; None if it is another's file."""
        attempt, dot, restart = text.partition(".")
        return Life(int(attempt), int(restart)) if dot and attempt.isdecimal() and restart.isdecimal() else None


class End(enum.Enum):
    """How a life ended, as it says itself in ended.json."""

    FINISHED = "finished"
    """The model is there."""
    ERRED = "erred"
    """The recipe raised, and would again: this is the job's result."""
    INTERRUPTED = "interrupted"
    """A signal came; the next life goes on from the checkpoint."""
    SUPERSEDED = "superseded"
    """A newer life was begun."""
    OUT_OF_MEMORY = "out_of_memory"
    """Memory was refused; more of it may help."""
    OUTSIDE = "outside"
    """Files, disk or software failed on this node; another try may go well."""


@dataclass(frozen=True)
class State:
    """A model on the disk to go on from: its folder, how many segments are in it, and their CPU seconds.

    `finished` says that it is the model and not a checkpoint.
    """

    folder: Path
    segments: int
    cpu_s: float
    finished: bool

    def rank(self) -> tuple[int, bool]:
        """The greater, the farther."""
        return self.segments, self.finished


class LifeFolder:
    """The folder of one life.

    Args:
        path: Where it is; it need not be there.
        life: Whose it is.
    """

    def __init__(self, path: Path, life: Life) -> None:
        self.path = path
        self.life = life
        self.model = path / _MODEL

    def tell(self, name: str, content: Mapping[str, Any]) -> None:
        """Write one of the JSON files.

        Raises:
            OSError: It cannot be written.
        """
        write_json(self.path / f"{name}.json", content)

    def told(self, name: str) -> dict[str, Any] | None:
        """One of the JSON files; None if it is not there.

        Raises:
            SpoolError: It cannot be read, or holds something else.
        """
        return read_json(self.path / f"{name}.json")

    @property
    def cpu_s(self) -> tuple[float, bool]:
        """CPU seconds that the process of this life used, and whether that is all (else: up to its last save)."""
        ended = self.told("ended")
        if ended:
            return float(ended["cpu_s"]), True
        saved = (self.told(path.stem) for path in self.path.glob("*.json") if _STATE.fullmatch(path.stem))
        return max((float(each["life_cpu_s"]) for each in saved if each), default=0.0), False

    def states(self) -> list[State]:
        """What this life saved, the farthest first, not yet found to be whole."""
        found = []
        for folder in self.path.glob("*/"):
            if _STATE.fullmatch(folder.name) and (progress := self.told(folder.name)):
                found.append(State(folder, progress["segments"], progress["cpu_s"], folder.name == _MODEL))
        return sorted(found, key=State.rank, reverse=True)

    @contextmanager
    def saving(self, segments: int, cpu_s: float, life_cpu_s: float, *, finished: bool = False) -> Iterator[Path]:
        """An empty folder for the model after a segment, which takes the place of checkpoints before it.

        Raises:
            OSError: It cannot be written; what was saved before is there still.
        """
        name = _MODEL if finished else f"{_CHECKPOINT}{segments}"
        # Before the folder, which nobody could place without it.
        self.tell(name, {"segments": segments, "cpu_s": cpu_s, "life_cpu_s": life_cpu_s})
        with building(self.path / name) as part:
            yield part
        for old in self.path.glob(f"{_CHECKPOINT}*/"):
            if old.name != name:
                remove(old)
                (self.path / f"{old.name}.json").unlink(missing_ok=True)

    def adopt(self, state: State, life_cpu_s: float) -> State | None:
        """Copy what another life saved into this folder; None if it is not whole.

        Raises:
            OSError: It cannot be written here.
        """
        try:
            with self.saving(state.segments, state.cpu_s, life_cpu_s, finished=state.finished) as part:
                for source in sorted(state.folder.rglob("*")):
                    copy = part / source.relative_to(state.folder)
                    if source.is_dir():
                        copy.mkdir()
                    else:
                        shutil.copyfile(source, copy)
                check(part)
                sync_all(part)
        except (ModelFileError, FileNotFoundError):
            return None
        return replace(state, folder=self.path / state.folder.name)

"""The folder of a training job: all that the controller and the node tell each other.

`spec.json` says what to do. `lock` is held by the attempt that is at work, for as long as its process lives; `fence`
names the newest attempt, and an older one publishes nothing. `checkpoint-<n>/` is the model after segment n. `model/`
and then `result.json` end the job. All but the lock appear by atomic rename, so a reader finds a whole file or none.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcretrain.errors import ModelFileError
from hpcretrain.node.model import check, sync

_LOCK_POLL_S = 0.02


@dataclass(frozen=True)
class Spec:
    """What to do.

    `snapshot` is relative to the job's folder. A checkpoint is due `checkpoint_every_s` after the last, at the end of a
    segment.
    """

    recipe: str
    params: Mapping[str, Any]
    seed: int
    threads: int
    task: str
    categorical: tuple[str, ...]
    snapshot: str
    search_path: str | None
    checkpoint_every_s: float


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on the disk: its folder, how many segments are in it, and the CPU seconds of them all."""

    folder: Path
    segments: int
    cpu_s: float


class JobFolder:
    """The folder of one job.

    Args:
        path: Where it is; made if it is not there, only for the owner's eyes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def hold(self, patience_s: float) -> Iterator[bool]:
        """Hold the job's lock while inside; False if another process still had it after `patience_s` seconds."""
        with (self.path / "lock").open("w") as file:
            yield _locked(file.fileno(), patience_s)

    @property
    def fence(self) -> int:
        """The number of the newest attempt; 0 before the first."""
        try:
            return int((self.path / "fence").read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    def raise_fence(self, attempt: int) -> None:
        """Let no attempt before this one publish any more."""
        self._write("fence", str(attempt))

    def write_spec(self, spec: Spec) -> None:
        """Say what to do."""
        self._write("spec.json", json.dumps(asdict(spec), sort_keys=True))

    def spec(self) -> Spec:
        """What to do."""
        content = json.loads((self.path / "spec.json").read_text(encoding="utf-8"))
        return Spec(**{**content, "categorical": tuple(content["categorical"])})

    def result(self) -> dict[str, Any] | None:
        """How the job ended; None while it has not."""
        try:
            content: dict[str, Any] = json.loads((self.path / "result.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return content

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, which ends the job, and remove what only served to get there."""
        self._write("result.json", json.dumps(result, sort_keys=True))
        for path in [*self.path.glob("checkpoint-*"), *self.path.glob(".*.part")]:
            # A file is one that the controller is about to put in its place.
            if path.is_dir():
                _remove(path)

    @contextmanager
    def building(self, target: Path) -> Iterator[Path]:
        """An empty folder, which becomes `target` if all goes well inside."""
        part = self.path / f".{target.name}.part"
        _remove(part)
        part.mkdir(mode=0o700)
        yield part
        _remove(target)
        part.rename(target)
        sync(self.path)

    def checkpoint(self) -> Checkpoint | None:
        """The newest checkpoint whose files are whole."""
        found = [path for path in self.path.glob("checkpoint-*") if path.name.removeprefix("checkpoint-").isdigit()]
        for folder in sorted(found, key=lambda path: int(path.name.removeprefix("checkpoint-")), reverse=True):
            try:
                check(folder)
            except ModelFileError:
                # A machine that lost power can leave such a one; the one before, or a new start, gives the same model.
                continue
            progress = json.loads((folder / "progress.json").read_text(encoding="utf-8"))
            return Checkpoint(folder, int(progress["segments"]), float(progress["cpu_s"]))
        return None

    def forget_checkpoints_before(self, segments: int) -> None:
        """Remove checkpoints of fewer segments."""
        for path in self.path.glob("checkpoint-*"):
            if path != self.path / f"checkpoint-{segments}":
                _remove(path)

    def _write(self, name: str, text: str) -> None:
        part = self.path / f".{name}.{os.getpid()}.part"
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path / name)
        sync(self.path)


def _locked(descriptor: int, patience_s: float) -> bool:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_LOCK_POLL_S)
        else:
            return True


def _remove(path: Path) -> None:
    if path.exists():
        # Renamed first: a reader must not take a folder that is half removed for a whole one.
        doomed = path.with_name(f".{path.name}.doomed.part")
        shutil.rmtree(doomed, ignore_errors=True)
        path.rename(doomed)
        shutil.rmtree(doomed)

"""The folder of a training job: all that the controller and the nodes tell each other.

    spec.json               what to do
    start/                  the model to go on from, where it is a warm start
    fences/<life>           empty; the newest is the greatest, and only that life's result counts
    lives/<life>/           all that one life writes (see `hpcretrain.node.life`)

An attempt is a submission, numbered by the controller; a life is one start of it, and Slurm may start it again and
again. An older life can go on beside a newer one on a node that was given up. So no life writes into another's folder,
and nothing here depends on locks, which a shared file system may not keep, or on a life to notice that it is
superseded: whatever an orphan publishes lies where nobody takes it for the result.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hpcretrain.errors import SpoolError
from hpcretrain.node.durable import make, read_json, sync, touch, write_json
from hpcretrain.node.life import Life, LifeFolder, State

INTERRUPTED_EVERY_S = 3600.0


class Superseded(Exception):
    """A newer life of the same job was begun; this one publishes nothing."""


@dataclass(frozen=True)
class Spec:
    """What to do.

    `snapshot` is relative to the job's folder, where `start/` is the model of that digest to go on from, if any, by
    `start_passes`. `interrupted_every_s` is how long a life lasts on average before it is
    interrupted: the longer, the rarer the checkpoints.
    """

    recipe: str
    params: Mapping[str, Any]
    seed: int
    threads: int
    task: str
    categorical: tuple[str, ...]
    snapshot: str
    search_path: str | None
    interrupted_every_s: float = INTERRUPTED_EVERY_S
    start: str | None = None
    start_passes: int = 0


class JobFolder:
    """The folder of one job, `ROOT/jobs/<job id>`; beside `ROOT/jobs` lies `ROOT/inbox`, if anybody listens there.

    Args:
        path: Where it is; made if it is not there, only for the owner's eyes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start = path / "start"
        self._fences = path / "fences"
        self._inbox = path.parent.parent / "inbox"
        # The last to be made: one look, where there is a whole folder already.
        if not (path / "lives").is_dir():
            for folder in (path, self._fences, path / "lives"):
                make(folder)

    def write_spec(self, spec: Spec) -> None:
        """Say what to do."""
        write_json(self.path / "spec.json", asdict(spec))

    def spec(self) -> Spec:
        """What to do.

        Raises:
            SpoolError: It is not there, or is not of this version.
        """
        content = read_json(self.path / "spec.json") or {}
        try:
            return Spec(**{**content, "categorical": tuple(content["categorical"])})
        except (KeyError, TypeError) as error:
            raise SpoolError(
                f"{self.path / 'spec.json'} is not what this version of hpcretrain writes ({error!r}); have the same "
                "version on the nodes as here"
            ) from error

    @property
    def newest(self) -> Life | None:
        """The newest fence; None before the first.

        A shared file system can show it some seconds late: a life that looks here saves work, no more.
        """
        lives = (Life.parse(path.name) for path in self._fences.iterdir())
        return max((life for life in lives if life), default=None)

    def raise_fence(self, life: Life) -> None:
        """Let no result of an older life count."""
        touch(self._fences / str(life))

    def require_newest(self, life: Life) -> None:
        """Look whether a life is still the newest.

        Raises:
            Superseded: It is not.
        """
        newest = self.newest
        if newest and newest > life:
            raise Superseded(f"life {newest} was begun")

    def life(self, life: Life) -> LifeFolder:
        """The folder of a life, which need not be there."""
        return LifeFolder(self.path / "lives" / str(life), life)

    def lives(self) -> list[LifeFolder]:
        """All lives that began, oldest first."""
        lives = (Life.parse(path.name) for path in (self.path / "lives").iterdir())
        return [self.life(life) for life in sorted(life for life in lives if life)]

    def begin(self, life: Life, facts: Mapping[str, Any]) -> LifeFolder:
        """Begin a life: take its folder, raise its fence, and announce it.

        Args:
            life: Which one.
            facts: What else to say about it, for people and for the controller.

        Raises:
            Superseded: Another process began this very life.
        """
        mine = self.life(life)
        try:
            mine.path.mkdir(mode=0o700)
        except FileExistsError:
            raise Superseded(f"another process began life {life}") from None
        sync(mine.path.parent)
        # Its fence may be behind that of another; it is told of nevertheless, as evidence of what ran.
        self.raise_fence(life)
        mine.tell("begun", {**life._asdict(), **facts})
        self.ring(life, "begun")
        return mine

    def result(self) -> dict[str, Any] | None:
        """How the job ended, as the newest life says; None while it has not."""
        newest = self.newest
        return self.life(newest).told("result") if newest else None

    def inherit(self, heir: LifeFolder, life_cpu_s: float = 0.0) -> State | None:
        """Copy the farthest whole state of all lives into the folder of `heir`; None if there is none.

        A copy, since an orphan may go on and replace what it saved. A state that is cut short, or vanishes meanwhile,
        is passed over: from the one before, or from the beginning, comes the same model.
        """
        states = [state for life in self.lives() if life.life != heir.life for state in life.states()]
        for state in sorted(states, key=State.rank, reverse=True):
            if copied := heir.adopt(state, life_cpu_s):
                return copied
        return None

    def ring(self, life: Life, word: str) -> None:
        """Wake the controller, if it listens; it looks by itself now and then, so a failure is nobody's loss."""
        try:
            if self._inbox.is_dir():
                touch(self._inbox / f"{self.path.name}.{life}.{word}")
        except OSError as error:
            print(f"{self._inbox} cannot be written: {error.strerror or error}", flush=True)

    def sweep(self) -> None:
        """Remove what is large or done with, once the winner's model is kept elsewhere; what lives told stays.

        For the controller alone. An orphan that is at work may lose its folders, and then it ends.
        """
        for path in (self.path / "lives").glob("*/*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(self.start, ignore_errors=True)
        for path in self._inbox.glob(f"{self.path.name}.*"):
            path.unlink(missing_ok=True)

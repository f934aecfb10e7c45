"""Jobs whose lives are killed, warned, stopped and overtaken at random moments, in processes forked from a small one.

Run as `python kills.py FOLDER FIRST LAST RECIPE`: plays the seeds FIRST to before LAST on jobs in FOLDER, and prints
what it found on each as a line of JSON. A recipe is "chain" (tiny) or "lightgbm".
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs_for_tests import job_folder

from hpcretrain.errors import ModelFileError
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.life import Life
from hpcretrain.node.model import verify
from hpcretrain.node.signals import noticed
from hpcretrain.node.train import run

CHAIN = '''
"""A user's recipe of which every segment depends on all before: a chain of digests of the rows."""
import hashlib, time

class Chain:
    def __init__(self, segments, sleep_s):
        self.passes, self.sleep_s = segments, sleep_s

    def train(self, data, *, seed, threads, resume):
        link, done = self.load(resume) if resume else (str(seed), 0)
        for number in range(done, self.passes):
            time.sleep(self.sleep_s)
            rows = data.target[number :: self.passes].tobytes()
            link = hashlib.sha256(link.encode() + rows).hexdigest()
            yield link, number + 1

    def save(self, model, folder):
        for name, part in (("link", model[0]), ("done", str(model[1]))):
            (folder / name).write_text(part)

    def load(self, folder):
        return (folder / "link").read_text(), int((folder / "done").read_text())

    def predict(self, model, features):
        raise NotImplementedError
'''
RECIPES: dict[str, dict[str, Any]] = {
    "chain": {"recipe": "chain:Chain", "rows": 200, "segments": 8, "sleep_s": 0.001},
    "lightgbm": {"recipe": "lightgbm", "rows": 1000, "rounds": 250, "num_leaves": 7},
}
SYNC_S = 0.002
WARNINGS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


def make(home: Path, recipe: str) -> JobFolder:
    """A job that is ready to run."""
    home.mkdir(parents=True)
    (home / "chain.py").write_text(CHAIN)
    return job_folder(home, **RECIPES[recipe])


def slow_disk(dice: random.Random) -> None:
    """Let bringing files to the disk take time, so that much can happen before each is in its place."""
    os.fsync = lambda _: time.sleep(dice.uniform(0, SYNC_S))  # type: ignore[assignment, misc]


def live(folder: JobFolder, life: Life) -> int:
    """A process that lives a life; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        log = os.open(folder.path / f"{life}.log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        slow_disk(random.Random(str(life)))
        with noticed() as interruption:
            run(folder.path, *life, interruption=interruption)
        code = 0
    finally:
        os._exit(code)


@dataclass
class Game:
    """One job and the lives that try to finish it while the dice of a seed are against them."""

    folder: JobFolder
    dice: random.Random
    typical_s: float
    life: Life | None = None
    stopped: list[int] = field(default_factory=list)
    farthest: int = 0
    problems: list[str] = field(default_factory=list)

    def play(self) -> dict[str, Any]:
        """Disturb some lives, let one finish, wake those that were stopped, and look what counts."""
        acts: list[str] = []
        disturbed = self.dice.randint(1, 4)
        while self.folder.result() is None and len(acts) < disturbed:
            act = self.dice.choice(["kill", "warn", "warn and kill", "stop", "stop at the end"])
            acts.append(act)
            self.disturb(self.next_life(), act)
            self.look()
        while self.folder.result() is None:
            os.waitpid(self.next_life(), 0)
        accepted = self.folder.result()
        winner = self.folder.life(Life(accepted["attempt"], accepted["restart"]))  # type: ignore[index]
        model = winner.model
        if self.dice.random() < 0.3:
            # The controller took the model; orphans find their folders gone.
            kept = self.folder.path.parent.parent / "kept"
            model.rename(kept)
            model = kept
            self.folder.sweep()
        while self.stopped:
            self.wake()
        self.require(self.folder.result() == accepted, "another result counts after the orphans were woken")
        self.require(winner.life == self.folder.newest, "the result is not of the newest life")
        try:
            verify(model, accepted["model_digest"])  # type: ignore[index]
        except ModelFileError as error:
            self.problems.append(str(error))
        others = {told["model_digest"] for life in self.folder.lives() if (told := life.told("result"))}
        self.require(others == {accepted["model_digest"]}, "an orphan made another model")  # type: ignore[index]
        return {"result": accepted, "acts": acts, "problems": self.problems, "lives": len(self.folder.lives())}

    def next_life(self) -> int:
        """Begin the next life, by a new submission or by a restart of the old one."""
        if self.life is None or self.dice.random() < 0.5:
            self.life = Life(self.life.attempt + 1 if self.life else 1)
            self.folder.raise_fence(self.life)
        else:
            self.life = Life(self.life.attempt, self.life.restart + 1)
        return live(self.folder, self.life)

    def disturb(self, child: int, act: str) -> None:
        if act == "stop at the end":
            self.await_model()
        else:
            time.sleep(self.dice.uniform(0, self.typical_s))
        if self.stopped and self.dice.random() < 0.3:
            self.wake()
        if act.startswith("stop"):
            os.kill(child, signal.SIGSTOP)
            self.stopped.append(child)
            return
        if act != "kill":
            os.kill(child, self.dice.choice(WARNINGS))
        if act == "warn and kill":
            time.sleep(self.dice.uniform(0, self.typical_s / 4))
        if act != "warn":
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    def await_model(self) -> None:
        """Wait until the newest life is about to publish, or has just done so."""
        assert self.life
        begun = time.monotonic()
        while not self.folder.life(self.life).model.exists() and time.monotonic() < begun + 5 * self.typical_s:
            time.sleep(SYNC_S / 10)
        time.sleep(self.dice.uniform(0, 3 * SYNC_S))

    def wake(self) -> None:
        """Let a life that was stopped go on until it ends."""
        child = self.stopped.pop(self.dice.randrange(len(self.stopped)))
        os.kill(child, signal.SIGCONT)
        os.waitpid(child, 0)

    def look(self) -> None:
        """What is saved never becomes less."""
        far = max((state.segments for life in self.folder.lives() for state in life.states()), default=0)
        self.require(far >= self.farthest, f"segment {self.farthest} was saved and is lost")
        self.farthest = far

    def require(self, fact: bool, problem: str) -> None:
        if not fact:
            self.problems.append(problem)


def main(place: Path, first: int, last: int, recipe: str) -> None:
    """Play the seeds."""
    for name in ("first", "second"):
        calm = make(place / name, recipe)
        begun = time.monotonic()
        os.waitpid(live(calm, Life(1)), 0)
        # The first takes longer.
        typical_s = time.monotonic() - begun
    print(json.dumps({"result": calm.result(), "typical_s": typical_s}), flush=True)
    for seed in range(first, last):
        game = Game(make(place / str(seed), recipe), random.Random(seed), typical_s)
        print(json.dumps({"seed": seed, **game.play()}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

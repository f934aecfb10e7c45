"""What the controller writes and reads in the folder that it shares with the nodes; see `hpcretrain.node.jobfolder`."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from hpcretrain.adapters.slurm_attempts import Attempt
from hpcretrain.adapters.slurm_output import NAMES, read_records
from hpcretrain.errors import InputError
from hpcretrain.node.batch import Batch
from hpcretrain.node.batch import Task as BatchTask
from hpcretrain.node.durable import make
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.life import Life, LifeFolder
from hpcretrain.ports import Ledger
from hpcretrain.witnesses import Marker

_LOG_TAIL_BYTES = 8000
# What slurmstepd writes into a job's log before it kills it for its memory, with cgroups and without.
_MEMORY_WORDS = ("exceeded memory limit", "exceeded job memory limit", "oom-kill", "oom_kill", "out-of-memory")


class SlurmSpool:
    """One home's part of the shared spool.

    Args:
        base: The spool of the site, from the cluster profile.
        home: The name of the home; jobs bear it.
        ledger: Tells which attempts were ever made.
        requeue: May a job requeue itself on its node?

    Raises:
        InputError: It cannot be written.
    """

    def __init__(self, base: Path, home: str, ledger: Ledger, *, requeue: bool) -> None:
        self.home = home
        self.root = base / home
        self.prefix = f"{NAMES}{home}."
        self._requeue = requeue
        self._inbox = self.root / "inbox"
        try:
            for folder in (self.root, self._inbox, self.root / "batches", self.root / "logs"):
                make(folder)
        except OSError as error:
            raise InputError(
                f"the spool {base} cannot be written: {error.strerror or error}; mend spool.path of the cluster profile"
            ) from error
        self._attempts: dict[str, int] = {}
        for note in ledger.notes("job_intended"):
            self._attempts[note["serves"]] = max(self._attempts.get(note["serves"], 0), int(note["attempt"]))

    def newest_attempt(self, job: str) -> int:
        """The number of the newest attempt at a job that was ever meant; 0 before the first."""
        return self._attempts.get(job, 0)

    def raise_fence(self, job: str, number: int) -> None:
        """Let nothing count that an earlier attempt at a job still does."""
        self._attempts[job] = max(number, self.newest_attempt(job))
        self._folder(job).raise_fence(Life(number))

    def write_batch(self, name: str, tasks: Sequence[tuple[str, int]]) -> Path:
        """Say which attempts at which jobs are submitted together, in the order of their places in the array."""
        path = self.root / "batches" / f"{name.removeprefix(NAMES)}.json"
        listed = tuple(BatchTask(f"../jobs/{job}", number) for job, number in tasks)
        Batch(listed, self._requeue, "scontrol").write(path)
        return path

    def rung(self) -> set[tuple[str, int]]:
        """The jobs, and their attempts, that wrote since the last look that a life has begun or ended."""
        heard = set()
        for name in os.listdir(self._inbox):
            match name.rsplit(".", 3):
                case [job, attempt, *_] if attempt.isdecimal():
                    heard.add((job, int(attempt)))
                    (self._inbox / name).unlink(missing_ok=True)
                case _:
                    # Somebody else's.
                    continue
        return heard

    def has_result(self, job: str) -> bool:
        """Whether a job has a result that counts."""
        return self._folder(job).result() is not None

    def segments(self, job: str) -> int:
        """How far the farthest state is that any life of a job has saved."""
        lives = self._folder(job).lives()
        return max((state.segments for life in lives for state in life.states()), default=0)

    def marker(self, attempt: Attempt) -> Marker:
        """What the newest life of an attempt wrote."""
        folder = self._folder(attempt.job)
        lives = [each for each in folder.lives() if each.life.attempt == attempt.number]
        if not lives:
            return Marker(result=folder.result() is not None)
        newest = lives[-1]
        ended = newest.told("ended") or {}
        return Marker(
            restart=newest.life.restart,
            begun=newest.told("begun") is not None,
            ended=ended.get("kind"),
            signal=signal.Signals(ended["signal"]).name if ended.get("signal") else None,
            result=folder.result() is not None,
            log_tells_memory=not ended and self._log_tells_memory(attempt),
        )

    def nodes_told(self, attempt: Attempt, restart: int) -> str | None:
        """The nodes of a life in the words of Slurm that were kept when it began; None where there are none."""
        life = self._folder(attempt.job).life(Life(attempt.number, restart))
        return _nodes(life)

    def log(self, attempt: Attempt) -> Path:
        """Where an attempt prints."""
        suffix = "" if attempt.place is None else f"_{attempt.place}"
        return self.root / "logs" / f"{attempt.name}{suffix}.txt"

    def log_tail(self, attempt: Attempt) -> str:
        """The end of what an attempt printed."""
        try:
            with self.log(attempt).open("rb") as file:
                file.seek(0, 2)
                file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""

    def _log_tells_memory(self, attempt: Attempt) -> bool:
        # Each life begins with a line of its own; what an earlier one was killed for is no news.
        tail = self.log_tail(attempt).lower().rpartition(f"life {attempt.number}.")[2]
        return any(words in tail for words in _MEMORY_WORDS)

    def _folder(self, job: str) -> JobFolder:
        return JobFolder(self.root / "jobs" / job)


def _nodes(life: LifeFolder) -> str | None:
    try:
        shown = read_records((life.path / "slurm.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    begun = life.told("begun") or {}
    # Asked for the last task of an array Slurm tells of all; and words about another start are no proof of this one.
    mine = (str(begun.get("slurm_job_id")), str(begun.get("restart")))
    matching = [each for each in shown if (each.get("JobId"), each.get("Restarts")) == mine]
    return matching[0].get("NodeList") or None if matching else None


def home_name(ledger: Ledger, fresh: str) -> str:
    """The name under which a home is known to Slurm: noted once, and the same from then on."""
    known = ledger.notes("home_named")
    if not known:
        ledger.note("home_named", "home", name=fresh)
        return fresh
    return str(known[0]["name"])

"""What a Slurm batch script starts on a node: `python -m hpcretrain.node.batch BATCH.json`.

BATCH.json says what one submission starts. An array's tasks each take the one of their index; without an array there
is one task.

    {"tasks": [{"folder": "../jobs/<job id>", "attempt": 1}, ...],      relative to the file
     "requeue": true,                                                   whether an interrupted life requeues its job
     "scontrol": "/usr/bin/scontrol"}                                   null where the nodes have none

Exit codes: 0 where the job has its result (be it that the recipe raised), 75 where the life was interrupted, 1 else.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Thread

from hpcretrain.errors import SpoolError
from hpcretrain.node.durable import read_json, write, write_json
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.life import End, Life, LifeFolder
from hpcretrain.node.signals import SIGNALS, Interruption, noticed
from hpcretrain.node.train import run

DONE, FAILED, INTERRUPTED = 0, 1, 75
"""Exit codes; 75 is EX_TEMPFAIL of sysexits.h."""

_SCONTROL_PATIENCE_S = 10.0
# Grace is short: a job whose state cannot be had soon leaves the rest to the controller.
_STATE_PATIENCE_S = 3.0
_LONGEST_ANSWER = 500


@dataclass(frozen=True)
class Task:
    """A job's folder, relative to the batch's file, and the number of the attempt."""

    folder: str
    attempt: int


@dataclass(frozen=True)
class Batch:
    """What one submission starts: a task for each index of the array."""

    tasks: tuple[Task, ...]
    requeue: bool
    scontrol: str | None

    def write(self, path: Path) -> None:
        """Write it where the nodes will look for it."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Batch:
        """What a file says.

        Raises:
            SpoolError: It is not there, or says something else.
        """
        content = read_json(path)
        try:
            if content is None:
                raise ValueError("there is no such file")
            tasks = tuple(Task(str(task["folder"]), int(task["attempt"])) for task in content["tasks"])
            return cls(tasks, bool(content["requeue"]), content["scontrol"])
        except (KeyError, TypeError, ValueError) as error:
            raise SpoolError(f"{path} is no batch of this version of hpcretrain ({error!r}); submit again") from error


def main(arguments: Sequence[str], environ: dict[str, str]) -> int:
    """Live one life of the task that Slurm's variables in `environ` name; the exit code."""
    with noticed() as interruption:
        path = Path(arguments[0])
        try:
            batch = Batch.read(path)
            index = int(environ.get("SLURM_ARRAY_TASK_ID", "0"))
            if index not in range(len(batch.tasks)):
                raise SpoolError(f"{path} has no task {index}, only {len(batch.tasks)} tasks; submit again")
            return _live(path, batch, batch.tasks[index], environ, interruption)
        except SpoolError as error:
            print(error, flush=True)
            return FAILED


def _live(path: Path, batch: Batch, task: Task, environ: dict[str, str], interruption: Interruption) -> int:
    folder = path.parent / task.folder
    life = Life(task.attempt, int(environ.get("SLURM_RESTART_COUNT") or "0"))
    witness = _Witness(batch.scontrol, environ.get("SLURM_JOB_ID"))
    end = run(folder, *life, interruption=interruption, begun=witness.begin)
    if end is End.INTERRUPTED:
        _go_back(JobFolder(folder).life(life), batch, environ)
        return INTERRUPTED
    witness.finish()
    return DONE if end in (End.FINISHED, End.ERRED) else FAILED


class _Witness:
    """Writes down Slurm's own words on where a life runs, beside its work."""

    def __init__(self, scontrol: str | None, slurm_job: str | None) -> None:
        self._command = [scontrol, "show", "job", slurm_job, "-o"] if scontrol and slurm_job else None
        self._thread: Thread | None = None

    def begin(self, mine: LifeFolder) -> None:
        if self._command:
            # A daemon, so that an interrupted life need not wait for it.
            self._thread = Thread(target=self._ask, args=(self._command, mine), daemon=True)
            self._thread.start()

    def finish(self) -> None:
        if self._thread:
            self._thread.join(_SCONTROL_PATIENCE_S)

    def _ask(self, command: Sequence[str], mine: LifeFolder) -> None:
        said, answer = _scontrol(command)
        try:
            if said:
                write(mine.path / "slurm.txt", answer)
            else:
                print(f"life {mine.life}: {' '.join(command)}: {answer}", flush=True)
        except OSError as error:
            print(f"life {mine.life}: slurm.txt cannot be written: {error}", flush=True)


def _go_back(mine: LifeFolder, batch: Batch, environ: dict[str, str]) -> None:
    """Put the job back into the queue, where the site lets a job do so, and note what came of it."""
    job = environ.get("SLURM_JOB_ID")
    if "SLURM_ARRAY_JOB_ID" in environ:
        job = f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    requeued: bool | None = False
    answer = "left to the controller"
    if batch.requeue and batch.scontrol and job:
        for number in SIGNALS:
            # More may come, and the requeueing sends TERM: scontrol would die of it before it has the answer.
            signal.signal(number, signal.SIG_IGN)
        if (state := _state(batch.scontrol, job)) == "RUNNING":
            requeued, answer = _scontrol([batch.scontrol, "requeue", job])
        else:
            # Somebody canceled it, who must not be overruled; or Slurm has requeued it already.
            answer = f"Slurm says that it is {state}"
    words = {True: "requeued", False: f"not requeued: {answer}", None: f"perhaps requeued: {answer}"}
    print(f"life {mine.life}: {words[requeued]}", flush=True)
    if ended := mine.told("ended"):
        mine.tell("ended", {**ended, "requeued": requeued, "requeue_answer": answer or None})


def _state(scontrol: str, job: str) -> str:
    """The state of a job as Slurm names it; what was said instead where it names none."""
    _, answer = _scontrol([scontrol, "show", "job", job, "-o"], _STATE_PATIENCE_S)
    found = re.search(r"\bJobState=(\S+)", answer)
    return found[1] if found else answer


def _scontrol(command: Sequence[str], patience_s: float = _SCONTROL_PATIENCE_S) -> tuple[bool | None, str]:
    """Whether `scontrol` did it, None where that is not known, and what it said."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience_s)
    except OSError as error:
        return False, str(error)
    except subprocess.TimeoutExpired as error:
        return None, str(error)
    if done.returncode < 0:
        return None, f"scontrol ended by signal {-done.returncode}"
    said = done.returncode == 0
    return said, done.stdout if said else (done.stderr or done.stdout).strip()[:_LONGEST_ANSWER]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))

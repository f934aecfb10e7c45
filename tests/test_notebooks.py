"""The notebooks of the documents, executed as a reader would, and with their kernel killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from notebooks import NOTEBOOKS, shown

from hpcretrain import read_notes
from hpcretrain.adapters.ledger import verify
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.local import alone
from hpcretrain.records import Outcome

EXECUTE = [sys.executable, str(Path(__file__).parents[1] / "tools" / "notebooks.py")]
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))
REATTACH = NOTEBOOKS / "submit-and-reattach.ipynb"
LARGEST_KB = 150


class Execution:
    """A process that executes a notebook in a folder."""

    def __init__(self, notebook: Path, folder: Path) -> None:
        self.came = folder / f"executed-{notebook.name}"
        self.log = folder / "log"
        elsewhere = ("HPCRETRAIN_CLUSTER", "MPLBACKEND")
        environment = {name: value for name, value in os.environ.items() if name not in elsewhere}
        # A file, not a pipe: a training that outlives its kernel holds on to what that wrote to.
        with self.log.open("w") as log:
            command = [*EXECUTE, str(notebook), str(folder)]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    @property
    def kernel(self) -> int:
        """The process of the kernel."""
        return int(until(lambda: re.match(r"\d+$", self.log.read_text(), re.MULTILINE))[0])

    def end(self) -> nbformat.NotebookNode:
        """The notebook as it came out."""
        assert self.process.wait(timeout=300) == 0, self.log.read_text()
        return nbformat.read(self.came, as_version=4)


def until(what: Callable[[], Any], within_s: float = 120.0) -> Any:
    """Wait until `what()` is true; what it then is."""
    give_up_at = time.monotonic() + within_s
    while not (found := what()):
        assert time.monotonic() < give_up_at, f"not within {within_s} s"
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("notebook", ALL, ids=lambda path: path.stem)
def test_a_notebook_runs_from_a_clean_state_and_shows_what_its_readers_see(notebook: Path, tmp_path: Path) -> None:
    kept = nbformat.read(notebook, as_version=4)
    came = Execution(notebook, tmp_path).end()
    assert shown(came) == shown(kept), "`python tools/notebooks.py` brings it up to date"
    assert [cell.source for cell in came.cells] == [cell.source for cell in kept.cells]


@pytest.mark.parametrize("notebook", ALL, ids=lambda path: path.stem)
def test_a_notebook_is_kept_small_and_as_it_was_executed(notebook: Path) -> None:
    kept = nbformat.read(notebook, as_version=4)
    nbformat.validate(kept)
    cells = [cell for cell in kept.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert {output.name for output in outputs if output.output_type == "stream"} <= {"stdout"}
    assert notebook.stat().st_size < LARGEST_KB * 1024


def training(home: Path) -> tuple[str, int] | None:
    """A job of a decision that is at work, and its process."""
    if not (home / "ledger.jsonl").exists():
        return None
    wanted = {note["serves"]: note["pid"] for note in read_notes(home, "job_submitted")}
    begun = read_notes(home, "message_done")
    for job, pid in reversed(wanted.items()) if begun else ():
        with alone(JobFolder(home / "spool" / "jobs" / job).path, 0) as mine:
            if not mine:
                return job, pid
    return None


def test_a_training_whose_kernel_was_killed_is_adopted_by_the_notebook_executed_again(tmp_path: Path) -> None:
    home = tmp_path / "live-shop" / "home"
    first = Execution(REATTACH, tmp_path)
    job, pid = until(lambda: training(home))
    held = psutil.Process(pid).children(recursive=True)
    for each in held:
        each.suspend()  # However slow this machine is: the training is not over before somebody comes back.
    try:
        os.kill(first.kernel, signal.SIGKILL)
        assert first.process.wait(timeout=60) != 0
        assert "DeadKernelError" in first.log.read_text()
        again = Execution(REATTACH, tmp_path)
        until(lambda: read_notes(home, "job_adopted"))
    finally:
        for each in held:
            each.resume()
    came, kept = again.end(), nbformat.read(REATTACH, as_version=4)
    assert job in {note["serves"] for note in read_notes(home, "job_adopted")}, "those that were to come after it, too"
    for event in ("job_intended", "job_submitted", "job_finished"):
        assert set(Counter(note["serves"] for note in read_notes(home, event)).values()) == {1}
    assert all(finding.outcome is Outcome.PASS for finding in verify(home / "ledger.jsonl"))
    assert shown(came) == shown(kept)

"""The notebook that loses its kernel, on a real cluster: its jobs neither know nor care."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat
from notebooks import NOTEBOOKS
from site_for_tests import until

from hpcretrain import read_notes
from hpcretrain.adapters.ledger import verify
from hpcretrain.records import Outcome
from minicluster import Cluster

NOTEBOOK = NOTEBOOKS / "submit-and-reattach.ipynb"
TOOL = Path(__file__).parents[2] / "tools" / "notebooks.py"


class Execution:
    """The ordinary user's, in a folder of its own that the nodes read."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        environment = {"HPCRETRAIN_CLUSTER": str(cluster.profile)}
        command = [str(cluster.python), TOOL.name, NOTEBOOK.name, "."]
        self.folder, self.log = folder, folder / "log"
        with self.log.open("w") as log:
            arguments = {**cluster.as_user(environment), "cwd": folder}
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **arguments)

    @property
    def kernel(self) -> int:
        """The process of the kernel."""
        found = re.search(r"^\d+$", self.log.read_text(), re.MULTILINE)
        assert found, self.log.read_text()
        return int(found[0])

    def end(self) -> nbformat.NotebookNode:
        """The notebook as it came out."""
        assert self.process.wait(timeout=300) == 0, self.log.read_text()
        return nbformat.read(self.folder / f"executed-{NOTEBOOK.name}", as_version=4)


def notes(home: Path, event: str, priority_class: str | None = None) -> list[dict[str, Any]]:
    """Notes of one kind, of jobs of one class."""
    if not (home / "ledger.jsonl").exists():
        return []
    found = {note["serves"]: note["class"] for note in read_notes(home, "job_intended")}
    return [note for note in read_notes(home, event) if priority_class in (None, found.get(note["serves"]))]


def test_a_notebook_whose_kernel_was_killed_finds_its_jobs_at_slurm_again(cluster: Cluster) -> None:
    folder = cluster.state / "home" / "notebook"
    cluster.run(["mkdir", str(folder)], check=True)
    for path in (NOTEBOOK, TOOL):
        shutil.copy(path, folder)
        (folder / path.name).chmod(0o644)
    # Time for a kill: a segment lasts longer than it takes to look.
    text = (folder / NOTEBOOK.name).read_text()
    (folder / NOTEBOOK.name).write_text(text.replace("seconds = 0.4", "seconds = 2.0"))
    home = folder / "live-shop" / "home"

    first = Execution(cluster, folder)
    until(lambda: len(notes(home, "job_submitted", "standard")) == 3, 180, "until the pilots are submitted")
    os.kill(first.kernel, signal.SIGKILL)
    assert first.process.wait(timeout=60) != 0
    numbers = [note["slurm_job"] for note in notes(home, "job_submitted")]
    begun = {note["serves"] for note in notes(home, "job_submitted", "standard")}
    assert not begun & {note["serves"] for note in notes(home, "job_finished")}, "they were under way"

    came = Execution(cluster, folder).end()
    assert [note["slurm_job"] for note in notes(home, "job_submitted")] == numbers
    for event in ("job_intended", "job_finished"):
        assert set(Counter(note["serves"] for note in notes(home, event)).values()) == {1}
    assert begun < {note["serves"] for note in notes(home, "job_finished")}
    assert all(finding.outcome is Outcome.PASS for finding in verify(home / "ledger.jsonl"))
    shown = {cell.id: cell.outputs for cell in came.cells if cell.cell_type == "code"}
    assert shown["wait"][0].text == "under way: nothing\n"

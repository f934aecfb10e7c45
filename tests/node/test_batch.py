"""The entry point on a Slurm node, as a process with Slurm's variables and a program that behaves like scontrol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from jobs_for_tests import SLOW_MEAN, job_folder

from hpcretrain.errors import SpoolError
from hpcretrain.node.batch import Batch, Task
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.life import Life

SHOWN = "JobId=17 JobName=x UserId=u(1) JobState=RUNNING NodeList=train2 BatchHost=train2 NumNodes=1"
SCONTROL = f"""#!/bin/sh
# Shows a job on one line; requeues it, or says why not, like scontrol 22.05.
echo "$@" >>"$0.calls"
case "$1" in
    show) sleep "$(cat "$0.delay" 2>/dev/null || echo 0)"
          echo "{SHOWN}" | sed "s/RUNNING/$(cat "$0.state" 2>/dev/null || echo RUNNING)/" ;;
    requeue) [ -e "$0.signal" ] && kill -s "$(cat "$0.signal")" "$PPID" "$$"
             if [ -e "$0.refuses" ]; then echo "$2: Job is pending execution" >&2; exit 1; fi ;;
esac
"""


class Site:
    """A spool with one slow job as the second task of a batch, and a scontrol."""

    def __init__(self, place: Path, **params: Any) -> None:
        self.place = place
        (place / "slow.py").write_text(SLOW_MEAN)
        self.folder: JobFolder = job_folder(place, recipe="slow:SlowMean", every_s=3600.0, **params)
        for name in ("batches", "inbox"):
            (place / name).mkdir()
        self.batch = place / "batches" / "b.json"
        self.scontrol = place / "scontrol"
        self.scontrol.write_text(SCONTROL)
        self.scontrol.chmod(0o755)
        self.write()

    def write(self, *, requeue: bool = True, scontrol: bool = True) -> None:
        tasks = (Task("../jobs/another", 1), Task("../jobs/job", 3))
        Batch(tasks, requeue, str(self.scontrol) if scontrol else None).write(self.batch)

    def start(self, **variables: str) -> subprocess.Popen[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        environ |= {"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "15", "SLURM_ARRAY_TASK_ID": "1"} | variables
        command = [sys.executable, "-m", "hpcretrain.node.batch", str(self.batch)]
        return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def interrupt(self, **variables: str) -> tuple[int, str]:
        process = self.start(**variables)
        assert process.stdout is not None
        said = []
        while not said or "rows" not in said[-1]:
            said.append(process.stdout.readline())
        process.send_signal(signal.SIGUSR1)
        said.append(process.stdout.read())
        return process.wait(20), "".join(said)

    def told(self, life: Life, name: str = "ended") -> dict[str, Any]:
        content = self.folder.life(life).told(name)
        assert content is not None
        return content

    @property
    def calls(self) -> list[str]:
        path = self.scontrol.with_suffix(".calls")
        return path.read_text().splitlines() if path.exists() else []

    @property
    def rings(self) -> set[str]:
        return {path.name for path in (self.place / "inbox").iterdir()}


def test_a_task_takes_its_place_in_the_batch_and_its_life_from_slurms_variables(tmp_path: Path) -> None:
    site = Site(tmp_path)
    process = site.start(SLURM_RESTART_COUNT="2", SLURM_JOB_NODELIST="train2")
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert said.startswith("life 3.2: begins on ")
    assert "life 3.2: finished after segment 4" in said
    begun = site.told(Life(3, 2), "begun")
    assert (begun["slurm_job_id"], begun["slurm_nodelist"]) == ("17", "train2")
    assert site.rings == {"job.3.2.begun", "job.3.2.ended"}
    assert (site.folder.life(Life(3, 2)).path / "slurm.txt").read_text() == SHOWN + "\n"
    assert site.calls == ["show job 17 -o"]


def test_an_interrupted_task_saves_rings_requeues_itself_and_goes_on_in_its_next_life(tmp_path: Path) -> None:
    site = Site(tmp_path, sleep_s=0.3)
    code, said = site.interrupt()
    assert code == 75
    assert "interrupted after segment 1\nlife 3.0: requeued\n" in said
    assert site.calls == ["show job 17 -o", "show job 15_1 -o", "requeue 15_1"]
    ended = site.told(Life(3))
    assert (ended["kind"], ended["signal"], ended["requeued"]) == ("interrupted", signal.SIGUSR1, True)
    assert site.rings == {"job.3.0.begun", "job.3.0.ended"}
    process = site.start(SLURM_RESTART_COUNT="1")
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "life 3.1: goes on after segment 1" in said


def test_a_job_that_is_no_array_is_requeued_by_its_number(tmp_path: Path) -> None:
    site = Site(tmp_path, sleep_s=0.3)
    Batch((Task("../jobs/job", 3),), True, str(site.scontrol)).write(site.batch)
    environ = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    process = subprocess.Popen(
        [sys.executable, "-m", "hpcretrain.node.batch", str(site.batch)],
        env={**environ, "SLURM_JOB_ID": "17"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while "rows" not in process.stdout.readline():
        pass
    process.terminate()
    assert process.wait(20) == 75
    assert site.calls[-1] == "requeue 17"


@pytest.mark.parametrize(
    ("case", "answer"),
    [
        ("refused", "15_1: Job is pending execution"),
        ("not allowed", "left to the controller"),
        ("no scontrol", "left to the controller"),
        ("gone", "No such file or directory"),
    ],
)
def test_a_task_that_may_not_or_cannot_requeue_itself_leaves_that_to_the_controller(
    tmp_path: Path, case: str, answer: str
) -> None:
    site = Site(tmp_path, sleep_s=0.3)
    if case == "refused":
        site.scontrol.with_suffix(".refuses").touch()
    if case == "gone":
        site.scontrol.unlink()
    site.write(requeue=case != "not allowed", scontrol=case != "no scontrol")
    code, said = site.interrupt()
    assert code == 75
    assert f"not requeued: {site.told(Life(3))['requeue_answer']}" in said
    assert answer in site.told(Life(3))["requeue_answer"]
    assert site.told(Life(3))["requeued"] is False
    assert ("requeue 15_1" in site.calls) == (case == "refused")


@pytest.mark.parametrize("state", ["CANCELLED", "PENDING", "COMPLETING"])
def test_a_job_that_somebody_canceled_or_slurm_requeued_is_left_as_it_is(tmp_path: Path, state: str) -> None:
    site = Site(tmp_path, sleep_s=0.3)
    site.scontrol.with_suffix(".state").write_text(state)
    code, said = site.interrupt()
    assert code == 75
    assert f"not requeued: Slurm says that it is {state}" in said
    assert "requeue 15_1" not in site.calls


def test_the_signal_that_a_requeueing_brings_ends_neither_the_life_nor_the_question(tmp_path: Path) -> None:
    site = Site(tmp_path, sleep_s=0.3)
    site.scontrol.with_suffix(".signal").write_text("TERM")
    code, said = site.interrupt()
    assert code == 75
    assert "life 3.0: requeued" in said
    assert site.told(Life(3))["requeued"] is True


def test_whether_it_was_requeued_is_unknown_where_scontrol_is_killed_over_it(tmp_path: Path) -> None:
    site = Site(tmp_path, sleep_s=0.3)
    site.scontrol.write_text(SCONTROL.replace('"$PPID" "$$"', '"$$"'))
    site.scontrol.with_suffix(".signal").write_text("KILL")
    code, said = site.interrupt()
    assert code == 75
    assert "perhaps requeued: scontrol ended by signal 9" in said
    assert site.told(Life(3))["requeued"] is None


def test_slurms_words_on_the_job_delay_no_training(tmp_path: Path) -> None:
    site = Site(tmp_path, segments=1)
    site.scontrol.with_suffix(".delay").write_text("6")
    process = site.start()
    assert process.stdout is not None
    while "finished" not in process.stdout.readline():
        pass
    assert not (site.folder.life(Life(3)).path / "slurm.txt").exists()
    assert process.wait(20) == 0
    assert (site.folder.life(Life(3)).path / "slurm.txt").read_text() == SHOWN + "\n"


def test_an_interrupted_task_does_not_wait_for_slurms_words(tmp_path: Path) -> None:
    site = Site(tmp_path, sleep_s=0.3)
    site.scontrol.with_suffix(".delay").write_text("25")
    code, _ = site.interrupt()
    assert code == 75
    assert not list(site.folder.path.glob("lives/*/slurm.txt"))


@pytest.mark.parametrize(("fail", "kind", "code"), [("train", "erred", 0), ("memory", "out_of_memory", 1)])
def test_the_exit_code_says_whether_the_job_has_its_result(tmp_path: Path, fail: str, kind: str, code: int) -> None:
    site = Site(tmp_path, fail=fail)
    process = site.start()
    process.communicate(timeout=30)
    assert (process.returncode, site.told(Life(3))["kind"]) == (code, kind)
    assert (site.folder.result() is None) == (code == 1)


def test_a_life_that_is_superseded_says_so_and_fails(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.folder.raise_fence(Life(4))
    process = site.start()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "superseded" in said
    assert site.told(Life(3))["kind"] == "superseded"


def test_a_second_process_of_the_same_life_fails_and_writes_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.folder.begin(Life(3), {})
    before = sorted(site.folder.path.rglob("*"))
    process = site.start()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "another process began life 3.0" in said
    assert sorted(site.folder.path.rglob("*")) == before


@pytest.mark.parametrize("content", [None, "{", "{}", '{"tasks": [{}], "requeue": true, "scontrol": null}'])
def test_a_batch_that_cannot_be_used_is_named(tmp_path: Path, content: str | None) -> None:
    site = Site(tmp_path)
    if content is None:
        site.batch.unlink()
    else:
        site.batch.write_text(content)
    process = site.start()
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert str(site.batch) in said
    assert "Traceback" not in said


def test_a_task_beyond_the_batch_is_named(tmp_path: Path) -> None:
    process = Site(tmp_path).start(SLURM_ARRAY_TASK_ID="2")
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "has no task 2, only 2 tasks" in said


def test_a_batch_is_read_as_it_was_written(tmp_path: Path) -> None:
    batch = Batch((Task("../jobs/a", 1), Task("../jobs/b", 7)), False, None)
    batch.write(tmp_path / "b.json")
    assert Batch.read(tmp_path / "b.json") == batch
    assert json.loads((tmp_path / "b.json").read_text())["tasks"][1] == {"folder": "../jobs/b", "attempt": 7}
    with pytest.raises(SpoolError, match="there is no such file"):
        Batch.read(tmp_path / "c.json")


def test_a_warning_that_comes_while_the_interpreter_starts_is_heard_once_it_is_up(tmp_path: Path) -> None:
    site = Site(tmp_path)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environ |= {"SLURM_JOB_ID": "17", "SLURM_ARRAY_JOB_ID": "15", "SLURM_ARRAY_TASK_ID": "1"}
    # As the batch script does it; the shell stands for all that is slow before Python is.
    held = ["env", "--block-signal=USR1,USR2,TERM", "bash", "-c"]
    slow = f"sleep 1; exec {sys.executable} -m hpcretrain.node.batch {site.batch}"
    process = subprocess.Popen([*held, slow], env=environ, stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    process.send_signal(signal.SIGUSR2)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 75, said
    assert site.told(Life(3))["signal"] == signal.SIGUSR2
    assert site.calls[-1] == "requeue 15_1"

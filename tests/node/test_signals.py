from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from jobs_for_tests import SLOW_MEAN, job_folder

from hpcretrain.node.life import End, Life
from hpcretrain.node.signals import SIGNALS, Interruption, noticed
from hpcretrain.node.train import run


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_no_more_and_later_ones_do_not_hide_it(number: int) -> None:
    before = signal.getsignal(number)
    with noticed() as interruption:
        assert interruption.signal is None
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert interruption.signal == number
    assert signal.getsignal(number) == before


def test_a_process_that_a_recipe_forks_ends_when_it_is_told_to_and_ignores_what_is_not_for_it() -> None:
    with noticed() as interruption:
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGUSR2)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        assert interruption.signal is None


@pytest.mark.parametrize("number", SIGNALS)
def test_a_life_that_is_warned_saves_at_the_end_of_the_segment_and_ends(tmp_path: Path, number: int) -> None:
    (tmp_path / "slow.py").write_text(SLOW_MEAN)
    folder = job_folder(tmp_path, recipe="slow:SlowMean", every_s=3600.0, segments=3, sleep_s=0.5)
    code = f"""
from hpcretrain.node.signals import noticed
from hpcretrain.node.train import run
with noticed() as interruption:
    print(run({str(folder.path)!r}, 1, 2, interruption))
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "rows" not in process.stdout.readline():
        pass
    process.send_signal(number)
    said = process.stdout.read()
    process.wait(20)
    assert "checkpoint after segment 1" in said
    assert "interrupted after segment 1" in said
    ended = folder.life(Life(1, 2)).told("ended")
    assert ended is not None
    assert (ended["kind"], ended["signal"], ended["segments"]) == ("interrupted", number, 1)
    assert 0 < ended["checkpoint_s"] < 0.5 <= ended["segment_s"]
    assert folder.result() is None


def test_a_life_that_was_warned_before_it_began_to_train_ends_at_once(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    interruption = Interruption()
    interruption.note(signal.SIGUSR1)
    assert run(folder.path, 1, interruption=interruption) is End.INTERRUPTED
    assert run(folder.path, 2) is End.FINISHED


WORKERS = '''
"""A user's recipe whose work is done by a process of its own, which every signal to the job reaches too."""
import subprocess, sys

class Workers:
    passes = 2

    def __init__(self, error=None):
        self.error = error

    def train(self, data, *, seed, threads, resume):
        done = self.load(resume) if resume else 0
        for part in range(done, 2):
            print("working", flush=True)
            done = subprocess.run([sys.executable, "-c", "import time; time.sleep(0.7)"], check=not self.error)
            if done.returncode:
                raise BrokenPipeError(f"a worker ended with {done.returncode}")
            yield part + 1

    def save(self, model, folder):
        (folder / "done.txt").write_text(str(model))

    def load(self, folder):
        return int((folder / "done.txt").read_text())

    def predict(self, model, features):
        raise NotImplementedError
'''


@pytest.mark.parametrize(("error", "reason"), [(None, "SIGUSR2"), ("pipe", "a worker ended with -12")])
def test_a_recipe_that_fails_because_the_signal_reached_its_processes_is_interrupted_and_not_at_fault(
    tmp_path: Path, error: str | None, reason: str
) -> None:
    (tmp_path / "workers.py").write_text(WORKERS)
    folder = job_folder(tmp_path, recipe="workers:Workers", error=error)
    code = f"from hpcretrain.node.local import run_each; run_each([({str(folder.path)!r}, 1)])"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    while "working" not in process.stdout.readline():
        pass
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGUSR2)
    process.wait(20)
    ended = folder.life(Life(1)).told("ended")
    assert ended is not None
    assert ended["kind"] == "interrupted"
    assert reason in ended["reason"]
    assert folder.result() is None
    assert run(folder.path, 2) is End.FINISHED


class AfterLooks(Interruption):
    """A signal that comes after it was looked for so many times: in the midst of any segment."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        super().__init__()

    @property
    def signal(self) -> int | None:  # type: ignore[override]
        self.looks -= 1
        return signal.SIGUSR1 if self.looks < 0 else None

    @signal.setter
    def signal(self, _: int | None) -> None:
        pass


def test_a_warned_lightgbm_leaves_the_segment_that_runs_and_yet_each_life_goes_further(tmp_path: Path) -> None:
    whole = job_folder(tmp_path / "whole", rounds=100)
    assert run(whole.path, 1) is End.FINISHED
    folder = job_folder(tmp_path, rounds=100)
    # A segment is 25 rounds. It is looked for twice before the first, after each, and in each round save of the first.
    for life, (looks, segments) in enumerate([(20, 1), (0, 0), (10, 2), (28, 4)], start=1):
        assert run(folder.path, life, interruption=AfterLooks(looks)) is End.INTERRUPTED
        ended = folder.life(Life(life)).told("ended")
        assert ended is not None
        assert ended["segments"] == segments
        states = [state.segments for state in folder.life(Life(life)).states()]
        assert max(states, default=0) == segments, "what is done is saved"
    assert run(folder.path, 5) is End.FINISHED
    results = [each.result() for each in (whole, folder)]
    assert results[0] is not None
    assert results[1] is not None
    assert results[0]["model_digest"] == results[1]["model_digest"]


GREEDY = '''
import os, signal, time

class Greedy:
    """Uses much in a segment, is warned in the midst of the second, and leaves it."""

    passes = 3

    def train(self, data, *, seed, threads, resume):
        for part in range(int((resume / "part").read_text()) if resume else 0, 3):
            end = time.process_time() + 0.4
            while time.process_time() < end:
                pass
            if part == 1 and not resume:
                os.kill(os.getpid(), signal.SIGUSR1)
                if data.interrupted():
                    return
            yield part + 1

    def save(self, model, folder):
        (folder / "part").write_text(str(model))

    def load(self, folder):
        return int((folder / "part").read_text())

    def predict(self, model, features):
        raise NotImplementedError
'''


def test_what_a_segment_used_that_was_left_is_in_no_model(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text(GREEDY)
    folder = job_folder(tmp_path, recipe="greedy:Greedy", every_s=3600.0)
    with noticed() as interruption:
        assert run(folder.path, 1, interruption=interruption) is End.INTERRUPTED
    assert run(folder.path, 2) is End.FINISHED
    result = folder.result()
    assert result is not None
    assert result["segments"] == 3
    assert 1.2 <= result["cpu_s"] < 1.5

from __future__ import annotations

import random
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest
from jobs_for_tests import SLOW_MEAN, at_work, attempt, frame, job_folder, saved, wait_for

from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.life import End, Life, LifeFolder
from hpcretrain.node.model import check, verify
from hpcretrain.node.predict import LoadedModel
from hpcretrain.node.train import run


def slow_mean(home: Path, **params: Any) -> JobFolder:
    home.mkdir(exist_ok=True)
    (home / "slow.py").write_text(SLOW_MEAN)
    return job_folder(home, recipe="slow:SlowMean", **params)


def told(life: LifeFolder, name: str = "ended") -> dict[str, Any]:
    content = life.told(name)
    assert content is not None
    return content


def test_a_job_ends_with_a_sealed_model_and_its_result_and_what_its_life_tells(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    attempt(folder, 1)
    result = folder.result()
    assert result is not None
    [life] = folder.lives()
    manifest = verify(life.model, result["model_digest"])
    assert manifest.features == ("amount", "days", "country")
    assert (result["attempt"], result["restart"], result["segments"]) == (1, 0, 4)
    assert 0 < result["cpu_s"] < told(life)["cpu_s"] < 10
    assert {path.name for path in folder.path.iterdir()} == {"spec.json", "lock", "fences", "lives"}
    files = {"begun.json", "model", "model.json", "result.json", "ended.json"}
    assert {path.name for path in life.path.iterdir()} == files
    assert told(life, "begun")["host"]
    assert (told(life)["kind"], told(life)["signal"], told(life)["requeued"]) == ("finished", None, None)
    assert {path.stat().st_mode & 0o077 for path in folder.path.rglob("*")} == {0}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = job_folder(tmp_path_factory.mktemp("undisturbed"), rounds=300)
    attempt(folder, 1)
    result = folder.result()
    assert result is not None
    return result


@pytest.mark.parametrize("moments", [random.Random(1), random.Random(2), random.Random(3)])
def test_a_job_killed_at_any_moment_and_begun_again_ends_with_the_same_model(
    tmp_path: Path, undisturbed: dict[str, Any], moments: random.Random
) -> None:
    folder = job_folder(tmp_path, rounds=300)
    for number in range(1, 4):
        process = attempt(folder, number, wait=False)
        _wait_until_begun(folder, process)
        time.sleep(moments.uniform(0.3, 0.8))
        process.kill()
        process.wait()
    attempt(folder, 4)
    result = folder.result()
    assert result is not None
    assert (result["model_digest"], result["segments"]) == (undisturbed["model_digest"], 12)


def test_a_later_attempt_goes_on_from_the_checkpoint_and_counts_the_cpu_seconds_of_both(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path, segments=4, sleep_s=0.2, busy_s=0.1)
    first = attempt(folder, 1, wait=False)
    wait_for(lambda: saved(folder))
    first.kill()
    first.wait()
    checkpoint = saved(folder)
    assert checkpoint is not None
    assert checkpoint.segments >= 1
    cpu_s, known = folder.lives()[0].cpu_s
    assert cpu_s > checkpoint.cpu_s
    assert not known
    attempt(folder, 2)
    result = folder.result()
    assert result is not None
    assert (result["attempt"], result["segments"]) == (2, 4)
    assert 0.4 <= result["cpu_s"] < 0.6
    mean, _ = (folder.life(Life(2)).model / "mean.txt").read_text().split()
    assert float(mean) == pytest.approx(frame()["__label__"].mean())


def test_a_checkpoint_that_was_cut_short_is_not_resumed_from(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path, segments=3, sleep_s=0.3)
    process = attempt(folder, 1, wait=False)
    wait_for(lambda: saved(folder))
    process.kill()
    process.wait()
    checkpoint = saved(folder)
    assert checkpoint is not None
    (checkpoint.folder / "mean.txt").write_text("")
    said = attempt(folder, 2).stdout
    assert said is not None
    assert "goes on" not in said.read()
    result = folder.result()
    assert result is not None
    assert result["segments"] == 3
    assert "error" not in result


def test_a_resumed_recipe_that_has_nothing_left_to_do_gives_the_model_of_its_checkpoint(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path, segments=1, sleep_s=0.4)
    process = attempt(folder, 1, wait=False)
    wait_for(lambda: folder.lives() and folder.lives()[0].told("begun"))
    process.terminate()
    process.wait()
    assert told(folder.life(Life(1)))["kind"] == "interrupted"
    assert saved(folder) is None
    process = attempt(folder, 2, wait=False)
    assert process.stdout is not None
    while "rows" not in process.stdout.readline():
        pass
    process.terminate()
    process.wait()
    assert told(folder.life(Life(2)))["kind"] == "interrupted"
    checkpoint = saved(folder)
    assert checkpoint is not None
    assert checkpoint.segments == 1
    assert run(folder.path, 3) is End.FINISHED
    result = folder.result()
    assert result is not None
    assert result["segments"] == 1
    assert result["cpu_s"] == pytest.approx(checkpoint.cpu_s, abs=0.01)
    undisturbed = slow_mean(tmp_path / "calm", segments=1, sleep_s=0.4)
    run(undisturbed.path, 3)
    assert undisturbed.result() == {**result, "cpu_s": ANY}


def test_a_finished_model_without_its_result_is_not_trained_again(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path)
    assert run(folder.path, 1) is End.FINISHED
    result = folder.result()
    folder.raise_fence(Life(2))
    assert folder.result() is None
    (tmp_path / "rows.parquet").unlink()
    assert run(folder.path, 2) is End.FINISHED
    assert result is not None
    assert folder.result() == {**result, "attempt": 2}
    assert verify(folder.life(Life(2)).model, result["model_digest"])


def test_an_attempt_older_than_the_fence_does_nothing(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    folder.raise_fence(Life(2))
    attempt(folder, 1)
    assert folder.result() is None
    assert saved(folder) is None
    assert told(folder.life(Life(1)))["kind"] == "superseded"


@pytest.mark.parametrize("segments", [1, 3])
def test_an_attempt_that_is_superseded_while_it_trains_publishes_nothing(tmp_path: Path, segments: int) -> None:
    folder = slow_mean(tmp_path, segments=segments, sleep_s=0.4)
    process = attempt(folder, 1, wait=False)
    wait_for(lambda: at_work(folder))
    folder.raise_fence(Life(1, 1))
    assert process.wait(20) == 0
    assert folder.result() is None
    assert saved(folder) is None
    assert told(folder.life(Life(1)))["kind"] == "superseded"


def test_an_attempt_leaves_the_job_to_another_that_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpcretrain.node import local

    monkeypatch.setattr(local, "LOCK_PATIENCE_S", 0.1)
    folder = job_folder(tmp_path)
    with local.alone(folder.path, 0) as mine:
        assert mine
        local.run_each([(str(folder.path), 1)])
    assert folder.lives() == []


def test_a_finished_job_is_not_done_again(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path)
    attempt(folder, 1)
    result = folder.result()
    (tmp_path / "rows.parquet").unlink()
    assert attempt(folder, 2).returncode == 0
    assert folder.result() == result
    assert [life.life for life in folder.lives()] == [Life(1)]


def test_a_recipe_that_raises_is_the_jobs_result_with_its_trace_on_standard_error(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path, fail="train")
    process = attempt(folder, 1)
    result = folder.result()
    assert result is not None
    assert result["error"] == {"type": "ZeroDivisionError", "message": "the recipe divided by zero"}
    assert saved(folder) is None
    assert told(folder.life(Life(1)))["kind"] == "erred"
    assert process.stderr is not None
    assert "in train" in process.stderr.read()


def test_rows_that_cannot_be_read_are_no_result_since_the_next_attempt_may_read_them(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    (tmp_path / "rows.parquet").rename(tmp_path / "away")
    attempt(folder, 1)
    assert folder.result() is None
    ended = told(folder.life(Life(1)))
    assert ended["kind"] == "outside"
    assert "rows.parquet" in ended["reason"]
    (tmp_path / "away").rename(tmp_path / "rows.parquet")
    attempt(folder, 2)
    assert folder.result() is not None


def test_predictions_of_the_published_model_are_those_of_the_recipe(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    attempt(folder, 1)
    model = folder.life(Life(1)).model
    predictions = LoadedModel.load(model, check(model)).predict(frame())
    label = frame()["__label__"].to_numpy()
    assert predictions[label == 1].mean() > predictions[label == 0].mean() + 0.1
    assert np.isfinite(predictions).all()


def _wait_until_begun(folder: JobFolder, process: subprocess.Popen[str]) -> None:
    wait_for(lambda: at_work(folder) or process.poll() is not None)


def warm(home: Path, recipe: str = "lightgbm") -> JobFolder:
    """A job that goes on from the model of another."""
    home.mkdir(exist_ok=True)
    (home / "slow.py").write_text(SLOW_MEAN)
    folder, base = job_folder(home, recipe=recipe), job_folder(home / "base")
    attempt(base, 1)
    result = base.result()
    assert result is not None
    shutil.copytree(base.life(Life(1)).model, folder.start)
    folder.write_spec(replace(folder.spec(), start=result["model_digest"], start_passes=50))
    return folder


def test_a_warm_start_is_verified_before_it_is_loaded_and_goes_on(tmp_path: Path) -> None:
    folder = warm(tmp_path)
    model = folder.start / "model.txt"
    whole = model.read_text()
    model.write_text(whole.replace("tree", "leaf", 1))
    attempt(folder, 1)
    [life] = folder.lives()
    assert told(life)["kind"] == "outside"
    assert "altered" in told(life)["reason"]
    assert folder.result() is None
    model.write_text(whole)
    attempt(folder, 2)
    result = folder.result()
    assert result is not None
    assert result["segments"] == 2
    model_folder = folder.life(Life(2)).model
    loaded = LoadedModel.load(model_folder, verify(model_folder, result["model_digest"]))
    assert np.isfinite(loaded.predict(frame())).all()


def test_a_recipe_that_cannot_go_on_from_another_model_says_so(tmp_path: Path) -> None:
    folder = warm(tmp_path, "slow:SlowMean")
    attempt(folder, 1)
    result = folder.result()
    assert result is not None
    assert "leave warm_share out" in result["error"]["message"]

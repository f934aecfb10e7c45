from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jobs_for_tests import SLOW_MEAN, at_work, attempt, frame, job_folder, wait_for

from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.node.model import check, digest, verify
from hpcretrain.node.predict import LoadedModel
from hpcretrain.node.train import _Fit


def slow_mean(home: Path, **params: Any) -> JobFolder:
    (home / "slow.py").write_text(SLOW_MEAN)
    return job_folder(home, recipe="slow:SlowMean", **params)


def test_a_job_ends_with_a_sealed_model_and_its_result_and_nothing_else(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    attempt(folder, 1)
    result = folder.result()
    assert result is not None
    manifest = verify(folder.model, result["model_digest"])
    assert manifest.features == ("amount", "days", "country")
    assert (result["attempt"], result["segments"]) == (1, 4)
    assert 0 < result["cpu_s"] < 10
    assert {path.name for path in folder.path.iterdir()} == {"spec.json", "lock", "model", "result.json"}
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
    wait_for(lambda: any(folder.path.glob("checkpoint-*")))
    first.kill()
    first.wait()
    checkpoint = folder.checkpoint()
    assert checkpoint is not None
    progress = checkpoint.folder / "progress.json"
    assert json.loads(progress.read_text())["segments"] == checkpoint.segments >= 1
    begun = time.monotonic()
    attempt(folder, 2)
    result = folder.result()
    assert result is not None
    assert (result["attempt"], result["segments"]) == (2, 4)
    assert 0.4 <= result["cpu_s"] < 0.6
    assert time.monotonic() - begun < 0.3 * (4 - checkpoint.segments) + 2
    mean, _ = (folder.model / "mean.txt").read_text().split()
    assert float(mean) == pytest.approx(frame()["__label__"].mean())


def test_a_checkpoint_that_was_cut_short_is_not_resumed_from(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path, segments=3, sleep_s=0.3)
    process = attempt(folder, 1, wait=False)
    wait_for(lambda: any(folder.path.glob("checkpoint-*")))
    process.kill()
    process.wait()
    checkpoint = folder.checkpoint()
    assert checkpoint is not None
    (checkpoint.folder / "mean.txt").write_text("")
    assert folder.checkpoint() is None
    attempt(folder, 2)
    result = folder.result()
    assert result is not None
    assert result["segments"] == 3
    assert "error" not in result


def test_a_resumed_recipe_that_has_nothing_left_to_do_gives_the_model_of_its_checkpoint(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path, segments=1)
    fit = _Fit(folder, folder.spec(), 1)
    known = fit.run(frame())
    assert folder.checkpoint() is not None
    again = _Fit(folder, folder.spec(), 2)
    assert again.run(frame()) == known
    assert again.segments == 1
    assert again.cpu_s == pytest.approx(fit.cpu_s, abs=0.01)


def test_an_attempt_older_than_the_fence_does_nothing(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    folder.raise_fence(2)
    process = attempt(folder, 1)
    assert process.returncode == 0
    assert folder.result() is None
    assert not folder.model.exists()


@pytest.mark.parametrize("segments", [1, 3])
def test_an_attempt_that_is_superseded_while_it_trains_publishes_nothing(tmp_path: Path, segments: int) -> None:
    folder = slow_mean(tmp_path, segments=segments, sleep_s=0.4)
    process = attempt(folder, 1, wait=False)
    wait_for(lambda: at_work(folder))
    folder.raise_fence(2)
    assert process.wait(20) == 0
    assert folder.result() is None
    assert not folder.model.exists()
    assert folder.checkpoint() is None


def test_an_attempt_leaves_the_job_to_another_that_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hpcretrain.node import train

    monkeypatch.setattr(train, "LOCK_PATIENCE_S", 0.1)
    folder = job_folder(tmp_path)
    with folder.hold(0) as mine:
        assert mine
        train.run(str(folder.path), 1)
    assert folder.result() is None


def test_a_finished_job_is_not_done_again(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path)
    attempt(folder, 1)
    result, known = folder.result(), digest(folder.model)
    (tmp_path / "rows.parquet").unlink()
    assert attempt(folder, 2).returncode == 0
    assert folder.result() == result
    assert digest(folder.model) == known


def test_a_recipe_that_raises_is_the_jobs_result_with_its_trace_on_standard_error(tmp_path: Path) -> None:
    folder = slow_mean(tmp_path, fail="train")
    process = attempt(folder, 1)
    result = folder.result()
    assert result is not None
    assert result["error"] == {"type": "ZeroDivisionError", "message": "the recipe divided by zero"}
    assert not folder.model.exists()
    assert process.stderr is not None
    assert "in train" in process.stderr.read()


def test_rows_that_cannot_be_read_are_no_result_since_the_next_attempt_may_read_them(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    (tmp_path / "rows.parquet").rename(tmp_path / "away")
    assert attempt(folder, 1).returncode != 0
    assert folder.result() is None
    (tmp_path / "away").rename(tmp_path / "rows.parquet")
    attempt(folder, 2)
    assert folder.result() is not None


def test_predictions_of_the_published_model_are_those_of_the_recipe(tmp_path: Path) -> None:
    folder = job_folder(tmp_path)
    attempt(folder, 1)
    predictions = LoadedModel.load(folder.model, check(folder.model)).predict(frame())
    label = frame()["__label__"].to_numpy()
    assert predictions[label == 1].mean() > predictions[label == 0].mean() + 0.1
    assert np.isfinite(predictions).all()


def _wait_until_begun(folder: JobFolder, process: subprocess.Popen[str]) -> None:
    wait_for(lambda: at_work(folder) or process.poll() is not None)

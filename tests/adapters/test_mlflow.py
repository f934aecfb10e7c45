from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from whole_cycle import AT, WINDOW

from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.mlflow import MlflowRegistry
from hpcretrain.adapters.mlflow_runs import ID_TAG
from hpcretrain.errors import HpcretrainError
from hpcretrain.ports import Trained
from hpcretrain.records import Candidate, Job, PriorityClass, Purpose

LOADER = "loader_for_tests"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an odd name and a model that a module beside it loads."""
    folder = tmp_path / "a home, with spaces & 100%"
    (folder / "models" / "d1").mkdir(parents=True)
    (folder / "models" / "d1" / "model.txt").write_text("7")
    (folder / f"{LOADER}.py").write_text(
        "import pathlib\n"
        "class Model:\n"
        "    def __init__(self, value): self.value = value\n"
        "    def predict(self, frame): return [self.value] * len(frame)\n"
        "def _load_pyfunc(path): return Model(float((pathlib.Path(path) / 'model.txt').read_text()))\n"
    )
    monkeypatch.syspath_prepend(folder)
    return folder


def registry(place: Path, notes: str = "notes") -> MlflowRegistry:
    """A registry over the one store; other `notes` are those of a ledger that knows nothing yet."""
    (place / notes).mkdir(exist_ok=True)
    ledger = FileLedger(place / notes / "ledger.jsonl")
    return MlflowRegistry(place / "mlflow", "m", place / "models", ledger, loader=LOADER)


def job(seed: int = 1) -> Job:
    return Job(
        model="m", at=AT, answers=("decision-1",), purpose=Purpose.JUDGE, priority_class=PriorityClass.STANDARD,
        recipe="lightgbm", params={"num_leaves": "15"}, seed=seed, window=WINDOW, cost_mrow_passes=1.5,
    )  # fmt: skip


def candidate(seed: int = 1) -> Candidate:
    return Candidate(model="m", at=AT, answers=(job(seed).id,), purpose=Purpose.JUDGE, model_digest="d1", window=WINDOW)


TRAINED = Trained("d1", 2.5)
LINEAGE: Mapping[str, str] = {"job": job().id, "parent": "candidate-0"}


def client(at: MlflowRegistry) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=at.uri, registry_uri=at.uri)


def test_a_candidate_becomes_a_run_with_lineage_and_a_version_that_predicts(place: Path) -> None:
    import mlflow

    at = registry(place)
    at.register(candidate(), job(), TRAINED, LINEAGE)
    (version,) = client(at).search_model_versions("name = 'm'")
    assert version.tags[ID_TAG] == candidate().id
    run = client(at).get_run(version.run_id)
    assert run.data.tags["hpcretrain.parent"] == "candidate-0"
    assert run.data.params["recipe.num_leaves"] == "15"
    assert run.data.metrics["train_cpu_s"] == 2.5
    assert list(mlflow.pyfunc.load_model(version.source).predict(pd.DataFrame({"x": np.zeros(2)}))) == [7.0, 7.0]


def test_registering_again_after_the_notes_were_lost_makes_nothing_twice(place: Path) -> None:
    for notes in ("one", "two", "two"):
        registry(place, notes).register(candidate(), job(), TRAINED, LINEAGE)
    at = registry(place)
    assert len(client(at).search_model_versions("name = 'm'")) == 1
    experiment = client(at).get_experiment_by_name("m")
    assert len(client(at).search_runs([experiment.experiment_id])) == 1


def test_a_run_left_without_a_version_gets_one(place: Path) -> None:
    at = registry(place)
    at.register(candidate(1), job(1), TRAINED, LINEAGE)
    (version,) = client(at).search_model_versions("name = 'm'")
    client(at).delete_model_version("m", version.version)
    registry(place, "other").register(candidate(1), job(1), TRAINED, LINEAGE)
    (again,) = client(at).search_model_versions("name = 'm'")
    assert again.run_id == version.run_id


def test_an_alias_moves_forth_and_back(place: Path) -> None:
    at = registry(place)
    for seed in (1, 2):
        at.register(candidate(seed), job(seed), TRAINED, LINEAGE)
    for seed in (1, 2, 1):
        at.alias(candidate(seed).id, "champion")
        assert client(at).get_model_version_by_alias("m", "champion").tags[ID_TAG] == candidate(seed).id


def test_an_alias_of_something_unknown_is_refused(place: Path) -> None:
    at = registry(place)
    at.register(candidate(), job(), TRAINED, LINEAGE)
    with pytest.raises(HpcretrainError, match="no version of m for candidate-9"):
        at.alias("candidate-9", "champion")


def test_metrics_and_tags_reach_the_run_and_an_unknown_candidate_none(place: Path) -> None:
    at = registry(place)
    at.register(candidate(), job(), TRAINED, LINEAGE)
    at.measure(candidate().id, {"holdout_auc": 0.7}, {"verdict": "pass"})
    at.measure("job-1", {"holdout_auc": 0.1}, {})
    experiment = client(at).get_experiment_by_name("m")
    (run,) = client(at).search_runs([experiment.experiment_id])
    assert run.data.metrics["holdout_auc"] == 0.7
    assert run.data.tags["hpcretrain.verdict"] == "pass"


def test_what_a_crash_left_out_is_made_up_for_and_nothing_is_logged_twice(place: Path) -> None:
    at = registry(place)
    at.register(candidate(), job(), TRAINED, LINEAGE)
    at.measure(candidate().id, {"holdout_auc": 0.7}, {})
    (version,) = client(at).search_model_versions("name = 'm'")
    client(at).update_run(version.run_id, status="RUNNING")
    again = registry(place, "other")
    again.register(candidate(), job(), TRAINED, LINEAGE)
    again.measure(candidate().id, {"holdout_auc": 0.7}, {})
    assert client(at).get_run(version.run_id).info.status == "FINISHED"
    assert len(client(at).get_metric_history(version.run_id, "holdout_auc")) == 1


def test_a_database_whose_making_was_cut_short_is_made_anew(place: Path) -> None:
    scratch = place / "mlflow" / "making-x"
    scratch.mkdir(parents=True)
    (scratch / "mlflow.db").write_bytes(b"SQLite format 3\0 half")
    registry(place).register(candidate(), job(), TRAINED, LINEAGE)
    assert not scratch.exists()


def test_a_store_that_cannot_be_read_is_told_without_a_traceback(place: Path) -> None:
    (place / "mlflow").mkdir()
    (place / "mlflow" / "mlflow.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(HpcretrainError, match="MLflow could not register"):
        registry(place).register(candidate(), job(), TRAINED, LINEAGE)


def test_nothing_is_printed_and_nothing_is_left_in_the_current_folder(
    place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    registry(place).register(candidate(), job(), TRAINED, LINEAGE)
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert list(elsewhere.iterdir()) == []
    assert os.stat(place / "mlflow").st_mode & 0o077 == 0

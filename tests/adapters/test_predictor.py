from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from jobs_for_tests import CATEGORICAL, SLOW_MEAN, FrameTable, data, frame

from hpcretrain.adapters.predictor import ModelPredictor
from hpcretrain.errors import ModelFileError
from hpcretrain.node.model import Manifest, seal
from hpcretrain.node.recipe import load_recipe


def keep(home: Path, recipe_name: str = "lightgbm", **params: object) -> str:
    """Train a model here and keep it in `models/<digest>`."""
    recipe = load_recipe(recipe_name, params, search_path=home)
    *_, model = recipe.train(data(), seed=1, threads=1, resume=None)
    part = home / "models" / "part"
    part.mkdir(parents=True)
    recipe.save(model, part)
    known = seal(part, Manifest(recipe_name, params, "binary", tuple(data().features.columns), CATEGORICAL))
    part.rename(part.with_name(known))
    return known


def keep_mean(home: Path, fail: str = "") -> str:
    (home / "a_mean.py").write_text(SLOW_MEAN)
    return keep(home, "a_mean:SlowMean", fail=fail)


@pytest.fixture
def table() -> FrameTable:
    return FrameTable(frame())


@pytest.fixture
def predictor(tmp_path: Path, table: FrameTable) -> Iterator[ModelPredictor]:
    with ModelPredictor(table, tmp_path / "models") as made:
        yield made


def test_predictions_are_those_of_the_recipe_and_each_row_is_predicted_once(
    tmp_path: Path, table: FrameTable, predictor: ModelPredictor
) -> None:
    known = keep(tmp_path)
    recipe = load_recipe("lightgbm", {})
    expected = recipe.predict(recipe.load(tmp_path / "models" / known), data().features)
    np.testing.assert_array_equal(predictor.predict(known, table.rows(500, 900)), expected[500:900])
    np.testing.assert_array_equal(predictor.predict(known, table.rows(100, 700)), expected[100:700])
    np.testing.assert_array_equal(predictor.predict(known, table.rows()), expected)
    np.testing.assert_array_equal(predictor.predict(known, table.rows(5, 17)), expected[5:17])
    assert table.asked == 2000


def test_a_prediction_that_is_not_finite_is_passed_on_and_remembered(
    tmp_path: Path, table: FrameTable, predictor: ModelPredictor
) -> None:
    known = keep_mean(tmp_path)
    folder = tmp_path / "models" / known
    (folder / "mean.txt").write_text("nan 4")
    (folder / "recipe.json").unlink()
    sick = seal(folder, Manifest("a_mean:SlowMean", {}, "binary", ("amount", "days", "country"), CATEGORICAL))
    folder.rename(folder.with_name(sick))
    assert np.isnan(predictor.predict(sick, table.rows(0, 10))).all()
    assert np.isnan(predictor.predict(sick, table.rows(0, 10))).all()
    assert table.asked == 10


def test_no_rows_need_no_model(table: FrameTable, predictor: ModelPredictor) -> None:
    rows = table.rows()
    assert predictor.predict("none", type(rows)(rows.start, rows.end, rows.index[:0])).shape == (0,)


def test_text_among_numbers_counts_as_missing(tmp_path: Path) -> None:
    known, content = keep(tmp_path), frame()
    dirty = content.astype({"days": object})
    dirty.loc[:9, "days"] = "text"
    missing = content.copy()
    missing.loc[:9, "days"] = np.nan
    answers = []
    for version in (dirty, missing):
        with ModelPredictor(FrameTable(version), tmp_path / "models") as predictor:
            answers.append(predictor.predict(known, FrameTable(version).rows()))
    np.testing.assert_array_equal(answers[0], answers[1])


@pytest.mark.parametrize("harm", ["edit", "truncate", "remove"])
def test_an_altered_model_is_refused_by_its_digest_before_it_is_loaded(
    tmp_path: Path, table: FrameTable, predictor: ModelPredictor, harm: str
) -> None:
    known = keep(tmp_path)
    file = tmp_path / "models" / known / "model.txt"
    if harm == "edit":
        file.write_text(file.read_text().replace("leaf_value=0.", "leaf_value=1.", 1))
    elif harm == "truncate":
        # LightGBM's loader takes the process down on this one.
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    with pytest.raises(ModelFileError, match="altered or cut short"):
        predictor.predict(known, table.rows(0, 5))
    whole = keep(tmp_path, rounds=7)
    assert len(predictor.predict(whole, table.rows(0, 5))) == 5


def test_a_model_that_is_not_there_is_an_error(table: FrameTable, predictor: ModelPredictor) -> None:
    with pytest.raises(ModelFileError, match="there is no model"):
        predictor.predict("0" * 64, table.rows(0, 5))


def test_a_model_that_takes_its_reader_down_is_an_error_and_the_next_model_is_served(
    tmp_path: Path, table: FrameTable, predictor: ModelPredictor
) -> None:
    deadly = keep_mean(tmp_path, fail="load")
    with pytest.raises(ModelFileError, match="ended with code -6"):
        predictor.predict(deadly, table.rows(0, 5))
    assert len(predictor.predict(keep_mean(tmp_path), table.rows(0, 5))) == 5


@pytest.mark.parametrize(("fail", "says"), [("predict", "KeyError: 'no such thing'"), ("shape", r"shape \(5, 2\)")])
def test_a_recipe_that_cannot_predict_is_an_error_that_says_why(
    tmp_path: Path, table: FrameTable, predictor: ModelPredictor, fail: str, says: str
) -> None:
    with pytest.raises(ModelFileError, match=says):
        predictor.predict(keep_mean(tmp_path, fail=fail), table.rows(0, 5))


def test_more_models_than_stay_loaded_are_all_served(
    tmp_path: Path, table: FrameTable, predictor: ModelPredictor
) -> None:
    models = [keep(tmp_path, rounds=rounds) for rounds in range(1, 8)]
    answers = {model: predictor.predict(model, table.rows(0, 50)) for model in models}
    for model in models:
        np.testing.assert_array_equal(predictor.predict(model, table.rows(0, 60))[:50], answers[model])
    assert len({answer.tobytes() for answer in answers.values()}) == 7


def test_an_interrupted_question_does_not_leave_its_answer_to_the_next(
    tmp_path: Path, table: FrameTable, predictor: ModelPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = keep(tmp_path, rounds=1), keep(tmp_path, rounds=50)
    predictor.predict(one, table.rows(0, 1))
    child = predictor._child
    assert child is not None

    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(child.connection.__class__, "recv", lambda _: interrupt())
        with pytest.raises(KeyboardInterrupt):
            predictor.predict(one, table.rows(0, 50))
    with ModelPredictor(table, tmp_path / "models") as fresh:
        expected = fresh.predict(other, table.rows(0, 50))
    np.testing.assert_array_equal(predictor.predict(other, table.rows(0, 50)), expected)


def test_a_script_without_a_main_guard_is_not_run_again_and_its_output_stays_its_own(tmp_path: Path) -> None:
    known = keep_mean(tmp_path)
    module = tmp_path / "a_mean.py"
    module.write_text(module.read_text().replace("return np.full", "print('noise'); return np.full"))
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
            import sys
            from pathlib import Path
            sys.path[:0] = [{str(tmp_path)!r}, {str(Path(__file__).parents[1])!r}]
            from jobs_for_tests import FrameTable, frame
            from hpcretrain.adapters.predictor import ModelPredictor
            print("begun")
            table = FrameTable(frame())
            predictor = ModelPredictor(table, Path({str(tmp_path / "models")!r}))
            print(len(predictor.predict({known!r}, table.rows(0, 5))))
        """)
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "begun\n5\n"
    assert "noise" in done.stderr


def test_the_other_process_ends_with_the_predictor(tmp_path: Path, table: FrameTable) -> None:
    known = keep_mean(tmp_path)
    with ModelPredictor(table, tmp_path / "models") as predictor:
        predictor.predict(known, table.rows(0, 5))
        child = predictor._child
        assert child is not None
        process = child._process
        assert process.poll() is None
    assert process.poll() == 0

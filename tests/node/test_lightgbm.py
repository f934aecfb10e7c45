from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs_for_tests import data

from hpcretrain.errors import InputError
from hpcretrain.node.lightgbm import SEGMENT_ROUNDS, LightGBM, Trees, memory_refused
from hpcretrain.node.recipe import TrainingData, WarmStart


def finished(recipe: LightGBM, content: TrainingData, resume: Path | None = None) -> Trees:
    *_, model = recipe.train(content, seed=1, threads=1, resume=resume)
    return model


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_training_that_is_resumed_after_any_segment_ends_with_the_same_bytes(
    tmp_path: Path, task: str, stop: int
) -> None:
    recipe, content = LightGBM({}), data(task=task)
    whole = finished(recipe, content)
    segments = recipe.train(content, seed=1, threads=1, resume=None)
    for _ in range(stop):
        model = next(segments)
    recipe.save(model, tmp_path)
    assert finished(LightGBM({}), content, resume=tmp_path).text == whole.text


@pytest.mark.parametrize(
    "params",
    [
        {"bagging_fraction": 0.5, "bagging_freq": 2},
        {"extra_trees": True},
        {"data_sample_strategy": "goss"},
        {"linear_tree": True},
        {"rounds": 60, "is_unbalance": True},
        {"monotone_constraints": "1,0,0"},
    ],
)
def test_it_does_so_with_parameters_that_draw_at_random(tmp_path: Path, params: dict[str, Any]) -> None:
    recipe, content = LightGBM(params), data()
    model = next(recipe.train(content, seed=1, threads=1, resume=None))
    recipe.save(model, tmp_path)
    assert finished(recipe, content, resume=tmp_path).text == finished(recipe, content).text


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_a_warm_start_goes_on_as_with_init_model_and_from_any_checkpoint(tmp_path: Path, task: str) -> None:
    params, old, new = {"feature_fraction": 1.0, "rounds": 60}, data(4000, task), data(6000, task)
    base = finished(LightGBM(params), old)
    start, kept = tmp_path / "start", tmp_path / "kept"
    for folder in (start, kept):
        folder.mkdir()
    LightGBM(params).save(base, start)
    warm = replace(new, start=WarmStart(start, 2 * SEGMENT_ROUNDS))
    first, whole = LightGBM(params).train(warm, seed=1, threads=1, resume=None)
    assert whole.booster.num_trees() == 60 + 2 * SEGMENT_ROUNDS
    LightGBM(params).save(first, kept)
    assert finished(LightGBM(params), warm, resume=kept).text == whole.text
    matrix = whole.encoder.encode(new.features)
    settings = {
        "objective": task, "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 100,
        "num_threads": 1, "verbosity": -1,
    }  # fmt: skip
    dataset = lightgbm.Dataset(matrix, new.target, categorical_feature=[2], free_raw_data=False)
    theirs = lightgbm.train(settings, dataset, 2 * SEGMENT_ROUNDS, init_model=base.booster)
    np.testing.assert_allclose(
        whole.booster.predict(matrix, num_threads=1), theirs.predict(matrix, num_threads=1), rtol=1e-9
    )


def test_a_warm_start_keeps_the_categories_of_its_start(tmp_path: Path) -> None:
    content = data()
    LightGBM({}).save(finished(LightGBM({}), content), tmp_path)
    words = content.features.assign(country="elsewhere")
    warm = replace(content, features=words, start=WarmStart(tmp_path, 5))
    model = finished(LightGBM({}), warm)
    assert model.encoder == finished(LightGBM({}), content).encoder
    assert np.isfinite(LightGBM({}).predict(model, words)).all()


def test_each_segment_draws_features_of_its_own() -> None:
    # A tree gets one feature of three, so the features of the roots are those drawn.
    model = finished(LightGBM({"feature_fraction": 0.3}), data(6000))
    drawn = [tree["tree_structure"]["split_feature"] for tree in model.booster.dump_model()["tree_info"]]
    assert len(drawn) == 100
    assert drawn[:SEGMENT_ROUNDS] != drawn[SEGMENT_ROUNDS : 2 * SEGMENT_ROUNDS]


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_segments_go_on_as_with_init_model(task: str) -> None:
    content = data(6000, task)
    params = {"feature_fraction": 1.0, "rounds": 2 * SEGMENT_ROUNDS}
    first, ours = LightGBM(params).train(content, seed=1, threads=1, resume=None)
    matrix = ours.encoder.encode(content.features)
    settings = {
        "objective": task, "num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 100,
        "num_threads": 1, "verbosity": -1,
    }  # fmt: skip
    dataset = lightgbm.Dataset(matrix, content.target, categorical_feature=[2], free_raw_data=False)
    theirs = lightgbm.train(settings, dataset, SEGMENT_ROUNDS, init_model=first.booster)
    np.testing.assert_allclose(
        ours.booster.predict(matrix, num_threads=1), theirs.predict(matrix, num_threads=1), rtol=1e-9
    )


def test_a_loaded_model_predicts_as_before_whatever_the_order_of_the_columns(tmp_path: Path) -> None:
    recipe, content = LightGBM({}), data()
    model = finished(recipe, content)
    recipe.save(model, tmp_path)
    before = recipe.predict(model, content.features)
    loaded = LightGBM({}).load(tmp_path)
    assert (recipe.predict(loaded, content.features) == before).all()
    assert (recipe.predict(loaded, content.features[["country", "days", "amount"]]) == before).all()
    assert before.std() > 0.05
    with pytest.raises(InputError, match="days"):
        recipe.predict(loaded, content.features.drop(columns="days"))


def test_a_category_that_was_not_learned_counts_as_missing() -> None:
    recipe, content = LightGBM({}), data()
    model = finished(recipe, content)
    rows = content.features.iloc[:50]
    unseen, missing = rows.assign(country="XX"), rows.assign(country=None)
    assert (recipe.predict(model, unseen) == recipe.predict(model, missing)).all()
    assert (recipe.predict(model, rows.assign(country="PL")) != recipe.predict(model, missing)).any()


def test_another_seed_makes_another_model() -> None:
    recipe, content = LightGBM({}), data()
    *_, other = recipe.train(content, seed=2, threads=1, resume=None)
    assert other.text != finished(recipe, content).text


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(2, 40),
    labels=st.sampled_from([[0.0], [1.0], [0.0, 1.0]]),
    cells=st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1.0, 1e308]), min_size=1, max_size=3),
    words=st.lists(st.sampled_from([None, "a", 'b "c"\n']), min_size=1, max_size=3),
    task=st.sampled_from(["binary", "regression"]),
)
def test_the_poorest_tables_give_a_model_with_finite_predictions(
    rows: int, labels: list[float], cells: list[float], words: list[str | None], task: str
) -> None:
    features = pd.DataFrame({'x "{}"': np.resize(cells, rows)})
    features["y"] = pd.Series(np.resize(np.array(words, dtype=object), rows), dtype=object)
    content = TrainingData(features, np.resize(labels, rows), ("y",), task)
    recipe = LightGBM({"rounds": 30})
    assert np.isfinite(recipe.predict(finished(recipe, content), features)).all()


def test_defaults_give_way_to_the_users_parameters_by_any_name() -> None:
    model = finished(LightGBM({"max_leaf": 4, "n_estimators": 30, "min_child_samples": 7}), data())
    assert model.booster.num_trees() == 30
    assert model.booster.params["num_leaves"] == 4
    assert model.booster.params["min_data_in_leaf"] == 7
    assert finished(LightGBM({}), data(500)).booster.params["min_data_in_leaf"] == 10


def test_every_bad_parameter_is_named_at_once() -> None:
    with pytest.raises(InputError) as caught:
        LightGBM({"num_leafs": 4, "seed": 3, "rounds": 0, "eta": 0.1, "learning_rate": 0.2})
    told = str(caught.value)
    assert 'num_leafs: LightGBM has no such parameter; did you mean "num_leaf"' in told
    assert "seed: cannot be set here: set model.seed" in told
    assert "rounds: is 0" in told
    assert "learning_rate is set twice" in told


@pytest.mark.parametrize(
    "params",
    [{"num_leaves": 1}, {"feature_fraction": 2.0}, {"max_bin": "many"}, {"num_class": 3}],
    ids=lambda params: next(iter(params)),
)
def test_a_value_that_lightgbm_refuses_is_refused_before_any_job(params: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"model.params.{next(iter(params))}: LightGBM refuses"):
        LightGBM(params)


def test_default_parameters_are_accepted_without_importing_lightgbm() -> None:
    code = (
        "import sys; from hpcretrain.node.recipe import load_recipe\n"
        "load_recipe('lightgbm', {}); print('lightgbm' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_memory_that_lightgbm_was_refused_is_no_fault_of_the_parameters() -> None:
    with pytest.raises(MemoryError, match="bad_alloc"), memory_refused():
        raise lightgbm.basic.LightGBMError("std::bad_alloc")
    with pytest.raises(lightgbm.basic.LightGBMError, match="Unknown"), memory_refused():
        raise lightgbm.basic.LightGBMError("Unknown parameter")

from __future__ import annotations

import hashlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from hpcretrain.adapters.origin import Origin, code, environment, recipe_file


def test_the_environment_is_listed_by_name_and_number_and_named_by_its_digest() -> None:
    tags, text = environment()
    lines = text.splitlines()
    names = [line.partition("==")[0] for line in lines]
    assert names == sorted(set(names))
    assert f"mlflow=={version('mlflow')}" in lines
    assert f"hpcretrain=={version('hpcretrain')}" in lines
    assert tags["hpcretrain.environment_digest"] == hashlib.sha256(text.encode()).hexdigest()
    assert tags["hpcretrain.python"] == platform.python_version()


def test_code_names_the_source_and_a_recipe_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, recipe = tmp_path / "config.toml", tmp_path / "own_recipe_of_a_test.py"
    config.write_text("")
    recipe.write_text("x = 1\n")
    tags = code([config], "shown/config.toml", recipe)
    assert tags["mlflow.source.name"] == "shown/config.toml"
    assert tags["hpcretrain.recipe_sha256"] == hashlib.sha256(recipe.read_bytes()).hexdigest()
    assert {"hpcretrain.version", "hpcretrain.config_commit", "hpcretrain.recipe_commit", "mlflow.user"} <= set(tags)
    assert not any(name.startswith("hpcretrain.recipe") for name in code([config], "", None))

    monkeypatch.syspath_prepend(tmp_path)
    __import__("own_recipe_of_a_test")
    assert recipe_file("own_recipe_of_a_test:make") == recipe
    del sys.modules["own_recipe_of_a_test"]
    assert recipe_file("lightgbm") is None


def test_columns_become_a_schema_that_mlflow_shows() -> None:
    (column,) = json.loads(Origin(columns=[("amount", "double")]).schema)["mlflow_colspec"]
    assert (column["name"], column["type"]) == ("amount", "double")

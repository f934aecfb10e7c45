from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from jobs_for_tests import attempt, frame, job_folder

from hpcretrain.errors import ModelFileError
from hpcretrain.node.model import check
from hpcretrain.node.predict import LoadedModel

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"


def test_mlflow_loads_and_asks_a_model_of_any_recipe_and_refuses_an_altered_one(tmp_path: Path) -> None:
    import mlflow.pyfunc

    folder = job_folder(tmp_path)
    attempt(folder, 1)
    model = folder.lives()[0].model
    place = tmp_path / "mlflow"
    mlflow.pyfunc.save_model(
        place, loader_module="hpcretrain.node.pyfunc", data_path=str(model), pip_requirements=["lightgbm"]
    )
    rows = frame().drop(columns="__label__")
    expected = LoadedModel.load(model, check(model)).predict(rows)
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(str(place)).predict(rows), expected)

    path = next(place.rglob("model.txt"))
    whole = path.read_bytes()
    another = bytes([whole[-1] ^ 1])
    for altered in (whole[: len(whole) // 2], whole[:-1] + another, b""):
        path.write_bytes(altered)
        with pytest.raises(ModelFileError, match=r"model\.txt"):
            mlflow.pyfunc.load_model(str(place))
    assert "hpcretrain.node.pyfunc" in sys.modules

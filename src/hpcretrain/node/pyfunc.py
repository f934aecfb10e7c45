"""Loads a model's folder for MLflow (`loader_module="hpcretrain.node.pyfunc"`), whatever recipe made it."""

from __future__ import annotations

from pathlib import Path

from hpcretrain.node.model import check
from hpcretrain.node.predict import LoadedModel


def _load_pyfunc(path: str) -> LoadedModel:
    """The model in the folder `path`, of which MLflow calls `predict(frame)`.

    A user's recipe must be importable here as it was where the model was trained.

    Raises:
        ModelFileError: A file was altered, cut short, removed or added since the model was saved.
        InputError: The recipe cannot be imported.
    """
    folder = Path(path)
    return LoadedModel.load(folder, check(folder))

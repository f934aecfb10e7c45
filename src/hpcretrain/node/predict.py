"""The process that loads models and predicts, apart from the controller: a model's file can take its reader down.

Run as `python -m hpcretrain.node.predict FD`, where FD is a socket on which questions come, until it is closed.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcretrain.errors import HpcretrainError
from hpcretrain.node.model import Manifest, conform
from hpcretrain.node.model import verify as verify_model
from hpcretrain.node.recipe import AVERAGE, LIGHTGBM, Recipe, load_recipe

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.float64]

MODELS_KEPT = 4


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to predict."""

    manifest: Manifest
    recipe: Recipe
    model: Any

    @staticmethod
    def load(folder: Path, manifest: Manifest) -> LoadedModel:
        """The model in a folder whose files were checked and whose manifest is given."""
        recipe = load_recipe(manifest.recipe, manifest.params)
        return LoadedModel(manifest, recipe, recipe.load(folder))

    def predict(self, frame: pd.DataFrame) -> FloatArray:
        """Predictions, shape (rows,), not always finite: probabilities of class 1, or values.

        Args:
            frame: Features by name, shape (rows, columns), in any order; columns that the model does not know are left.

        Raises:
            InputError: A feature is missing.
            ValueError: The recipe gave something else than one number a row.
        """
        features = conform(frame, self.manifest.features, self.manifest.categorical)
        predictions = np.asarray(self.recipe.predict(self.model, features), dtype=np.float64)
        if predictions.shape != (len(frame),):
            raise ValueError(
                f'recipe "{self.manifest.recipe}" gave predictions of shape {predictions.shape} for {len(frame)} rows; '
                "it must give one number a row"
            )
        return predictions


class Answerer:
    """Answers questions with verified models, the last few of which stay loaded."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[str, LoadedModel] = OrderedDict()

    def answer(self, folder: str, digest: str, frame: pd.DataFrame) -> FloatArray | str:
        """Predictions, shape (rows,); or what is wrong with the model, as a sentence."""
        try:
            return self._model(Path(folder), digest).predict(frame)
        except HpcretrainError as error:
            return str(error)
        # A user's recipe may raise anything; the process that asked must hear of it and not wait for ever.
        except Exception as error:
            traceback.print_exc()
            return f"{folder}: the recipe cannot use this model: {type(error).__name__}: {error}"

    def _model(self, folder: Path, digest: str) -> LoadedModel:
        if digest not in self._loaded:
            manifest = verify_model(folder, digest)
            # The members of an average are mostly of the built-in recipe.
            if manifest.recipe in (LIGHTGBM, AVERAGE):
                from hpcretrain.node.lightgbm import import_light

                import_light()
            self._loaded[digest] = LoadedModel.load(folder, manifest)
            if len(self._loaded) > MODELS_KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(digest)
        return self._loaded[digest]


def main(descriptor: int) -> None:
    """Answer questions until nobody can ask any more."""
    # What a recipe prints must not stand among what the controller prints; an interrupt is the controller's to handle.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answerer = Answerer()
    with Connection(descriptor) as connection, suppress(EOFError, ConnectionError):
        while True:
            folder, digest, frame = connection.recv()
            connection.send(answerer.answer(folder, digest, frame))


if __name__ == "__main__":
    main(int(sys.argv[1]))

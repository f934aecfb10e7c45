"""The built-in recipe of averages: a model that predicts the mean of what several models predict.

Its folder holds the folders of its members, `member-0/` first, each whole and with its own manifest, so it can be
moved, checked and loaded without any of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcretrain.errors import InputError
from hpcretrain.node.model import Manifest, check, seal
from hpcretrain.node.recipe import AVERAGE, Recipe, TrainingData, load_recipe

if TYPE_CHECKING:
    import pandas as pd

FloatArray = npt.NDArray[np.float64]


def build(folder: Path, members: Sequence[Path]) -> str:
    """Make a model of copies of `members` in the empty `folder`; its digest.

    Args:
        folder: Where the average is to be.
        members: Folders of models for the same task and features; at least one.

    Raises:
        ModelFileError: A member's files are not as they were saved.
    """
    manifests = [check(member) for member in members]
    for number, member in enumerate(members):
        shutil.copytree(member, folder / f"member-{number}")
    first = manifests[0]
    return seal(folder, Manifest(AVERAGE, {}, first.task, first.features, first.categorical))


class Average:
    """The recipe "average". It is not trained: its members are."""

    passes = 1

    def train(self, data: TrainingData, *, seed: int, threads: int, resume: Path | None) -> Iterator[Any]:
        """Refuse.

        Raises:
            InputError: Always.
        """
        raise InputError(f'recipe "{AVERAGE}" cannot be trained; name the recipe of its members')

    def save(self, model: Any, folder: Path) -> None:
        """Refuse: `build` makes the folder.

        Raises:
            InputError: Always.
        """
        raise InputError(f'recipe "{AVERAGE}" cannot be saved; it is built of models that were')

    def load(self, folder: Path) -> list[tuple[Recipe, Any]]:
        """The members with their recipes.

        Raises:
            ModelFileError: A member's files are not as they were saved.
        """
        loaded = []
        for member in sorted(folder.glob("member-*"), key=lambda path: int(path.name.removeprefix("member-"))):
            manifest = check(member)
            recipe = load_recipe(manifest.recipe, manifest.params)
            loaded.append((recipe, recipe.load(member)))
        return loaded

    def predict(self, model: list[tuple[Recipe, Any]], features: pd.DataFrame) -> FloatArray:
        """The mean of the members' predictions, shape (rows,)."""
        predictions: FloatArray = np.mean([recipe.predict(member, features) for recipe, member in model], axis=0)
        return predictions

"""The contract of a recipe: how a model is trained, saved, loaded and asked. One is built in; users bring theirs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hpcretrain.errors import InputError
from hpcretrain.node.lean import bring_back

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

LIGHTGBM = "lightgbm"
"""Name of the built-in recipe."""

AVERAGE = "average"
"""Name of the recipe that loads averages of models; nobody trains it."""

_METHODS = ("train", "save", "load", "predict")


@dataclass(frozen=True)
class WarmStart:
    """The model to go on from: the folder into which the recipe's `save` wrote it; and by how many passes."""

    folder: Path
    passes: int


@dataclass(frozen=True)
class TrainingData:
    """Rows to learn from, in order of time.

    `features` has one column a feature, shape (rows, features): numbers as float64 (NaN where missing), and those named
    in `categorical` as objects (str, or None where missing). `target` is float64, shape (rows,); 0 or 1 where `task` is
    "binary", any number where it is "regression".

    `interrupted` tells whether this life is to end: a recipe with long segments may look at it within one and return,
    if the model that it yielded last is whole still. It is false until a segment was yielded.

    With a `start` the model goes on from another, by so many passes; only recipes whose `warm` is true are given one.
    """

    features: pd.DataFrame
    target: npt.NDArray[np.float64]
    categorical: tuple[str, ...]
    task: str
    interrupted: Callable[[], bool] = lambda: False
    start: WarmStart | None = None


class Recipe(Protocol):
    """How models of one kind are made and used.

    One that can go on from another of its models (`TrainingData.start`) has an attribute `warm` that is true.
    """

    passes: int
    """How often one training reads each row (boosting rounds, epochs): the unit of modeled cost."""

    def train(self, data: TrainingData, *, seed: int, threads: int, resume: Path | None) -> Iterator[Any]:
        """Yield the model after each segment, the finished one last, unless `data.interrupted` was heeded.

        A job can be killed at any moment and begun again. The model must come out the same, so whatever a segment needs
        from the one before must be in what `save` writes.

        Args:
            data: What to learn from; the same after each restart.
            seed: The same seed and data make the same model.
            threads: How many threads to use.
            resume: Folder into which `save` wrote the model of an earlier segment; None at the beginning. Where it is
                of the last segment, nothing need be yielded.
        """

    def save(self, model: Any, folder: Path) -> None:
        """Write a model that `train` yielded into an empty folder, the same bytes for the same model."""

    def load(self, folder: Path) -> Any:
        """The model that `save` wrote into `folder`."""

    def predict(self, model: Any, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Probabilities of class 1, or values, shape (rows,), for features as in `TrainingData`."""


def load_recipe(name: str, params: Mapping[str, Any], *, search_path: Path | None = None) -> Recipe:
    """The recipe called `name`, made with `params`.

    Args:
        name: "lightgbm", or a user's factory as "package.module:callable".
        params: Given to the factory as keyword arguments.
        search_path: A folder from which modules can be imported too, from now on and in this whole process.

    Raises:
        InputError: There is no such recipe, it refuses the parameters, or what it makes is no recipe.
    """
    if name == LIGHTGBM:
        from hpcretrain.node.lightgbm import LightGBM

        return LightGBM(params)
    if name == AVERAGE:
        from hpcretrain.node.average import Average

        return Average()
    if search_path is not None and str(search_path) not in sys.path:
        sys.path.insert(0, str(search_path))
    factory = _factory(name, search_path)
    try:
        recipe: Recipe = factory(**params)
    except (TypeError, ValueError) as error:
        given = ", ".join(sorted(params)) or "none"
        raise InputError(
            f'recipe "{name}" refuses its parameters (given: {given}): {error}; mend model.params'
        ) from error
    lacking = [method for method in _METHODS if not callable(getattr(recipe, method, None))]
    if lacking:
        raise InputError(
            f'recipe "{name}" made a {type(recipe).__name__} without {", ".join(lacking)}; see {__name__}.Recipe'
        )
    passes = getattr(recipe, "passes", None)
    if not isinstance(passes, int) or passes < 1:
        raise InputError(f'recipe "{name}": passes is {passes!r}; it must be a whole number, at least 1')
    return recipe


def require_warm(name: str, recipe: Recipe) -> None:
    """Look whether a recipe can go on from another model.

    Raises:
        InputError: It cannot.
    """
    if not getattr(recipe, "warm", False):
        raise InputError(
            f'recipe "{name}" cannot go on from another model: it has no `warm` that is true; leave warm_share out of '
            "the policy, or have its `train` heed TrainingData.start"
        )


def require_search(
    name: str, params: Mapping[str, Any], corners: Mapping[str, Sequence[Any]], *, search_path: Path | None = None
) -> None:
    """Look whether a recipe accepts what a tuned search may try, at no other cost a row.

    Each of the outermost values is tried alone, then all first ones together, and all last ones.

    Args:
        name: The recipe, as in `load_recipe`.
        params: The parameters in use.
        corners: The outermost values of each parameter that is searched.
        search_path: As in `load_recipe`.

    Raises:
        InputError: It refuses a value, or its passes depend on one.
    """
    passes = load_recipe(name, params, search_path=search_path).passes
    problems: list[str] = []

    def attempt(where: str, tried: Mapping[str, Any]) -> None:
        said = ", ".join(f"{parameter} = {value!r}" for parameter, value in tried.items())
        try:
            needed = load_recipe(name, {**params, **tried}, search_path=search_path).passes
        except InputError as error:
            problems.extend(f"{where}: {said} is refused: {each}" for each in error.problems)
            return
        if needed != passes:
            problems.append(
                f"{where}: with {said} a training takes {needed} passes in place of {passes}; what trials cost is "
                "reckoned by the passes, so leave it out of the search"
            )

    for parameter, values in corners.items():
        for value in values:
            attempt(f"model.search.{parameter}", {parameter: value})
    if not problems:
        for end in (0, -1):
            attempt("model.search", {parameter: values[end] for parameter, values in corners.items()})
    if problems:
        raise InputError(problems)


def _factory(name: str, search_path: Path | None) -> Any:
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise InputError(f'recipe "{name}" is not known; use "{LIGHTGBM}", or your own as "package.module:callable"')
    bring_back()
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        where = f"; put the module into {search_path} or install it" if search_path else "; install the module"
        raise InputError(f'recipe "{name}": cannot import {module_name}: {error}{where}') from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise InputError(f'recipe "{name}": {module_name} ({module.__file__}) has no callable "{attribute}"')
    return factory

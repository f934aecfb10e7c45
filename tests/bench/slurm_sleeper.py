"""A user's recipe that learns a mean and takes its time over it, without work: a job that lasts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class Sleeper:
    """See `hpcretrain.node.recipe.Recipe`. `lasts_s` is how long a training sleeps."""

    passes = 1

    def __init__(self, lasts_s: float) -> None:
        self._lasts_s = lasts_s

    def train(self, data: Any, *, seed: int, threads: int, resume: Path | None) -> Iterator[float]:
        """One segment."""
        time.sleep(self._lasts_s)
        yield float(data.target.mean())

    def save(self, model: float, folder: Path) -> None:
        """Write the mean."""
        (folder / "mean.txt").write_text(repr(model))

    def load(self, folder: Path) -> float:
        """Read the mean."""
        return float((folder / "mean.txt").read_text())

    def predict(self, model: float, features: Any) -> npt.NDArray[np.float64]:
        """The mean for all."""
        return np.full(len(features), model)

"""Predictions by a process of their own, so that a model that takes its reader down does not take the controller."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from hpcretrain.errors import ModelFileError
from hpcretrain.ports import FloatArray, Rows

if TYPE_CHECKING:
    import pandas as pd

_PATIENCE_S = 5.0


class FrameSource(Protocol):
    """A table that gives the features of rows."""

    def frame(self, rows: Rows) -> pd.DataFrame: ...


class _Memory:
    """Predictions of one model by position in the table; each row is predicted once."""

    def __init__(self) -> None:
        self._index: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._values: FloatArray = np.empty(0)

    def lacking(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.setdiff1d(index, self._index, assume_unique=True)

    def add(self, index: npt.NDArray[np.int64], values: FloatArray) -> None:
        both = np.concatenate([self._index, index])
        order = np.argsort(both, kind="stable")
        self._index, self._values = both[order], np.concatenate([self._values, values])[order]

    def recall(self, index: npt.NDArray[np.int64]) -> FloatArray:
        recalled: FloatArray = self._values[np.searchsorted(self._index, index)]
        return recalled


class _Child:
    """A running `hpcretrain.node.predict`.

    A plain process and not one of `multiprocessing`, which runs the caller's main script again in each: a user's script
    that starts a backtest without a main guard would start another one there.
    """

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hpcretrain.node.predict", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )

    @property
    def connection(self) -> Connection:
        return self._connection

    def end(self) -> int:
        """Close the connection, which ends the process; its return code."""
        self._connection.close()
        try:
            return self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class ModelPredictor:
    """Predicts with models that are loaded, by verified digest, in another process.

    Args:
        table: Gives the features of rows; a row's features do not change.
        models: Folder with one folder for each model, named by its digest.
    """

    def __init__(self, table: FrameSource, models: Path) -> None:
        self._table = table
        self._models = models
        self._memory: defaultdict[str, _Memory] = defaultdict(_Memory)
        self._child: _Child | None = None

    def predict(self, model_digest: str, rows: Rows) -> FloatArray:
        """Predictions, shape (rows,), as the model gives them, finite or not.

        Raises:
            ModelFileError: The model's files are missing or altered, or the model cannot be loaded or used.
        """
        memory = self._memory[model_digest]
        lacking = memory.lacking(rows.index)
        if len(lacking):
            part = Rows(rows.start, rows.end, lacking)
            memory.add(lacking, self._ask(model_digest, self._table.frame(part)))
        return memory.recall(rows.index)

    def close(self) -> None:
        """End the other process; it is started again when it is needed."""
        self._end()

    def __enter__(self) -> ModelPredictor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, model_digest: str, frame: pd.DataFrame) -> FloatArray:
        folder = self._models / model_digest
        self._child = self._child or _Child()
        connection = self._child.connection
        answer: FloatArray | str | None = None
        try:
            connection.send((str(folder), model_digest, frame))
            answer = connection.recv()
        except (EOFError, ConnectionError) as error:
            code = self._end()
            raise ModelFileError(
                f"{folder}: the process that was to predict with this model ended with code {code}; what it said is on "
                "standard error. Were its files or libraries replaced, or is memory short?"
            ) from error
        finally:
            if answer is None:
                # An answer that nobody waited for (interrupt) would be taken for that to the next question.
                self._end()
        if isinstance(answer, str):
            raise ModelFileError(answer)
        assert answer is not None
        return answer

    def _end(self) -> int | None:
        child, self._child = self._child, None
        return child.end() if child else None

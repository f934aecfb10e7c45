"""The cells of a column, split by type as whylogs splits them, but without a Python call for every cell.

Columns are split by dtype, and columns of objects by the distinct types in them. This leans on the inside of whylogs
1.6.4; a parity test holds it to `whylogs.log`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cached_property
from numbers import Number

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

# whylogs phones home when it is imported, unless this is set.
os.environ["WHYLOGS_NO_ANALYTICS"] = "1"

from whylogs.core.preprocessing import PreprocessedColumn

from hpcretrain.ports import FloatArray

ObjectArray = npt.NDArray[np.object_]


class Cells(PreprocessedColumn):  # type: ignore[misc]
    """What whylogs makes of a column before its metrics are updated, with what our own way of updating needs."""

    @classmethod
    def of(cls, series: pd.Series) -> Cells:
        """The cells of a column."""
        cells = cls()
        cells.len = len(series)
        split = _SPLIT.get(series.dtype.kind) if isinstance(series.dtype, np.dtype) else None
        if split is None or not split(cells, series):
            cells._pandas_split(series)
        return cells

    @cached_property
    def numbers(self) -> FloatArray:
        """Cells that are numbers, ascending; no NaN, no negative zero, and no booleans."""
        parts = [part for part in (self.numpy.floats, self.numpy.ints) if part is not None]
        numbers = np.concatenate([np.empty(0), *parts]).astype(np.float64, copy=False) + 0.0
        numbers.sort()
        return numbers

    @cached_property
    def texts(self) -> Mapping[str, int]:
        """How often each text occurs, in the order of first occurrence."""
        if self.pandas.strings is None or not len(self.pandas.strings):
            return {}
        counted = pc.value_counts(pa.array(self.pandas.strings, pa.large_string()))
        return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))

    @property
    def bools(self) -> dict[bool, int]:
        """How many cells are true, and how many are false."""
        return {True: self.bool_count_where_true, False: self.bool_count - self.bool_count_where_true}


def _split_floats(cells: Cells, series: pd.Series) -> bool:
    values = series.to_numpy()
    missing = np.isnan(values)
    cells.null_count = cells.nan_count = int(missing.sum())
    floats = (values[~missing] if cells.null_count else values).astype(np.float64, copy=False)
    cells.inf_count = int(np.isinf(floats).sum())
    cells.numpy.floats = floats
    return True


def _split_ints(cells: Cells, series: pd.Series) -> bool:
    cells.numpy.ints = series.to_numpy().astype(np.int64, copy=False)
    return True


def _split_bools(cells: Cells, series: pd.Series) -> bool:
    cells.bool_count, cells.bool_count_where_true = len(series), int(series.to_numpy().sum())
    return True


def _split_times(cells: Cells, series: pd.Series) -> bool:
    cells.pandas.objs = series[series.notna()]
    cells.null_count = len(series) - len(cells.pandas.objs)
    return True


def _split_objects(cells: Cells, series: pd.Series) -> bool:
    """Split by the types of the cells; False, with nothing done, if there are types that are told by their values."""
    values = series.to_numpy()
    if pd.api.types.infer_dtype(values, skipna=True) == "string":
        words = pa.array(values, pa.large_string(), from_pandas=True)
        _set_missing(cells, values[words.is_null().to_numpy(zero_copy_only=False)] if words.null_count else values[:0])
        cells.pandas.strings = pd.Series(words.drop_null(), dtype=pd.ArrowDtype(words.type))
        return True
    missing = pd.isna(values)
    present = values[~missing]
    masks = _masks(present)
    if masks is None:
        return False
    _set_missing(cells, values[missing])
    cells.pandas.strings = pd.Series(present[masks["strings"]], dtype=object)
    cells.numpy.floats = present[masks["floats"]].astype(np.float64)
    cells.inf_count = int(np.isinf(cells.numpy.floats).sum())
    cells.numpy.ints = present[masks["ints"]].astype(np.int64)
    cells.bool_count = int(masks["bools"].sum())
    cells.bool_count_where_true = int(present[masks["bools"]].sum())
    return True


def _set_missing(cells: Cells, missing: ObjectArray) -> None:
    """Count cells that hold nothing, and those among them that are a NaN and not a None, say."""
    types = Counter(map(type, missing))
    cells.null_count = len(missing)
    cells.nan_count = sum(count for kind, count in types.items() if issubclass(kind, Number | np.number))


def _masks(values: ObjectArray) -> dict[str, npt.NDArray[np.bool_]] | None:
    """Where the cells of each kind are, shape (cells,); None if a cell is of no kind."""
    places, types = pd.factorize(np.fromiter(map(type, values), dtype=object, count=len(values)))
    kinds = np.array([_kind(cell) for cell in types], dtype=object)
    if None in kinds:
        return None
    return {kind: (kinds == kind)[places] for kind in ("strings", "floats", "ints", "bools")}


def _kind(cell: type) -> str | None:
    if issubclass(cell, str):
        return "strings"
    if issubclass(cell, bool | np.bool_):
        return "bools"
    if issubclass(cell, float | np.floating | Decimal):
        return "floats"
    # A numpy timedelta is an integer to numpy, and none to whylogs.
    if issubclass(cell, int | np.integer) and not issubclass(cell, np.timedelta64):
        return "ints"
    return None


_SPLIT: dict[str, Callable[[Cells, pd.Series], bool]] = {
    "f": _split_floats,
    "i": _split_ints,
    "u": _split_ints,
    "b": _split_bools,
    "M": _split_times,
    "m": _split_times,
    "O": _split_objects,
}
"""By kind of dtype; False if the cells are left to whylogs' own, slow way, which knows tensors and other objects."""

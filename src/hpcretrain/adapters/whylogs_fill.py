"""whylogs' own metrics, filled a column at a time.

`whylogs.log` calls Python functions for every cell to tell types apart, and hands each occurrence of a text to its
sketches. Here cells are split by dtype, or by the distinct types in a column of objects; texts are counted once and
enter the sketches as distinct words with weights; KLL is given sorted numbers, which it takes five times as fast and
with no larger an error, since its guarantee holds for any order. What comes out is whylogs' own profile.

This leans on the inside of whylogs 1.6.4; a parity test holds it to `whylogs.log`.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from numbers import Number
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

# whylogs phones home when it is imported, unless this is set.
os.environ["WHYLOGS_NO_ANALYTICS"] = "1"

from whylogs.core import ColumnProfileView, DatasetProfileView
from whylogs.core.metadata import _populate_common_profile_metadata
from whylogs.core.metrics.maths import VarianceM2Result, parallel_variance_m2
from whylogs.core.metrics.metrics import CardinalityMetric, DistributionMetric, FrequentItemsMetric, Metric
from whylogs.core.preprocessing import PreprocessedColumn

from hpcretrain.ports import FloatArray

if TYPE_CHECKING:
    from whylogs.core import DatasetSchema

ObjectArray = npt.NDArray[np.object_]

# Above this many distinct items a sketch of 2^10 places forgets, and weights gain nothing.
_EXACT_ITEMS = 768

# It warns of every empty batch.
logging.getLogger("whylogs").setLevel(logging.ERROR)


class Cells(PreprocessedColumn):  # type: ignore[misc]
    """The cells of one column, split by type as whylogs splits them."""

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


def fill(frame: pd.DataFrame, schema: DatasetSchema, at: datetime) -> DatasetProfileView:
    """A profile of a frame with the metrics that a schema asks for, as `whylogs.log` would make it.

    Args:
        frame: The cells.
        schema: Gives metrics by column. Its validators, segments and user-defined functions are not looked at.
        at: The time that the data belong to.
    """
    schema.resolve(pandas=frame)
    columns = {}
    # Means of infinite cells are taken.
    with np.errstate(invalid="ignore", over="ignore"):
        for name in schema.get_col_names():
            metrics = schema.get(name).get_metrics(name)
            if name in frame:
                _fill(metrics.values(), Cells.of(frame[name]))
            columns[name] = ColumnProfileView(metrics)
    metadata = {**_populate_common_profile_metadata(), **schema.metadata}
    return DatasetProfileView(
        columns=columns, dataset_timestamp=at, creation_timestamp=datetime.now(UTC), metadata=metadata
    )


def _fill(metrics: Iterable[Metric], cells: Cells) -> None:
    for metric in metrics:
        fast = _FAST.get(type(metric))
        if fast is None:
            metric.columnar_update(cells)
        else:
            fast(metric, cells)


def _fill_distribution(metric: DistributionMetric, cells: Cells) -> None:
    sketch = metric.kll.value
    moments = VarianceM2Result(sketch.get_n(), metric.mean.value, metric.m2.value)
    for values in (cells.numbers, np.repeat([0.0, 1.0], [cells.bools[False], cells.bools[True]])):
        if len(values):
            sketch.update(array=values)
            added = VarianceM2Result(len(values), values.mean(), values.var() * len(values))
            moments = parallel_variance_m2(first=moments, second=added)
    metric.mean.set(moments.mean)
    metric.m2.set(moments.m2)


def _fill_cardinality(metric: CardinalityMetric, cells: Cells) -> None:
    """Repeated items change nothing in HLL; items go in by first occurrence, as whylogs hands them over."""
    sketch = metric.hll.value
    for array in (cells.numpy.ints, cells.numpy.floats):
        if array is not None:
            sketch.update_np(array)
    sketch.update_str_list(list(cells.texts))
    sketch.update_int_list([int(value) for value, count in cells.bools.items() if count])


def _fill_frequent_items(metric: FrequentItemsMetric, cells: Cells) -> None:
    sketch = metric.frequent_strings.value
    if cells.numpy.floats is not None:
        sketch.update_np(cells.numpy.floats)
    if cells.numpy.ints is not None:
        values, counts = np.unique(cells.numpy.ints, return_counts=True)
        if len(values) > _EXACT_ITEMS:
            sketch.update_np(cells.numpy.ints)
        else:
            _weigh(sketch, zip(map(str, values.tolist()), counts.tolist(), strict=True))
    texts = [(text[: metric.max_frequent_item_size], count) for text, count in cells.texts.items()]
    sketch.update_str_list([text for text, count in texts if count == 1])
    _weigh(sketch, (item for item in texts if item[1] > 1))
    _weigh(sketch, ((str(value), count) for value, count in cells.bools.items() if count))


def _weigh(sketch: Any, items: Iterable[tuple[str, int]]) -> None:
    for item, weight in items:
        sketch.update(item, weight)


_FAST: dict[type[Metric], Callable[[Any, Cells], None]] = {
    DistributionMetric: _fill_distribution,
    CardinalityMetric: _fill_cardinality,
    FrequentItemsMetric: _fill_frequent_items,
}


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

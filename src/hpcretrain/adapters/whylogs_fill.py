"""whylogs' own metrics, filled a column at a time.

`whylogs.log` hands every occurrence of a cell to its sketches. Here texts are counted once, and enter them as distinct
words with weights; KLL is given sorted numbers, which with the sorting takes it a third of the time, and no larger an
error, since its guarantee holds for any order. What comes out is whylogs' own profile.

This leans on the inside of whylogs 1.6.4; a parity test holds it to `whylogs.log`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

# First, since it keeps whylogs from phoning home.
from hpcretrain.adapters.whylogs_cells import Cells

# isort: split
from whylogs.core import ColumnProfileView, DatasetProfileView
from whylogs.core.metadata import _populate_common_profile_metadata
from whylogs.core.metrics.maths import VarianceM2Result, parallel_variance_m2
from whylogs.core.metrics.metrics import CardinalityMetric, DistributionMetric, FrequentItemsMetric, Metric

if TYPE_CHECKING:
    from whylogs.core import DatasetSchema

# Of more distinct items a sketch with whylogs' 2^10 places forgets some, and weights gain nothing.
_EXACT_ITEMS = 768


def fill(frame: pd.DataFrame, schema: DatasetSchema, at: datetime) -> DatasetProfileView:
    """A profile of a frame with the metrics that a schema asks for, as `whylogs.log` would make it.

    Args:
        frame: The cells.
        schema: Gives metrics by column; the columns that it names are profiled, or all if it names none. Its
            validators, segments and user-defined functions are not looked at.
        at: The time that the data belong to.
    """
    if not schema.get_col_names():
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

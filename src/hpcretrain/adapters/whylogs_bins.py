"""Exact counts in frozen bins as a custom whylogs metric, and the schema that puts it into a profile.

whylogs' own sketches are random and approximate; these counts are neither, travel in the same profile, and add up when
profiles are merged. Importing this module imports whylogs, which takes about a second.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

# First, since it keeps whylogs from phoning home.
from hpcretrain.adapters.whylogs_cells import Cells

# isort: split
import pandas as pd
from whylogs.core import DatasetProfileView, DatasetSchema
from whylogs.core.datatypes import DataType, Fractional, Integral, String, TypeMapper
from whylogs.core.metrics.aggregators import aggregator
from whylogs.core.metrics.metric_components import (
    CustomComponent,
    IntegralComponent,
    MaxIntegralComponent,
    MetricComponent,
    MinIntegralComponent,
)
from whylogs.core.metrics.metrics import Metric, OperationResult, register_metric
from whylogs.core.proto import MetricMessage
from whylogs.core.resolvers import StandardResolver

from hpcretrain.adapters.whylogs_fill import fill
from hpcretrain.ports import FloatArray

IntArray = npt.NDArray[np.int64]

NAMESPACE = "frozen_bins"

_LOWEST_ID, _HIGHEST_ID = 4101, 4102
_INT64 = np.iinfo(np.int64)
_LOWEST = np.finfo(np.float64).min


class Rule(Protocol):
    """How the cells of one column are sorted into frozen bins."""

    @property
    def cell(self) -> type:
        """What the cells should be: `float` or `str`."""

    @property
    def fingerprint(self) -> int:
        """Names the rule, 60 bits: counts under different rules cannot be added."""

    def tally(self, numbers: FloatArray, texts: Mapping[str, int]) -> Mapping[str, int]:
        """How many cells fall where; the same names for any cells.

        Args:
            numbers: Cells that are numbers, ascending, infinite ones among them, no NaN.
            texts: Cells that are text: how often each occurs.
        """


class _Lowest(CustomComponent[float]):  # type: ignore[misc]
    mtype = float
    type_id = _LOWEST_ID


class _Highest(CustomComponent[float]):  # type: ignore[misc]
    mtype = float
    type_id = _HIGHEST_ID


def _lower(lhs: float, rhs: float) -> float:
    return min(lhs, rhs)


def _higher(lhs: float, rhs: float) -> float:
    return max(lhs, rhs)


aggregator(type_id=_LOWEST_ID)(_lower)
aggregator(type_id=_HIGHEST_ID)(_higher)


class FrozenBins(Metric):  # type: ignore[misc]
    """Counts of one column by its rule, with rows, missing cells and the exact range.

    `least` and `greatest` are the extremes of a 64-bit name of each cell's value (a number's bits; for text 63 bits of
    its SHA-256): they are equal if all cells are. Without a rule, as read from a profile, it can be merged but not
    updated.
    """

    def __init__(self, components: Mapping[str, MetricComponent[Any]], rule: Rule | None = None) -> None:
        self.components = dict(components)
        self.rule = rule

    @classmethod
    def under(cls, rule: Rule) -> FrozenBins:
        """Counts of no cells yet under `rule`."""
        counted = ("rows", "missing", *rule.tally(np.empty(0), {}))
        return cls(
            {
                "rule": IntegralComponent(rule.fingerprint),
                "minimum": _Lowest(math.inf),
                "maximum": _Highest(-math.inf),
                "least": MinIntegralComponent(int(_INT64.max)),
                "greatest": MaxIntegralComponent(int(_INT64.min)),
                **{name: IntegralComponent(0) for name in counted},
            },
            rule,
        )

    @property
    def namespace(self) -> str:
        """Its name in profiles."""
        return NAMESPACE

    @classmethod
    def zero(cls, config: Any = None) -> FrozenBins:
        """Without a rule and without components."""
        return cls({})

    def columnar_update(self, data: Cells) -> OperationResult:
        """Count cells."""
        if data.len <= 0:
            return OperationResult.ok(0)
        if self.rule is None:
            raise ValueError("counts read from a profile have no rule to count more cells by")
        tally = dict(self.rule.tally(data.numbers, data.texts))
        tally["wrong_type"] += data.len - data.null_count - len(data.numbers) - sum(data.texts.values())
        for name, count in {"rows": data.len, "missing": data.null_count, **tally}.items():
            component = self.components[name]
            component.set(component.value + int(count))
        self._stretch(data.numbers, _names(data.texts))
        return OperationResult.ok(data.len)

    def _stretch(self, numbers: FloatArray, names: IntArray) -> None:
        finite = numbers[slice(*np.searchsorted(numbers, [_LOWEST, math.inf]))]
        if len(finite):
            self._set(min, "minimum", float(finite[0]))
            self._set(max, "maximum", float(finite[-1]))
        for values in (numbers.view(np.int64), names):
            if len(values):
                self._set(min, "least", int(values.min()))
                self._set(max, "greatest", int(values.max()))

    def _set(self, pick: Any, name: str, value: float) -> None:
        component = self.components[name]
        component.set(pick(component.value, value))

    def merge(self, other: FrozenBins) -> FrozenBins:
        """Counts of the cells of both.

        Raises:
            ValueError: They were counted under different rules.
        """
        if self.components["rule"].value != other.components["rule"].value:
            raise ValueError("counts under different frozen contracts cannot be merged")
        merged = {
            name: component if name == "rule" else component + other.components[name]
            for name, component in self.components.items()
        }
        return FrozenBins(merged, self.rule)

    def to_protobuf(self) -> MetricMessage:
        """As whylogs stores it."""
        return MetricMessage(metric_components={name: part.to_protobuf() for name, part in self.components.items()})

    @classmethod
    def from_protobuf(cls, msg: MetricMessage) -> FrozenBins:
        """As whylogs stored it, without the rule."""
        return cls({name: MetricComponent.from_protobuf(part) for name, part in msg.metric_components.items()})

    def get_component_paths(self) -> list[str]:
        """The names of its components; how many there are depends on the rule."""
        return list(self.components)

    def to_summary_dict(self, cfg: Any = None) -> dict[str, Any]:
        """Each component's value by name."""
        return {name: component.value for name, component in self.components.items()}


register_metric(FrozenBins)


def _names(texts: Mapping[str, int]) -> IntArray:
    """A hash of each text, shape (texts,); 0 and more."""
    hashes = pd.util.hash_array(np.array(list(texts), dtype=object), categorize=False)
    names: IntArray = (hashes >> np.uint64(1)).astype(np.int64)
    return names


class _Text(String):  # type: ignore[misc]
    """whylogs' own asks for `np.unicode_`, which numpy 2 lacks; frequent items need a subclass of `String`."""

    @classmethod
    def _do_match(cls, dtype_or_type: Any, maybe_type: Any = None) -> bool:
        return isinstance(dtype_or_type, type) and issubclass(dtype_or_type, str)


class _Types(TypeMapper):  # type: ignore[misc]
    def __call__(self, dtype_or_type: Any) -> DataType[Any]:
        for known in (Integral, Fractional, _Text):
            if known.match(dtype_or_type):
                return known()
        raise TypeError(f"a column of {dtype_or_type!r} cannot be profiled; cells are float or str")


class _Resolver(StandardResolver):  # type: ignore[misc]
    """whylogs' standard metrics by type, and frozen bins."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self.rules = rules

    def resolve(self, name: str, why_type: DataType[Any], column_schema: Any) -> dict[str, Metric]:
        return {**super().resolve(name, why_type, column_schema), NAMESPACE: FrozenBins.under(self.rules[name])}


@dataclass(frozen=True)
class Stored:
    """What a stored profile holds: text facts, and the components of each column's frozen bins by name."""

    facts: Mapping[str, str]
    columns: Mapping[str, Mapping[str, Any]]


def profile(frame: pd.DataFrame, rules: Mapping[str, Rule], at: datetime, facts: Mapping[str, str]) -> bytes:
    """A whylogs profile of a frame, serialized.

    Args:
        frame: The cells; every column that has a rule is profiled, whether or not there are rows.
        rules: By column.
        at: The time that the data belong to.
        facts: Metadata to store with it.
    """
    schema = DatasetSchema(
        types={name: rule.cell for name, rule in rules.items()},
        type_mapper=_Types(),
        resolvers=_Resolver(rules),
        metadata=dict(facts),
    )
    serialized: bytes = fill(frame, schema, at).serialize()
    return serialized


def read(serialized: bytes) -> Stored:
    """What a serialized profile, or a merge of several, holds."""
    view = DatasetProfileView.deserialize(serialized)
    return Stored(
        facts=dict(view.metadata),
        columns={name: column.get_metric(NAMESPACE).to_summary_dict() for name, column in view.get_columns().items()},
    )


def merged(serialized: Sequence[bytes]) -> bytes:
    """One profile of several; counts add up exactly, sketches within their error.

    Raises:
        ValueError: They were counted under different rules.
    """
    total, *others = (_unbounded(DatasetProfileView.deserialize(each)) for each in serialized)
    with np.errstate(invalid="ignore", over="ignore"):
        for other in others:
            total = total.merge(other)
    whole: bytes = total.serialize()
    return whole


def _unbounded(view: DatasetProfileView) -> DatasetProfileView:
    """Moments as numpy's floats, which become infinite where Python's raise: a huge cell must not stop a merge."""
    for column in view.get_columns().values():
        distribution = column.get_metric("distribution")
        if distribution is not None:
            for moment in (distribution.mean, distribution.m2):
                moment.set(np.float64(moment.value))
    return view


def with_facts(serialized: bytes, facts: Mapping[str, str]) -> bytes:
    """The same profile with further text facts."""
    view = DatasetProfileView.deserialize(serialized)
    view.metadata.update(facts)
    whole: bytes = view.serialize()
    return whole

"""The contract of a reference: frozen rules by which the cells of each column are sorted into bins."""

from __future__ import annotations

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from hpcretrain.canonical import canonical, sha256
from hpcretrain.ports import FloatArray

if TYPE_CHECKING:
    import pandas as pd

IntArray = npt.NDArray[np.int64]

MAX_BINS = 10
"""Bins of a number inside its plausible range."""

KEPT_CATEGORIES = 50
"""Most frequent categories that have bins of their own."""

_LARGEST = float(np.finfo(np.float64).max)


class _Rule(ABC):
    """What the rules of both kinds of columns have in common."""

    @property
    @abstractmethod
    def payload(self) -> dict[str, Any]:
        """The rule as JSON can hold it."""

    @cached_property
    def fingerprint(self) -> int:
        """60 bits that name the rule."""
        return int(sha256(canonical(self.payload))[:15], 16)

    @abstractmethod
    def places(self, cells: pd.Series) -> IntArray:
        """The bin of each cell, shape (cells,): those of `tally`, then one of missing cells, one of what fits none."""


@dataclass(frozen=True)
class NumberRule(_Rule):
    """Bins of a number: below `low`, between the `inner` edges, above `high`.

    An inner edge belongs to the bin above it; `low` and `high` are plausible. None without a finite number in the
    reference: then no number is plausible.
    """

    low: float | None
    inner: tuple[float, ...]
    high: float | None
    minimum: float | None
    maximum: float | None

    cell = float

    @staticmethod
    def freeze(values: FloatArray, range_slack: float) -> NumberRule:
        """The rule for a column.

        Args:
            values: Numbers of the reference; those that are not finite do not matter.
            range_slack: Spans beyond the range that are plausible.
        """
        finite = values[np.isfinite(values)] + 0.0
        if not len(finite):
            return NumberRule(None, (), None, None, None)
        least, greatest = float(finite.min()), float(finite.max())
        span = min(greatest - least, _LARGEST) or max(abs(least), 1.0)
        return NumberRule(
            low=max(least - range_slack * span, -_LARGEST),
            inner=_inner_edges(finite),
            high=min(greatest + range_slack * span, _LARGEST),
            minimum=least,
            maximum=greatest,
        )

    @property
    def payload(self) -> dict[str, Any]:
        """The rule as JSON can hold it."""
        return {"kind": "number", **dataclasses.asdict(self)}

    def tally(self, numbers: FloatArray, texts: Mapping[str, int]) -> Mapping[str, int]:
        """Counts of cells by bin, and of cells that fit none; numbers are ascending."""
        edges = self._edges
        places = np.searchsorted(numbers, [-_LARGEST, *edges, math.inf])
        lowest, *bins, highest = np.diff(places, prepend=0, append=len(numbers)).tolist()
        return {
            "infinite": lowest + highest,
            "wrong_type": sum(texts.values()),
            "unseen": 0,
            **_by_bin(bins if edges else [0, 0, *bins]),
        }

    def places(self, cells: pd.Series) -> IntArray:
        """The bin of each cell: below, between and above the edges, missing, and infinite or text."""
        values = cells.to_numpy()
        texts = np.zeros(len(values), dtype=np.bool_)
        if values.dtype == object:
            texts = np.fromiter((isinstance(cell, str) for cell in values), dtype=np.bool_, count=len(values))
            values = np.where(texts, math.nan, values).astype(np.float64)
        edges = self._edges
        missing = len(edges) + 1 if edges else 3
        found = np.searchsorted(edges, values, side="right") if edges else np.full(len(values), 2)
        found[np.isnan(values)] = missing
        found[np.isinf(values) | texts] = missing + 1
        return found.astype(np.int64)

    @property
    def _edges(self) -> list[float]:
        if self.low is None or self.high is None:
            return []
        return [self.low, *self.inner, math.nextafter(self.high, math.inf)]


@dataclass(frozen=True)
class CategoryRule(_Rule):
    """Bins of a category: one for each of the first of `known` (most frequent first), and one for the rest."""

    known: tuple[str, ...]

    cell = str

    @staticmethod
    def freeze(values: list[str]) -> CategoryRule:
        """The rule for a column, from the reference's cells."""
        counts = Counter(values)
        return CategoryRule(tuple(sorted(counts, key=lambda name: (-counts[name], name))))

    @property
    def payload(self) -> dict[str, Any]:
        """The rule as JSON can hold it."""
        return {"kind": "category", "known": list(self.known), "kept": len(self.known[:KEPT_CATEGORIES])}

    @cached_property
    def _bin(self) -> dict[str, int]:
        return {name: min(place, KEPT_CATEGORIES) for place, name in enumerate(self.known)}

    def tally(self, numbers: FloatArray, texts: Mapping[str, int]) -> Mapping[str, int]:
        """Counts of cells by bin, and of cells that fit none."""
        bins = [0] * (len(self.known[:KEPT_CATEGORIES]) + 1)
        unseen = 0
        for name, count in texts.items():
            if name in self._bin:
                bins[self._bin[name]] += count
            else:
                unseen += count
        return {"infinite": 0, "wrong_type": len(numbers), "unseen": unseen, **_by_bin(bins)}

    def places(self, cells: pd.Series) -> IntArray:
        """The bin of each cell: a kept category, the other known ones, missing, and unknown or a number."""
        missing = len(self.known[:KEPT_CATEGORIES]) + 1
        codes, names = cells.factorize()
        # Code -1, of missing cells, is the last.
        of_code = [self._bin.get(name, missing + 1) for name in names] + [missing]
        places: IntArray = np.array(of_code, dtype=np.int64)[codes]
        return places


def _by_bin(counts: list[int]) -> dict[str, int]:
    return {f"bin:{place}": count for place, count in enumerate(counts)}


def _inner_edges(finite: FloatArray) -> tuple[float, ...]:
    """Edges between few distinct values; else deciles that are values themselves (inverse of the empirical CDF)."""
    distinct = np.unique(finite)
    if len(distinct) <= MAX_BINS:
        middles = distinct[:-1] / 2 + distinct[1:] / 2
        # Between neighboring floats there is none; the upper one still separates them.
        return tuple(np.where(middles > distinct[:-1], middles, distinct[1:]).tolist())
    deciles = np.quantile(finite, np.arange(1, MAX_BINS) / MAX_BINS, method="inverted_cdf")
    return tuple(edge for edge in np.unique(deciles).tolist() if edge > distinct[0])


@dataclass(frozen=True)
class Contract:
    """What the reference says that columns are like."""

    range_slack: float
    rules: Mapping[str, NumberRule | CategoryRule]

    @cached_property
    def body(self) -> str:
        """The contract as canonical JSON."""
        columns = [{"name": name, **rule.payload} for name, rule in self.rules.items()]
        return canonical({"format": 1, "range_slack": self.range_slack, "columns": columns})

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the body."""
        return sha256(self.body)

    @staticmethod
    def parse(body: str) -> Contract:
        """The contract that canonical JSON holds."""
        content = json.loads(body)
        rules: dict[str, NumberRule | CategoryRule] = {}
        for column in content["columns"]:
            if column["kind"] == "number":
                bounds = {name: column[name] for name in ("low", "high", "minimum", "maximum")}
                rules[column["name"]] = NumberRule(inner=tuple(column["inner"]), **bounds)
            else:
                rules[column["name"]] = CategoryRule(tuple(column["known"]))
        return Contract(content["range_slack"], rules)

"""whylogs' standard metrics for frames of any types."""

from __future__ import annotations

from typing import Any

import pandas as pd

# First, since it keeps whylogs from phoning home.
from hpcretrain.adapters import whylogs_fill

# isort: split
from whylogs.core import DatasetSchema
from whylogs.core.datatypes import AnyType, DataType, Fractional, Integral, String, TypeMapper

__all__ = ["standard_schema", "whylogs_fill"]


class _Text(String):  # type: ignore[misc]
    """whylogs' own asks for `np.unicode_`, which numpy 2 lacks."""

    @classmethod
    def _do_match(cls, dtype_or_type: Any, maybe_type: Any = None) -> bool:
        return pd.api.types.is_object_dtype(dtype_or_type) or isinstance(
            dtype_or_type, pd.StringDtype | pd.CategoricalDtype
        )


class _Types(TypeMapper):  # type: ignore[misc]
    def __call__(self, dtype_or_type: Any) -> DataType:
        return next(known() for known in (Integral, Fractional, _Text, AnyType) if known.match(dtype_or_type))


def standard_schema(**metadata: str) -> DatasetSchema:
    """A new schema with whylogs' standard metrics for each column's dtype."""
    return DatasetSchema(type_mapper=_Types(), metadata=metadata)

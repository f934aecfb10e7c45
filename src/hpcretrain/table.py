"""What the tables of files are made of that people write: policies, configurations, cluster profiles."""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator

_NUMBERS = frozenset({int, float, NoneType})


class Table(BaseModel):
    """A table whose keys are all known, and in which numbers are written as numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse what would silently become something else: `true` the number 1, and the text "300" a number."""
        kinds = _kinds_of(cls, str(info.field_name))
        for each in value if isinstance(value, list | tuple) else (value,):
            if isinstance(each, bool | str) and kinds <= _NUMBERS:
                raise ValueError("must be a number, without quotes")
            if isinstance(each, int | float | str) and not isinstance(each, bool) and kinds <= {bool, NoneType}:
                raise ValueError("must be true or false, without quotes")
        return value


@cache
def _kinds_of(table: type[Table], field: str) -> frozenset[Any]:
    return _kinds(table.model_fields[field].annotation)


def _kinds(annotation: Any) -> frozenset[Any]:
    """The types that a value, or each of several, may have."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kinds(parts[0])
    if origin is Literal:
        return frozenset(map(type, parts))
    if not parts or origin is dict:
        return frozenset({origin or annotation})
    return frozenset().union(*(_kinds(each) for each in parts if each is not ...))

"""Frozen data and its canonical form: the same content gives the same text, everywhere."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

_JSON = frozenset({str, int, float, bool, type(None)})
"""Types of values that JSON can hold."""
_CLEAN: set[type] = {str, int, bool, type(None)}
"""Types of values that are recorded as they are: these, and each enum and frozen type that has come along."""


def rounded(value: float) -> float:
    """`value` to nine significant digits; the noise of the last bits would make identifiers differ."""
    # Whole numbers below 1e9 have no more digits.
    if not math.isfinite(value) or (value.is_integer() and -1e9 < value < 1e9):
        return float(value)
    return float(f"{value:.9g}")


def utc(moment: datetime) -> datetime:
    """`moment` in UTC.

    Raises:
        ValueError: It has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC)


@dataclass(frozen=True)
class Plain:
    """Frozen data whose floats are rounded and whose times are aware and in UTC."""

    def __post_init__(self) -> None:
        # Records are made by the ten thousand; nothing but fields is here yet.
        values = self.__dict__
        for name, value in values.items():
            kind = value.__class__
            if kind is float:
                # Most have no more digits than that. What is not finite is no whole number.
                if not (value.is_integer() and -1e9 < value < 1e9):
                    values[name] = _clean(value)
            elif kind not in _CLEAN:
                values[name] = _clean(value)


@cache
def _names(kind: Any) -> tuple[str, ...]:
    # mypy takes the hash of a class's objects for that of the class.
    return tuple(field.name for field in dataclasses.fields(kind))


def _clean(value: Any) -> Any:
    kind = value.__class__
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} cannot be recorded: give None and a finding that says why")
        return rounded(value)
    if kind in _CLEAN:
        return value
    if isinstance(value, _AS_IT_IS):
        _CLEAN.add(kind)
        return value
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, Mapping):
        return {key: _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_clean(item) for item in value)
    raise TypeError(f"{type(value).__name__} cannot be recorded")


_AS_IT_IS = (str, int, enum.Enum, Plain)


def plain(value: Any) -> Any:
    """`value` as what JSON can hold: objects, lists, strings, numbers; times as ISO 8601 in UTC with a Z."""
    if value.__class__ in _JSON:
        return value
    if isinstance(value, Plain):
        return {name: plain(getattr(value, name)) for name in _names(type(value))}  # type: ignore[arg-type]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime):
        return utc(value).isoformat().replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    return value


def canonical(value: Any) -> str:
    """`value` as JSON with sorted keys, no spaces, and no NaN or infinity."""
    return written(plain(value))


def written(content: Any) -> str:
    """What `plain` gave, as `canonical` writes it."""
    return _ENCODER.encode(content)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256(text: str) -> str:
    """The SHA-256 of `text` in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()

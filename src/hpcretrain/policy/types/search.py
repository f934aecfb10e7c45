"""What a tuned search may vary: parameters of a recipe, each within bounds."""

from __future__ import annotations

import math
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from hpcretrain.policy.types.tables import Rules

Value = bool | int | float | str
"""A parameter of a recipe."""

_LARGEST = 10**15
"""Whole numbers beyond it are not exact as floats."""


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        raise ValueError(f"must be a number from {-_LARGEST:.0e} to {_LARGEST:.0e}")
    return value


Number = Annotated[int | float, BeforeValidator(_number)]

Trials = Annotated[int, Field(ge=1, le=64)]


class Dimension(Rules):
    """The values of one parameter that a search may try: from `low` to `high`, or `choices`.

    Between whole numbers all values are whole.
    """

    low: Number | None = Field(default=None, description="The least.")
    high: Number | None = Field(default=None, description="The greatest.")
    log: bool = Field(default=False, description="Whether it varies by factors, as a rate does, and not by steps.")
    choices: tuple[Value, ...] | None = Field(
        default=None, min_length=2, description="The values themselves, in place of `low` and `high`."
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("give low and high, or choices, not both")
            if any(isinstance(each, float) and not math.isfinite(each) for each in self.choices):
                raise ValueError("choices: one is not finite")
            if len({(type(each), each) for each in self.choices}) < len(self.choices):
                raise ValueError("choices: one is there twice")
        elif self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        elif not self.low < self.high:
            raise ValueError(f"low is {self.low} and high {self.high}: low must be less")
        elif self.log and self.low <= 0:
            raise ValueError(f"low is {self.low}: what varies by factors is above 0")
        return self

    @property
    def corners(self) -> tuple[Value, ...]:
        """The outermost values, or all choices: a recipe must accept each."""
        if self.choices is not None:
            return self.choices
        return self._bounds

    @property
    def _bounds(self) -> tuple[int | float, int | float]:
        # A dimension without choices has both, or it is refused.
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def at(self, share: float) -> Value:
        """The value at a place from 0 to 1; of a range that is not whole, with three digits of what it spans."""
        if self.choices is not None:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        low, high = self._bounds
        if isinstance(low, int) and isinstance(high, int):
            # Each whole number has the same room, on the scale of the range.
            first, end = (math.log(low), math.log(high + 1)) if self.log else (low, high + 1)
            place = first + (end - first) * share
            return min(max(math.floor(math.exp(place) if self.log else place), low), high)
        value = low * (high / low) ** share if self.log else low + (high - low) * share
        digits = 2 - math.floor(math.log10(min(high - low, value) if self.log else high - low))
        return min(max(round(value, digits), float(low)), float(high))

    def holds(self, value: Value) -> bool:
        """Whether a search over it may come to a value."""
        if self.choices is not None:
            return any(type(each) is type(value) and each == value for each in self.choices)
        low, high = self._bounds
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and low <= value <= high  # type: ignore[operator]

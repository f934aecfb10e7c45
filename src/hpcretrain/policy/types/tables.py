"""What the tables of a policy file are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from hpcretrain.priority import BUILT_IN, PriorityClass
from hpcretrain.table import Table

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0.001, le=1_000_000)]
"""A length of time, from seconds to a century."""
Days = Annotated[float, Field(gt=0, le=36_500)]
Points = Annotated[int, Field(ge=0, le=1000)]
Alpha = Annotated[float, Field(gt=0, lt=0.5)]
Reason = Annotated[str, Field(min_length=1, max_length=400)]


class Rules(Table):
    """A table of a policy."""


class ByClass(Rules):
    """A table with an entry for each class: the three that there always are, and those that a site names."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def further(self) -> dict[str, Any]:
        """The entries of classes that a site names."""
        return self.model_extra or {}

    def entry(self, priority_class: PriorityClass) -> Any:
        """What is said of a class; of one that is not named here, what is said of the background."""
        further = self.further
        if priority_class in further:
            return further[priority_class]
        return getattr(self, priority_class if priority_class in BUILT_IN else PriorityClass.BACKGROUND)

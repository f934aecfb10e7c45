"""The scope ladder: what is trained, and how many compete, when there is less time, room or headroom."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hpcretrain.policy.types.search import Trials
from hpcretrain.policy.types.tables import Reason, Rules, Share

WindowName = Literal["all", "recent", "decayed"]


class Rung(Rules):
    """One way to retrain. What is checked of a candidate, and at which level, is the same on every rung."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$", description="Name of the rung.")
    windows: Annotated[tuple[WindowName, ...], Field(min_length=1)] = Field(
        description="Ways to draw training rows; one pilot each competes: fewer is a lighter validation."
    )
    pilot_rows: int = Field(ge=200, description="Most rows that a pilot reads.")
    full_rows: int = Field(ge=200, description="Most rows that the full fit of a winner reads.")
    average_with: Annotated[int, Field(ge=0, le=5)] = Field(
        description="Each pilot also competes averaged with the fits of this many recent releases."
    )
    warm_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Warm start, as in `training`. Left out: each fit begins from nothing."
    )
    most_warm_starts: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Warm starts in a row, as each makes the model larger, after which this rung is passed over. "
        "Left out: any number.",
    )
    trials: Trials | None = Field(default=None, description="Tuned search, as in `training`. Left out: none.")
    hours_share: Annotated[float, Field(gt=0, le=1)] = Field(
        description="Share of the expected hours of a retraining that this rung takes."
    )
    most_load: Share | None = Field(
        default=None,
        description="Load of the cluster (`admission.headroom.load`) up to which it is taken. Left out: any.",
    )
    reason: Reason = Field(description="Why there is such a rung.")

"""The priority classes: which requests are of which class, and what each class may do."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from hpcretrain.evidence import PriorityClass
from hpcretrain.policy.types.tables import Hours, NotNegative, Points, Positive, Reason, Rules, Share


class ClassRule(Rules):
    """A request is of the class where all that is said here holds."""

    score: Points | None = Field(default=None, description="Score, at least.")
    impact: Share | None = Field(default=None, description="Business impact (`score.business.impact`), at least.")
    slack_hours: NotNegative | None = Field(
        default=None, description="Hours that a deadline leaves beside the expected duration, at most."
    )
    duration_hours: Hours | None = Field(default=None, description="Expected duration of the retraining, at most.")
    reason: Reason = Field(description="Why such a request is of this class.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.score is None and self.impact is None and self.slack_hours is None and self.duration_hours is None:
            raise ValueError("says nothing: give score, impact, slack_hours or duration_hours")
        return self


class ClassLimits(Rules):
    """What one priority class may do."""

    when: tuple[ClassRule, ...] = Field(
        default=(), description="Rules of which one must hold; the most urgent class with one that holds is taken."
    )
    cooldown_batches: int = Field(ge=0, description="Batches to wait after the last training that was ordered.")
    fits_per_30d: Positive = Field(description="Budget: full fits of `full_rows` rows at most, within any 30 days.")


class Classes(Rules):
    """The priority classes."""

    urgent: ClassLimits
    standard: ClassLimits
    background: ClassLimits
    expected_hours: Hours = Field(
        description="Duration of a retraining that is reckoned with before any was measured, from request to release."
    )
    cooldown_growth: Annotated[float, Field(ge=1)] = Field(
        description="Factor on the cooldown for each candidate rejected since the last release."
    )
    cooldown_max_batches: int = Field(ge=1, description="Longest cooldown.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.background.when:
            raise ValueError("background.when: what is of no other class is of this one; it has no rules")
        return self

    def limits(self, priority_class: PriorityClass) -> ClassLimits:
        """The limits of a class."""
        limits: ClassLimits = getattr(self, priority_class.value)
        return limits

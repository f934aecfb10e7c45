"""The priority classes: which requests are of which class, and what each class may do."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from hpcretrain.policy.types.tables import ByClass, Hours, NotNegative, Points, Positive, Reason, Rules, Share
from hpcretrain.priority import PriorityClass, lined_up


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


class FurtherClass(ClassLimits):
    """What a class that a site names may do, and where it stands among the others."""

    below: str = Field(description="The class right after which it comes in urgency; background stays the last.")


class Classes(ByClass):
    """The priority classes. A site may name more, each in a table `[classes.NAME]` with the key `below`, too."""

    __pydantic_extra__: dict[str, FurtherClass] = Field(init=False)

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
        _ = self.order
        return self

    @property
    def order(self) -> tuple[PriorityClass, ...]:
        """All classes, most urgent first."""
        return lined_up({name: each.below for name, each in self.further.items()})

    def known(self, priority_class: PriorityClass) -> PriorityClass:
        """The class itself; the background where this policy has no such class, as for all that no class claims."""
        return priority_class if priority_class in self.order else PriorityClass.BACKGROUND

    def rank(self, priority_class: PriorityClass) -> int:
        """The place of a class in the order; 0 is the most urgent."""
        return self.order.index(self.known(priority_class))

    def limits(self, priority_class: PriorityClass) -> ClassLimits:
        """The limits of a class."""
        limits: ClassLimits = self.entry(priority_class)
        return limits

"""From signals to one score: the part of a policy that says how urgent a model's state is."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from hpcretrain.evidence import Family
from hpcretrain.policy.types.tables import Hours, NotNegative, Points, Positive, Reason, Rules, Share


class Cure(enum.Enum):
    """What helps against what a family of signals tells."""

    RETRAIN = "retrain"
    """The model got worse: its families make up the score of decline."""
    LEARN = "learn"
    """There is more to learn from: retraining may gain, in the background."""
    MEND_DATA = "mend_data"
    """What the model reads is broken; retraining would learn the damage."""
    INVESTIGATE = "investigate"
    """Nobody knows yet."""


class FamilyRule(Rules):
    """How one family of signals counts."""

    weight: Share = Field(description="Share of the full score that the family reaches alone.")
    scale: Positive = Field(description="Effect that counts in full; smaller effects count in proportion.")
    z: NotNegative = Field(default=0.0, description="Standard errors taken off an effect before it counts.")
    min_n: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Rows that a signal must rest on; one of fewer counts as not measured."
    )
    cure: Cure = Field(description='What helps: "retrain", "learn", "mend_data" or "investigate".')
    of: tuple[Family, ...] = Field(
        default=(), description="Families of signals that are counted here. Default: the one of this name."
    )
    reason: Reason = Field(description="Why it counts so much.")


class Business(Rules):
    """What a decline costs those whom the model serves."""

    impact: Share = Field(default=1.0, description="Factor on the score: how much depends on this model, 0 to 1.")
    error_budget_hours: Hours | None = Field(
        default=None,
        description="Hours of full decline that are borne before an agreement is broken. Left out: there is none.",
    )
    most_pressure: NotNegative = Field(
        default=0.0, description="How much more a decline counts when the error budget leaves no time to retrain."
    )
    reason: Reason = Field(description="Why.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.most_pressure > 0 and self.error_budget_hours is None:
            raise ValueError("most_pressure needs error_budget_hours: without a budget nothing presses")
        return self


class Score(Rules):
    """From signals to one number between 0 and 1000."""

    threshold: int = Field(ge=1, le=1000, description="Score of decline at which a retraining is requested.")
    withdraw_below: Points = Field(description="Score below which a waiting request is withdrawn.")
    sustain_slots: Annotated[int, Field(ge=1)] = Field(
        description="Slots in a row in which the threshold must be reached."
    )
    act_from: Points = Field(
        description="Points of a family that retraining does not cure from which its own cure is called for."
    )
    abrupt: Positive = Field(
        description="Rise of performance, calibration or predictions from one slot to the next, in their full scales, "
        "from which a person is asked to look."
    )
    abrupt_slots: Annotated[int, Field(ge=0)] = Field(
        description="Slots for which an abrupt rise holds retraining back, for that person to look."
    )
    roll_back_slots: Annotated[int, Field(ge=0)] = Field(
        description="Slots after a release in which an abrupt rise is laid to it and asks for a roll-back."
    )
    broken_slots: Annotated[int, Field(ge=1)] = Field(
        description="Slots for which a number that is not finite holds everything back; after them it is silence."
    )
    half_life_batches: Annotated[float, Field(gt=0.01, le=1000)] = Field(
        description="Slots (batches) after which evidence counts half."
    )
    slot_hours: Hours = Field(description="Hours of a slot, for signals that come without batches.")
    memory_slots: Annotated[int, Field(ge=1, le=10_000)] = Field(
        description="Slots that are looked back on at most, for signals that come without batches."
    )
    min_rows: int = Field(ge=2, description="Rows that a measurement needs; smaller batches are taken together.")
    max_rows: int = Field(ge=2, description="Newest rows on which a sustained decline is measured.")
    min_class_rows: int = Field(ge=2, description="Labels of the rarer class that a measurement needs.")
    families: dict[str, FamilyRule] = Field(description="How each family counts.")
    business: Business | None = Field(
        default=None, description="What a decline costs. Left out: every model counts in full, and nothing presses."
    )

    @field_validator("families")
    @classmethod
    def _in_order(cls, families: dict[str, FamilyRule]) -> dict[str, FamilyRule]:
        # The order in which a file names them must not show in what is recorded.
        order = [family.value for family in Family]
        return dict(
            sorted(
                families.items(), key=lambda each: (order.index(each[0]) if each[0] in order else len(order), each[0])
            )
        )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = []
        if self.withdraw_below > self.threshold:
            problems.append("withdraw_below must not be above threshold: a request would be withdrawn at once")
        counted: dict[Family, str] = {}
        for name, rule in self.families.items():
            known = {family.value for family in Family}
            if not rule.of and name not in known:
                problems.append(f'families.{name}: is no family of signals; say which it counts in "of"')
                continue
            for family in rule.of or (Family(name),):
                if family in counted:
                    problems.append(f"families.{name}: {family.value} is counted in {counted[family]} already")
                counted.setdefault(family, name)
        missing = [family.value for family in Family if family not in counted]
        if missing:
            problems.append(f"families: {', '.join(missing)} counted nowhere; a weight of 0 leaves one out")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @cached_property
    def names(self) -> Mapping[Family, str]:
        """The name under which each family of signals is counted."""
        return {family: name for name in self.families for family in self.families_of(name)}

    @cached_property
    def rules(self) -> Mapping[Family, FamilyRule]:
        """How each family of signals counts."""
        return {family: self.families[name] for family, name in self.names.items()}

    @cached_property
    def cures(self) -> Mapping[Cure, tuple[str, ...]]:
        """The names of the families that each cure helps against."""
        return {cure: tuple(name for name, rule in self.families.items() if rule.cure is cure) for cure in Cure}

    def families_of(self, name: str) -> tuple[Family, ...]:
        """The families of signals that are counted under a name."""
        return self.families[name].of or (Family(name),)

    def counted(self, family: Family) -> str:
        """The name under which a family of signals is counted."""
        return self.names[family]

    def rule(self, family: Family) -> FamilyRule:
        """How a family of signals counts."""
        return self.rules[family]

    def cured_by(self, cure: Cure) -> tuple[str, ...]:
        """The names of the families that `cure` helps against."""
        return self.cures[cure]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As of pydantic; a copy derives anew what is derived from its fields."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("names", "rules", "cures"):
            copied.__dict__.pop(name, None)
        return copied

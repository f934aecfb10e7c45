"""Admission: what several requests share, and by which rules they get it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from hpcretrain.policy.types.tables import ByClass, Days, Hours, NotNegative, Points, Positive, Reason, Rules, Share
from hpcretrain.policy.types.worth import OperationalRisk, Worth
from hpcretrain.priority import BUILT_IN, PriorityClass

Count = Annotated[int, Field(ge=1)]


class ClassAdmission(Rules):
    """What the requests of one priority class get of what is shared."""

    most_running: Count = Field(description="Trainings of the class that may be under way at once.")
    delay_hours: NotNegative = Field(
        description="A request's turn is the time it was asked plus this: it is overtaken only by requests that were "
        "asked at most so many hours after it."
    )
    needs_window: bool = Field(default=False, description="Whether a training begins only inside a planned window.")
    risk_points: NotNegative = Field(default=0, description="Points of the risk budget that a release of it spends.")
    hour_price: NotNegative | None = Field(
        default=None, description="Price of a CPU hour on what the class runs on: less where it can be preempted."
    )
    lost_share: Share = Field(
        default=0.0, description="CPU hours that preemption adds, as a share, until past jobs tell."
    )
    most_operational_risk: Points | None = Field(
        default=None, description="Highest score of `operational_risk` at which a training of it begins."
    )
    reason: Reason = Field(description="Why these limits.")


class HoursBudget(Rules):
    """CPU hours in a calendar month, reserved when a training is ordered and settled by what its jobs used."""

    model: Positive | None = Field(default=None, description="For one model. Left out: no limit.")
    team: Positive | None = Field(default=None, description="For all models of one team (`model.team`).")
    all: Positive | None = Field(default=None, description="For all homes of the board.")
    reason: Reason = Field(description="Why so many.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.model is None and self.team is None and self.all is None:
            raise ValueError("says nothing: give model, team or all")
        return self


class RiskBudget(Rules):
    """How much change production bears: each release spends its class's points, and a roll-back spends more."""

    days: Days = Field(description="Over how many past days points are added up.")
    model: Positive | None = Field(default=None, description="Points for one model. Left out: no limit.")
    team: Positive | None = Field(default=None, description="Points for all models of one team.")
    rollback_points: NotNegative = Field(description="Points that a roll-back spends; it is never refused itself.")
    reason: Reason = Field(description="Why so many.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.model is None and self.team is None:
            raise ValueError("says nothing: give model or team")
        return self


class Headroom(Rules):
    """What must be left for serving. What is not known is not enough."""

    signal: str | None = Field(
        default=None, min_length=1, description='Name of a signal of the family "serving" that must be heard.'
    )
    most: NotNegative | None = Field(default=None, description="Most that its effect may be, in its unit.")
    fresh_hours: Hours | None = Field(default=None, description="Oldest that it may be.")
    load: Share | None = Field(
        default=None, description="Most of the class's partition that may be in use, as the cluster tells."
    )
    reason: Reason = Field(description="Why so much.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        parts = (self.signal, self.most, self.fresh_hours)
        if any(part is not None for part in parts) and None in parts:
            raise ValueError("signal, most and fresh_hours belong together")
        if self.signal is None and self.load is None:
            raise ValueError("says nothing: give signal with most and fresh_hours, or load")
        return self


class Admission(ByClass):
    """When a request gets what it shares with others: slots, hours, risk and headroom, in which order."""

    __pydantic_extra__: dict[str, ClassAdmission] = Field(init=False)

    most_running: Count = Field(description="Trainings of all classes and homes that may be under way at once.")
    time_zone: str = Field(default="UTC", description="Whose calendar months the budgets follow.")
    silent_hours: Hours = Field(
        description="After so many hours without a word from a home its waiting request keeps no place; what it "
        "reserved still counts."
    )
    urgent: ClassAdmission
    standard: ClassAdmission
    background: ClassAdmission
    hours: HoursBudget | None = Field(default=None, description="CPU hours. Left out: no limit.")
    risk: RiskBudget | None = Field(default=None, description="Risk. Left out: no limit.")
    headroom: Headroom | None = Field(default=None, description="For serving. Left out: not looked at.")
    worth: Worth | None = Field(
        default=None, description="Benefit against cost; each class needs `hour_price`. Left out: not reckoned."
    )
    operational_risk: OperationalRisk | None = Field(
        default=None,
        description="Harm to serving; each class needs `most_operational_risk`, and `headroom` a signal. "
        "Left out: not reckoned.",
    )

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError('is no time zone; write one such as "Europe/Berlin"') from None
        return name

    @model_validator(mode="after")
    def _whole(self) -> Self:
        problems = []
        for name in (*BUILT_IN, *self.further):
            limits = self.of(PriorityClass(name))
            if self.worth and limits.hour_price is None:
                problems.append(f"{name}.hour_price: is missing; worth needs the price of each class")
            if self.operational_risk and limits.most_operational_risk is None:
                problems.append(f"{name}.most_operational_risk: is missing; operational_risk needs each class's")
        if self.operational_risk and (self.headroom is None or self.headroom.signal is None):
            problems.append("headroom.signal: is missing; operational_risk asks how far serving is from its limit")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def of(self, priority_class: PriorityClass) -> ClassAdmission:
        """The limits of a class."""
        limits: ClassAdmission = self.entry(priority_class)
        return limits

    def month_of(self, moment: datetime) -> str:
        """The calendar month of the budgets, such as "2026-11"."""
        return moment.astimezone(ZoneInfo(self.time_zone)).strftime("%Y-%m")

    def next_month(self, moment: datetime) -> datetime:
        """When the next calendar month of the budgets begins."""
        zone = ZoneInfo(self.time_zone)
        local = moment.astimezone(zone)
        begins = datetime(local.year + local.month // 12, local.month % 12 + 1, 1, tzinfo=zone)
        return begins.astimezone(UTC)

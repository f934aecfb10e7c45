"""The table `[windows]` of a policy file: when traffic is low enough to train, and what must fit in."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from hpcretrain.policy.types.tables import Positive, Reason, Rules

Quantile = Annotated[float, Field(ge=0.5, lt=1, allow_inf_nan=False)]
Hours = Annotated[float, Field(ge=0, le=24 * 7, allow_inf_nan=False)]


def known_zone(name: str) -> str:
    """The name of a time zone.

    Raises:
        ValueError: There is none of that name.
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise ValueError(f'there is no time zone "{name}"; write one such as Europe/Paris or UTC') from None
    return name


class Blackout(Rules):
    """Days on which nothing is trained, such as a campaign."""

    first: date = Field(description="First day.")
    last: date = Field(description="Last day, itself included.")
    reason: Reason = Field(description="Why nothing is trained then.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"last ({self.last}) is before first ({self.first})")
        return self


class Windows(Rules):
    """Windows of low traffic, learned from history, in which trainings may run."""

    time_zone: str = Field(
        default="UTC",
        description="Time zone of weekdays, blackouts and times without an offset, such as `Europe/Paris`.",
    )
    horizon_days: Annotated[int, Field(ge=1, le=28)] = Field(
        default=7, description="Local days that are planned, today included; at most one window begins on each."
    )
    most_share: Positive = Field(
        default=0.7, description="A window's expected traffic, over the mean traffic of a typical day, is at most this."
    )
    least_kept: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.8, description="Share of the last days on which a window planned beforehand must have been that low."
    )
    least_weeks: Annotated[int, Field(ge=3)] = Field(
        default=4, description="Weeks of history without which none is named."
    )
    least_seen: Annotated[int, Field(ge=1)] = Field(
        default=2, description="How often each hour of the week must have been measured."
    )
    most_weeks: Annotated[int, Field(ge=4)] = Field(
        default=26, description="Newest weeks of history that are looked at."
    )
    stale_after_days: Annotated[int, Field(ge=1)] = Field(
        default=7, description="History that ended longer ago tells nothing of today."
    )
    blackouts: tuple[Blackout, ...] = Field(default=(), description="Days on which no window lies.")
    blackout_buffer_h: Hours = Field(default=1, description="Hours before and after blackouts that are kept free, too.")
    public_holidays: tuple[date, ...] = Field(default=(), description="Days whose traffic is like that of a Sunday.")
    validation_h: Hours = Field(default=0.25, description="Hours for judging a candidate where no run tells.")
    rollback_h: Hours = Field(
        default=0.5, description="Hours at the end of a window in which a release can be taken back."
    )
    margin_h: Hours = Field(default=0.25, description="Hours of a window that nothing is planned for.")
    duration_quantile: Quantile = Field(
        default=0.9, description="Quantile of past durations for which there must be room."
    )
    without_history: Literal["wait", "run"] = Field(
        default="wait", description="What a training that needs a window does while history names none."
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        return known_zone(name)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.time_zone)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.most_weeks < self.least_weeks:
            raise ValueError("most_weeks must be at least least_weeks: no history would ever do")
        return self

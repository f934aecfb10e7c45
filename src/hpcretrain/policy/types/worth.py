"""What a retraining is worth, and what it may do to serving: money and risk, beside the score."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from hpcretrain.policy.types.tables import Days, NotNegative, Positive, Reason, Rules, Share


class Worth(Rules):
    """Expected benefit against expected cost, in one currency."""

    currency: str = Field(pattern=r"^[A-Z]{3}$", description='Of all sums, as in ISO 4217: "EUR".')
    loss_per_day: Positive = Field(description="What a day of full decline (a score of 1000) costs.")
    horizon_days: Days = Field(description="For how many days what a retraining takes away would have gone on.")
    least_return: NotNegative = Field(
        default=1.0, description="How many times its cost a retraining must be expected to bring."
    )
    reason: Reason = Field(description="Why these sums.")


class OperationalRisk(Rules):
    """How likely a retraining is to harm serving: a score from 0 to 1000, in whole points of three parts."""

    latency: Share = Field(description="Weight of the latency of predictions: how near serving is to its limit now.")
    memory: Share = Field(description="Weight of the memory that serving takes: how much the model may grow.")
    reliability: Share = Field(description="Weight of releases that had to be rolled back.")
    growth: Annotated[float, Field(gt=1)] = Field(
        default=3.0, description="How many times as many fits as serve now count as full growth."
    )
    reason: Reason = Field(description="Why these weights.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.latency + self.memory + self.reliability <= 0:
            raise ValueError("says nothing: give latency, memory or reliability a weight")
        return self

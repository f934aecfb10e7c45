"""What another threshold would have asked for, by the policy's own functions on the recorded levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hpcretrain.history import History
from hpcretrain.policy.decide import withdraw
from hpcretrain.policy.request import wish
from hpcretrain.policy.types import Policy
from hpcretrain.records import Action, Advice, Assessment, ReleaseKind

_STEP, _BELOW, _ABOVE = 50, 2, 4


@dataclass(frozen=True)
class WhatIf:
    """A threshold, and when it would have asked for a retraining."""

    threshold: int
    asked: tuple[datetime, ...]
    current: bool
    """Whether it is the policy's own."""


def thresholds(policy: Policy) -> list[int]:
    """The policy's threshold and some around it."""
    own = policy.score.threshold
    return [near for k in range(-_BELOW, _ABOVE + 1) if 1 <= (near := own + _STEP * k) <= 1000]


def what_if(history: History, assessments: Sequence[Assessment], policy: Policy) -> list[WhatIf]:
    """When each of some thresholds would have asked, if all that was recorded had stayed as it was.

    A request stands until a recorded decision runs or drops one, or the score falls below the limit of withdrawal.
    So the policy's own threshold gives the requests that were made.
    """
    closings = {
        decision.at
        for cycle in history.cycles
        for decision in cycle.decisions
        if decision.action in (Action.RUN, Action.DROP)
    }
    rollbacks = {release.at for release in history.releases if release.release_kind is ReleaseKind.ROLLBACK}
    seen = [assessment for assessment in assessments if assessment.at not in rollbacks]
    return [
        WhatIf(threshold, _asked(seen, closings, _with(policy, threshold)), threshold == policy.score.threshold)
        for threshold in thresholds(policy)
    ]


def _asked(assessments: Sequence[Assessment], closings: set[datetime], policy: Policy) -> tuple[datetime, ...]:
    asked, standing, lasts = [], False, 0
    for assessment in assessments:
        lasts = lasts + 1 if assessment.decline >= policy.score.threshold else 0
        # What spoke against a retraining then would have done so under any threshold.
        free = assessment.action in (Advice.RETRAIN, Advice.NOTHING)
        enough = lasts >= policy.score.sustain_slots or assessment.fresh >= policy.score.threshold
        if not standing and free and enough and wish(replace(assessment, action=Advice.RETRAIN), policy.score):
            asked.append(assessment.at)
            standing = True
        gone = withdraw(max(assessment.decline, assessment.fresh), policy) is not None
        if standing and (assessment.at in closings or gone):
            standing = False
    return tuple(asked)


def _with(policy: Policy, threshold: int) -> Policy:
    # A limit of withdrawal above the threshold would take back every request at once.
    score = policy.score.model_copy(
        update={"threshold": threshold, "withdraw_below": min(policy.score.withdraw_below, threshold)}
    )
    return policy.model_copy(update={"score": score})

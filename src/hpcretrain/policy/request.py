"""Whether an assessment asks for a retraining, in which class, and because of which families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcretrain.policy.types import Classes, Score
from hpcretrain.records import Assessment, Family, PriorityClass


@dataclass(frozen=True)
class Wish:
    """What a request will say."""

    priority_class: PriorityClass
    triggers: tuple[str, ...]
    reason: str


def wish(assessment: Assessment, decline: int, score: Score, classes: Classes) -> Wish | None:
    """A wish to retrain, or None.

    Decline asks when the families of decline alone reach the threshold; new rows ask, in the background, when they
    reach it alone. So noise on top of new rows is never mistaken for a decline.

    Args:
        assessment: The newest assessment.
        decline: The score of the families of decline alone.
        score: The policy's rules of scoring.
        classes: The policy's classes.
    """
    if decline >= score.threshold:
        triggers = _fewest(assessment.contributions, score.threshold)
        return Wish(
            classify(assessment.score, classes),
            triggers,
            f"decline scores {decline} of 1000, threshold {score.threshold}; led by {', '.join(triggers)}",
        )
    fresh = round(1000 * score.freshness.weight * assessment.levels[Family.FRESHNESS.value])
    if fresh >= score.threshold:
        return Wish(
            PriorityClass.BACKGROUND,
            (Family.FRESHNESS.value,),
            f"new labeled rows score {fresh} of 1000, threshold {score.threshold}; decline {decline}, below it",
        )
    return None


def classify(points: int, classes: Classes) -> PriorityClass:
    """The most urgent class whose least score is reached."""
    for priority_class in (PriorityClass.URGENT, PriorityClass.STANDARD):
        if points >= classes.limits(priority_class).min_score:
            return priority_class
    return PriorityClass.BACKGROUND


def _fewest(contributions: Mapping[str, int], threshold: int) -> tuple[str, ...]:
    """The families of decline that lead: largest first, until their points reach the threshold."""
    ordered = sorted(
        (name for name in contributions if name != Family.FRESHNESS.value and contributions[name] > 0),
        key=lambda name: (-contributions[name], name),
    )
    points, triggers = 0, []
    for name in ordered:
        triggers.append(name)
        points += contributions[name]
        if points >= threshold:
            break
    return tuple(triggers)

"""Whether an assessment asks for a retraining, in which class, and because of which families."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpcretrain.policy.types import Cure, Score
from hpcretrain.records import Advice, Assessment, PriorityClass


@dataclass(frozen=True)
class Wish:
    """What a request will say."""

    priority_class: PriorityClass
    triggers: tuple[str, ...]
    reason: str


def wish(assessment: Assessment, score: Score) -> Wish | None:
    """A wish to retrain, or None.

    Only where retraining helps is it asked for. Decline asks when the families of decline alone reach the threshold;
    new rows ask, in the background, when they reach it alone. So noise on top of new rows is never mistaken for a
    decline.
    """
    if assessment.action is not Advice.RETRAIN:
        return None
    if assessment.decline >= score.threshold:
        triggers = _fewest(assessment.contributions, score)
        return Wish(
            assessment.priority_class,
            triggers,
            f"decline scores {assessment.decline} of 1000, threshold {score.threshold}; led by {', '.join(triggers)}",
        )
    if assessment.fresh >= score.threshold:
        return Wish(
            PriorityClass.BACKGROUND,
            tuple(name for name in score.cured_by(Cure.LEARN) if assessment.contributions.get(name)),
            f"new labeled rows score {assessment.fresh} of 1000, threshold {score.threshold}; decline "
            f"{assessment.decline}, below it",
        )
    return None


def _fewest(contributions: Mapping[str, int], score: Score) -> tuple[str, ...]:
    """The families of decline that lead: largest first, until their points reach the threshold."""
    ordered = sorted(
        (name for name in score.cured_by(Cure.RETRAIN) if contributions.get(name, 0) > 0),
        key=lambda name: (-contributions[name], name),
    )
    points, triggers = 0, []
    for name in ordered:
        triggers.append(name)
        points += contributions[name]
        if points >= score.threshold:
            break
    return tuple(triggers)

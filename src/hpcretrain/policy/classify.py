"""How urgent a retraining would be: written rules over score, business impact, deadline and expected duration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcretrain.evidence import Finding, Outcome, PriorityClass
from hpcretrain.policy.types import Classes, ClassRule


@dataclass(frozen=True)
class Case:
    """What the rules look at.

    Attributes:
        score: The score, 0 to 1000.
        impact: How much depends on the model, 0 to 1.
        deadline: The next one; None where there is none.
        duration_hours: Expected hours from request to release.
        now: The time.
        retrains: Whether retraining is what helps; where not, the class is the one that a retraining would have.
        learns: Whether all that asks for one is that there is more to learn from: that is of the background.
    """

    score: int
    impact: float
    deadline: datetime | None
    duration_hours: float
    now: datetime
    retrains: bool = True
    learns: bool = False

    @property
    def slack_hours(self) -> float | None:
        """Hours that the deadline leaves beside the expected duration; negative when it is too late."""
        if self.deadline is None:
            return None
        return (self.deadline - self.now) / timedelta(hours=1) - self.duration_hours


def classify(case: Case, classes: Classes) -> tuple[PriorityClass, Finding]:
    """The most urgent class of which a rule holds, and that rule with its numbers."""
    if case.learns:
        reason = f"{PriorityClass.BACKGROUND.value}: there is more to learn from, and nothing got worse"
        return PriorityClass.BACKGROUND, Finding("class", Outcome.PASS, reason, case.score)
    for priority_class in classes.order:
        for rule in classes.limits(priority_class).when:
            if _holds(rule, case):
                return priority_class, _finding(rule, case, priority_class)
    return PriorityClass.BACKGROUND, _left(case, classes)


def _holds(rule: ClassRule, case: Case) -> bool:
    slack = case.slack_hours
    return (
        (rule.score is None or case.score >= rule.score)
        and (rule.impact is None or case.impact >= rule.impact)
        and (rule.slack_hours is None or (slack is not None and slack <= rule.slack_hours))
        and (rule.duration_hours is None or case.duration_hours <= rule.duration_hours)
    )


def _finding(rule: ClassRule, case: Case, priority_class: PriorityClass) -> Finding:
    return Finding(
        check="class",
        outcome=Outcome.PASS,
        reason=f"{_named(priority_class, case)}: {_why(rule, case)}",
        observed=case.score,
        limit=rule.score,
    )


def _why(rule: ClassRule, case: Case) -> str:
    """The rule, with its numbers; its reason is one to retrain."""
    numbers = "; ".join(_asked(rule, case))
    return f"{rule.reason} ({numbers})" if case.retrains else numbers


def _left(case: Case, classes: Classes) -> Finding:
    """That no rule of a more urgent class holds; the limit is the score that alone would have made one hold."""
    rules = [(each, rule) for each in classes.order for rule in classes.limits(each).when]
    missed = [f"{each.value}: {', '.join(_asked(rule, case))}" for each, rule in rules]
    named, background = f" ({'; '.join(missed)})" if missed else "", _named(PriorityClass.BACKGROUND, case)
    alone = [rule.score for _, rule in rules if rule.score is not None and rule.model_fields_set <= {"score", "reason"}]
    reason = f"{background}: no rule of a more urgent class holds{named}"
    return Finding("class", Outcome.PASS, reason, case.score, min(alone, default=None))


def _named(priority_class: PriorityClass, case: Case) -> str:
    return (
        priority_class.value if case.retrains else f"retraining is not what helps; one would be {priority_class.value}"
    )


def _asked(rule: ClassRule, case: Case) -> list[str]:
    """What a rule asks for, with what is seen of it."""
    slack = case.slack_hours
    asked = {
        "score": (case.score, rule.score, "at least"),
        "impact": (case.impact, rule.impact, "at least"),
        "slack_hours": (slack if slack is None else round(slack, 2), rule.slack_hours, "at most"),
        "duration_hours": (case.duration_hours, rule.duration_hours, "at most"),
    }
    return [
        f"{name} {'none' if seen is None else f'{seen:g}'}, {word} {limit:g}"
        for name, (seen, limit, word) in asked.items()
        if limit is not None
    ]

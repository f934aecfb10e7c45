"""What to do about a request now: run, wait, hold, or drop; every rule leaves a finding with its numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hpcretrain.policy.types import Policy, Training
from hpcretrain.records import Action, Facts, Finding, Outcome, PriorityClass

BUDGET_PERIOD = timedelta(days=30)


@dataclass(frozen=True)
class Situation:
    """What a decision sees; costs are in millions of row-passes (rows times rounds)."""

    now: datetime
    batch: timedelta
    last_run: datetime | None
    rejections: int
    looks: int | None
    """Looks at the last release that told something; None where no release is being watched."""
    spent: Sequence[tuple[datetime, float]]
    facts: Facts
    data: tuple[Finding, ...]
    """Findings of the data gate, on the newest batch, labels and drift."""
    action: Finding
    """What helps against the state that the model is in: PASS where that is to retrain."""


@dataclass(frozen=True)
class Choice:
    """What a decision will say."""

    action: Action
    outcome: Outcome
    cost_mrow_passes: float
    findings: tuple[Finding, ...]


def decide(
    priority_class: PriorityClass, situation: Situation, policy: Policy, training: Training | None = None
) -> Choice:
    """Run when every check passes; wait when time alone will help; hold when something must be mended.

    Args:
        priority_class: The class of the request.
        situation: What is seen.
        policy: The policy.
        training: The rules of training on the rung that is taken; those of the policy without a ladder.
    """
    facts, gate = situation.facts, policy.gate
    cost = cost_of_training(facts, training or policy.training)
    findings = (
        *situation.data,
        situation.action,
        _rows("training_rows", facts.training_rows, gate.min_rows, "matured rows to train on"),
        _rows("holdout_rows", facts.holdout_rows, gate.min_rows, "matured rows that the champion has not seen"),
        _rows("selection_rows", facts.selection_rows, gate.min_rows, "matured rows for pilots to compete on"),
        _rows("fresh_rows", facts.fresh_rows, gate.min_rows, "matured rows since the gate's last verdict"),
        _rows("class_rows", facts.class_rows, gate.min_class_rows, "labels of the rarer class to judge on"),
        _watch(situation.looks, policy.watch.looks),
        _cooldown(priority_class, situation, policy),
        _budget(priority_class, situation, policy, cost),
    )
    # Without a finding about the data nothing was checked, and that is not a pass.
    return choose(cost, findings, at_best=Outcome.worst(finding.outcome for finding in situation.data))


def choose(cost_mrow_passes: float, findings: tuple[Finding, ...], at_best: Outcome = Outcome.PASS) -> Choice:
    """What the worst of the findings, and `at_best`, comes to."""
    outcome = Outcome.worst((at_best, *(finding.outcome for finding in findings)))
    action = {Outcome.PASS: Action.RUN, Outcome.WAIT: Action.WAIT}.get(outcome, Action.HOLD)
    return Choice(action, outcome, cost_mrow_passes, findings)


def withdraw(points: int, policy: Policy) -> Choice | None:
    """Drop a waiting request once its reason has gone; None while it stands.

    Args:
        points: The score of decline, or of new rows, whichever is higher.
        policy: The policy.
    """
    if points >= policy.score.withdraw_below:
        return None
    finding = Finding(
        check="still_wanted",
        outcome=Outcome.FAIL,
        reason="the reason for the request has gone",
        observed=points,
        limit=policy.score.withdraw_below,
    )
    return Choice(Action.DROP, Outcome.FAIL, 0.0, (finding,))


def cost_of_training(facts: Facts, training: Training) -> float:
    """The modeled cost of all pilots and the full fit of a winner, at most."""
    return cost_of(sum(_rows_read(facts, training)), passes_of(facts.passes, training))


def passes_of(passes: int, training: Training) -> int:
    """How often a fit reads each row: a share of a whole training's `passes` where it is a warm start."""
    return passes if training.warm_share is None else math.ceil(passes * training.warm_share)


def cost_of(rows: int, passes: int) -> float:
    """The modeled cost of a training, in millions of row-passes: a unit that does not depend on the machine."""
    return rows * passes / 1e6


def _rows_read(facts: Facts, training: Training) -> tuple[int, int]:
    """Rows that all pilots read at most, and that the full fit of a winner reads at most."""
    matured = facts.training_rows + facts.selection_rows + facts.holdout_rows
    pilots = (len(training.windows) + (training.trials or 0)) * min(facts.training_rows, training.pilot_rows)
    return pilots, min(matured, training.full_rows)


def _rows(check: str, rows: int, limit: int, what: str) -> Finding:
    outcome = Outcome.PASS if rows >= limit else Outcome.WAIT
    return Finding(check=check, outcome=outcome, reason=f"{rows} {what}", observed=rows, limit=limit)


def _watch(looks: int | None, limit: int) -> Finding:
    if looks is None:
        return Finding(check="watch", outcome=Outcome.PASS, reason="no release is being watched", observed=0, limit=0)
    reason = f"the last release is still being watched: {looks} of {limit} looks on enough rows so far"
    return Finding(check="watch", outcome=Outcome.WAIT, reason=reason, observed=looks, limit=limit)


def _cooldown(priority_class: PriorityClass, situation: Situation, policy: Policy) -> Finding:
    classes = policy.classes
    base = classes.limits(priority_class).cooldown_batches
    batches = min(base * classes.cooldown_growth**situation.rejections, max(base, classes.cooldown_max_batches))
    if situation.last_run is None:
        return Finding(check="cooldown", outcome=Outcome.PASS, reason="nothing was trained before", limit=batches)
    passed = (situation.now - situation.last_run) / situation.batch
    return Finding(
        check="cooldown",
        outcome=Outcome.PASS if passed >= batches else Outcome.WAIT,
        reason=f"batches since the last training; cycles rejected since the last release: {situation.rejections}",
        observed=passed,
        limit=batches,
    )


def _budget(priority_class: PriorityClass, situation: Situation, policy: Policy, cost: float) -> Finding:
    limit = policy.classes.limits(priority_class).fits_per_30d
    full = cost_of(_rows_read(situation.facts, policy.training)[1], situation.facts.passes)
    spent = sum(amount for at, amount in situation.spent if at > situation.now - BUDGET_PERIOD)
    if full <= 0:
        return Finding(check="budget", outcome=Outcome.WAIT, reason="no rows, so no cost to compare", limit=limit)
    fits = (spent + cost) / full
    return Finding(
        check="budget",
        outcome=Outcome.PASS if fits <= limit else Outcome.WAIT,
        reason=f"{spent:.4g} spent in 30 days and {cost:.4g} asked, in full fits of {full:.4g} million row-passes",
        observed=fits,
        limit=limit,
    )

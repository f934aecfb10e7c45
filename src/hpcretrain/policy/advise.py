"""What helps against the state that a model is in: the first rule that holds gives the action, and says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from hpcretrain.evidence import Advice, Finding, Outcome
from hpcretrain.policy.types import Cure, Score

_MOST_NAMED = 20


@dataclass(frozen=True)
class State:
    """What is known of a model.

    Attributes:
        decline: The score of the families that retraining cures.
        fresh: That of the families that say that there is more to learn from.
        levels: How strongly each family speaks over time, 0 to 1.
        newest: The same in the newest slot.
        sustained: Whether decline lasts.
        jumps: How many slots ago something collapsed, and still is as bad.
        labeled: Whether anything was measured that needs labels.
        broken: What was last measured as something that is not finite.
        released: How many slots ago the model was released; None where that is not known.
        asked: Names of what somebody outside asks for a retraining by, without a deadline.
        due: The next deadline that somebody outside named: by what name, and how many hours are left.
    """

    decline: int
    fresh: int
    levels: Mapping[str, float]
    newest: Mapping[str, float]
    sustained: bool
    jumps: Sequence[int]
    labeled: bool
    broken: Sequence[str]
    released: float | None = None
    asked: Sequence[str] = ()
    due: tuple[str, float] | None = None


@dataclass(frozen=True)
class Advised:
    """An action, and the finding of the rule that gave it."""

    action: Advice
    finding: Finding


_Rule = Callable[[State, Score], Advised | None]


def advise(state: State, score: Score) -> Advised:
    """The action. Rules in order: what may not be trained upon comes before what asks for training."""
    for rule in RULES:
        advised = rule(state, score)
        if advised is not None:
            return advised
    reason = "no rule asks for anything: decline is below the threshold, and so is everything else"
    return Advised(Advice.NOTHING, _finding(Outcome.PASS, reason, state.decline, score.threshold))


def _not_finite(state: State, score: Score) -> Advised | None:
    """*Hold and investigate*: something was last measured as not finite."""
    if not state.broken:
        return None
    reason = f"{_named(state.broken)}: not a finite number; find out what broke before anything is trained"
    return _advised(Advice.HOLD_AND_INVESTIGATE, reason, len(state.broken), 0)


def _bad_data(state: State, score: Score) -> Advised | None:
    """*Mend the data*: in the newest slot a family that this helps against reaches `act_from` alone."""
    name, points = _loudest(state.newest, score, Cure.MEND_DATA)
    if points < score.act_from:
        return None
    reason = f"{name} comes first: a retraining would learn the damage; mend the data or its source"
    return _advised(Advice.MEND_DATA, reason, points, score.act_from)


def _broke_with_the_release(state: State, score: Score) -> Advised | None:
    """*Roll back*: decline rose by `abrupt` at once within `roll_back_slots` after the release."""
    if state.released is None or state.released > score.roll_back_slots:
        return None
    if not any(jump <= state.released for jump in state.jumps):
        return None
    reason = f"it collapsed {state.released:.3g} slots or less after the release; take it back, then find out why"
    return _advised(Advice.ROLL_BACK, reason, round(state.released, 3), score.roll_back_slots)


def _abrupt(state: State, score: Score) -> Advised | None:
    """*Hold and investigate*: it rose so within the last `abrupt_slots`; the policy that ships waits for nobody (0)."""
    newest = min(state.jumps, default=None)
    if newest is None or newest >= score.abrupt_slots:
        return None
    reason = (
        f"performance, calibration or predictions moved by {score.abrupt:g} full scales at once, {newest} slots ago; "
        f"decay is gradual, so a person should look; what stands after {score.abrupt_slots} slots is retrained for"
    )
    return _advised(Advice.HOLD_AND_INVESTIGATE, reason, newest, score.abrupt_slots)


def _no_labels(state: State, score: Score) -> Advised | None:
    """*Collect labels*: decline lasts, and nothing that needs labels was ever measured."""
    if state.asked or state.due or state.labeled or not state.sustained:
        return None
    reason = "drift speaks, and no labels tell whether the model got worse, or could be learned from; collect labels"
    return _advised(Advice.COLLECT_LABELS, reason, state.decline, score.threshold)


def _decline(state: State, score: Score) -> Advised | None:
    """*Retrain*: decline reached `threshold` for `sustain_slots`, and has not gone below `withdraw_below` since."""
    if not state.sustained:
        return None
    reason = f"decline of {state.decline} points lasts; it asks from {score.threshold} until {score.withdraw_below}"
    return _advised(Advice.RETRAIN, reason, state.decline, score.threshold)


def _asked(state: State, score: Score) -> Advised | None:
    """*Retrain*: somebody outside asks for it, or a deadline does."""
    if state.due is not None:
        name, hours = state.due
        left = f"{hours:.4g} hours are left" if hours > 0 else f"it passed {-hours:.4g} hours ago"
        return _advised(Advice.RETRAIN, f"the deadline of {name} asks for it; {left}", round(hours, 3), 0)
    if state.asked:
        reason = f"somebody outside asks for it, without a deadline: {_named(state.asked)}"
        return _advised(Advice.RETRAIN, reason, len(state.asked), 1)
    return None


def _look(state: State, score: Score) -> Advised | None:
    """*Hold and investigate*: a family that no retraining cures reaches `act_from` alone."""
    name, points = _loudest(state.levels, score, Cure.INVESTIGATE)
    if points < score.act_from:
        return None
    reason = f"{name} speaks, which no retraining cures; whoever owns it should look"
    return _advised(Advice.HOLD_AND_INVESTIGATE, reason, points, score.act_from)


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _fresh(state: State, score: Score) -> Advised | None:
    """*Retrain*, in the background: new labeled rows reach `threshold`."""
    if state.fresh < score.threshold:
        return None
    reason = f"new labeled rows are worth {state.fresh} points; pilots will tell whether they help"
    return _advised(Advice.RETRAIN, reason, state.fresh, score.threshold)


RULES: tuple[_Rule, ...] = (
    _not_finite,
    _bad_data,
    _broke_with_the_release,
    _abrupt,
    _no_labels,
    _decline,
    _asked,
    _look,
    _fresh,
)


def _loudest(levels: Mapping[str, float], score: Score, cure: Cure) -> tuple[str, int]:
    points = {name: round(1000 * score.families[name].weight * levels[name]) for name in score.cured_by(cure)}
    return max(points.items(), key=lambda item: (item[1], item[0]), default=("", 0))


def _advised(action: Advice, reason: str, observed: float | int, limit: float | int) -> Advised:
    return Advised(action, _finding(Outcome.FAIL, reason, observed, limit))


def _finding(outcome: Outcome, reason: str, observed: float | int, limit: float | int) -> Finding:
    return Finding(check="action", outcome=outcome, reason=reason, observed=observed, limit=limit)

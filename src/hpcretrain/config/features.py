"""Guess which columns can be learned from, and say of each that cannot why. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpcretrain.config.guess import ColumnSummary, Guess, Warnings, listed, quoted
from hpcretrain.config.relation import Relation
from hpcretrain.errors import InputError
from hpcretrain.policy.types import DataGate

_NEARLY_UNIQUE = 0.5
_MOST = 0.5
_FEW_VALUES = 50
_IDENTIFIER = re.compile(r"(^|[^a-z])(id|uid|uuid|guid|key|index|idx)$", re.IGNORECASE)


@dataclass(frozen=True)
class FeatureFacts:
    """What decides whether a column can be learned from.

    Attributes:
        summary: The whole column.
        numbers, texts, infinite, distinct: As in the summary, of the reference alone.
        unseen: Share of later cells whose value does not occur in the reference.
        missing, later_missing: Share of cells that are missing, in the reference and later.
        outside: Share of later cells that are more than the policy's `range_slack` spans outside the reference's range.
        follows_time: Whether it only grows, or only falls, with time.
        relation: What it tells of the target.
    """

    summary: ColumnSummary
    numbers: int
    texts: int
    infinite: int
    distinct: int
    unseen: float
    missing: float
    later_missing: float
    outside: float
    follows_time: bool
    relation: Relation


@dataclass(frozen=True)
class LeftOut:
    """A column that is not learned from, and why.

    `leak` says that it gives the target away, `warned` that a person should look.
    """

    column: str
    why: str
    leak: bool = False
    warned: bool = False


@dataclass(frozen=True)
class FeatureGuess:
    """The columns to learn from, those of them to be declared categories, and the columns left out."""

    features: Guess
    categorical: Guess | None
    left_out: tuple[LeftOut, ...]


def guess_features(facts: Sequence[FeatureFacts], until: str, gate: DataGate, warnings: Warnings) -> FeatureGuess:
    """All columns but those that cannot help.

    Args:
        facts: Of all columns but target and time.
        until: The end of the reference, as written.
        gate: The policy's data gate, which would stop every batch that a column has left its reference in.
        warnings: Told of leaks and of columns that look like leaks.

    Raises:
        InputError: No column is left.
    """
    kept: dict[str, str] = {}
    categorical: dict[str, str] = {}
    left_out: list[LeftOut] = []
    for fact in facts:
        name, reason = fact.summary.name, _reason(fact, until, gate)
        if reason is not None:
            left_out.append(reason)
            continue
        kept[name] = _note(fact)
        if stopped := _stopped(fact, gate):
            warnings.append(f"model.features: {quoted(name)}: {stopped[1]}; take it out to let them pass")
        if 0 < fact.texts <= fact.numbers:
            categorical[name] = f"{fact.texts:,} of {fact.texts + fact.numbers:,} cells are text among numbers"
    _warn(facts, kept, left_out, warnings)
    if not kept:
        reasons = "; ".join(f"{quoted(out.column)}: {out.why}" for out in left_out)
        raise InputError(f"no column is left to learn from besides target and time. {reasons}")
    after = tuple(f"left out: {quoted(out.column)}: {out.why}" for out in left_out)
    return FeatureGuess(
        Guess(
            tuple(kept),
            "all columns that may help; take out what is not known when the prediction is made",
            kept,
            after,
        ),
        Guess(tuple(categorical), "what would not be taken for categories", categorical) if categorical else None,
        tuple(left_out),
    )


def _reason(fact: FeatureFacts, until: str, gate: DataGate) -> LeftOut | None:
    column = fact.summary
    if fact.relation.leak:
        return LeftOut(column.name, f"GIVES THE TARGET AWAY: {fact.relation.leak}", leak=True)
    if column.missing == column.rows:
        return LeftOut(column.name, "it is empty")
    why = _unusable(fact) or _constant(fact, until) or _identifier(fact)
    if why is None and (stopped := _stopped(fact, gate)) and stopped[0] > _MOST:
        return LeftOut(column.name, stopped[1], warned=True)
    return LeftOut(column.name, why) if why else None


def _unusable(fact: FeatureFacts) -> str | None:
    column = fact.summary
    if column.readings:
        return "it holds times; make a number of them, such as the hours since the time of the row, to use it"
    if column.type_name:
        return f"it holds {column.type_name}, which is neither number nor text"
    if fact.infinite:
        return f"it is infinite in {fact.infinite:,} rows of the reference; mend or empty these cells to use it"
    if 0 < fact.texts <= fact.numbers and fact.distinct > _FEW_VALUES:
        return f"{fact.texts:,} of {fact.texts + fact.numbers:,} cells are text among numbers; mend or empty them"
    return None


def _constant(fact: FeatureFacts, until: str) -> str | None:
    column = fact.summary
    if column.distinct == 1 and not column.missing:
        return f"it is {quoted(next(iter(column.values)))} in every row"
    if not fact.numbers + fact.texts:
        return f"it is empty before {until}"
    if fact.distinct == 1:
        return f"it has one value before {until}, so nothing can be learned from it there"
    return None


def _identifier(fact: FeatureFacts) -> str | None:
    column, present = fact.summary, fact.summary.rows - fact.summary.missing
    if not fact.texts:
        if fact.follows_time:
            return "it only grows, or only falls, with time: a model would learn the date from it"
        if column.whole and column.distinct > _NEARLY_UNIQUE * present and _IDENTIFIER.search(column.name):
            return "it looks like an identifier: nearly every row has a number of its own"
        return None
    if column.distinct > _NEARLY_UNIQUE * present:
        return f"it looks like an identifier: {column.distinct:,} different texts in {present:,} rows"
    return None


def _stopped(fact: FeatureFacts, gate: DataGate) -> tuple[float, str] | None:
    """The share of later cells for which the data gate would stop their batches, and why; None if it is small.

    Where it is most of them, hardly a batch would pass, and the history would show nothing. Fewer are an event of the
    kind that a replay is there to show.
    """
    unseen, more_missing = fact.unseen if fact.texts else 0.0, fact.later_missing - fact.missing
    for share, what, slack, limit in (
        (unseen, "hold what does not occur in the reference", "new_category_slack", gate.new_category_slack),
        (more_missing, "are missing, more than in the reference", "missing_slack", gate.missing_slack),
        (fact.outside, "are far outside the range of the reference", "out_of_range_slack", gate.out_of_range_slack),
    ):
        if share > limit:
            return share, (
                f"{100 * share:.0f} % of later cells {what}; with {slack} {100 * limit:.0f} %, the data gate stops "
                "batches for them"
            )
    return None


def _note(fact: FeatureFacts) -> str:
    column = fact.summary
    missing = f", {100 * column.missing / column.rows:.3g} % missing" if column.missing else ""
    if fact.texts:
        return f"text, {column.distinct:,} values{missing}"
    if column.distinct == 2:
        return f"two values{missing}"
    return f"numbers from {column.low:.6g} to {column.high:.6g}{missing}"


def _warn(facts: Sequence[FeatureFacts], kept: dict[str, str], left_out: Sequence[LeftOut], warnings: Warnings) -> None:
    leaks = [out for out in left_out if out.leak]
    warnings += [f"model.features: {quoted(out.column)} was left out: it {out.why}" for out in leaks]
    warnings += [f"model.features: {quoted(out.column)} was left out: {out.why}" for out in left_out if out.warned]
    strong = [fact.summary.name for fact in facts if fact.relation.nearly and fact.summary.name in kept]
    if strong:
        warnings.append(
            f"model.features: {listed(strong)} alone nearly tell{'s' if len(strong) == 1 else ''} the target; take out "
            "what is not known when the prediction is made"
        )

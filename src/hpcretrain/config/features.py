"""Guess which columns can be learned from, and say of each that cannot why. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hpcretrain.config.guess import ColumnSummary, Guess, Warnings, listed, quoted
from hpcretrain.config.outlook import Stops
from hpcretrain.config.relation import Relation
from hpcretrain.errors import InputError

_NEARLY_UNIQUE = 0.5
_FEW_VALUES = 50
_MOST = 0.5
_IDENTIFIER = re.compile(r"(^|[^a-z])(id|uid|uuid|guid|key|index|idx)$", re.IGNORECASE)


@dataclass(frozen=True)
class FeatureFacts:
    """What decides whether a column can be learned from.

    Attributes:
        summary: The whole column.
        numbers, texts, infinite, distinct: As in the summary, of the reference alone.
        stops: What the data gate would stop for this column; None if nothing.
        follows_time: Whether it only grows, or only falls, with time.
        relation: What it tells of the target.
    """

    summary: ColumnSummary
    numbers: int
    texts: int
    infinite: int
    distinct: int
    stops: Stops | None
    follows_time: bool
    relation: Relation


@dataclass(frozen=True)
class LeftOut:
    """A column that is not learned from, and why; `leak` if it gives the target away."""

    column: str
    why: str
    leak: bool = False


@dataclass(frozen=True)
class FeatureGuess:
    """The columns to learn from, those of them to be declared categories, and the columns left out."""

    features: Guess
    categorical: Guess | None
    left_out: tuple[LeftOut, ...]


def guess_features(facts: Sequence[FeatureFacts], until: str, warnings: Warnings) -> FeatureGuess:
    """All columns but those that cannot help; one that stops a batch now and then is what a replay is to show.

    Args:
        facts: Of all columns but target and time.
        until: The end of the reference, as written.
        warnings: Told of leaks, of columns that look like leaks, and of those that stop batches.

    Raises:
        InputError: No column is left.
    """
    kept: dict[str, str] = {}
    categorical: dict[str, str] = {}
    left_out: list[LeftOut] = []
    for fact in facts:
        name, reason = fact.summary.name, _reason(fact, until)
        if reason is not None:
            left_out.append(reason)
            continue
        kept[name] = _note(fact)
        if 0 < fact.texts <= fact.numbers:
            categorical[name] = f"{fact.texts:,} of {fact.texts + fact.numbers:,} cells are text among numbers"
    _warn(facts, kept, left_out, warnings)
    if not kept:
        reasons = "; ".join(f"{quoted(out.column)}: {out.why}" for out in left_out)
        raise InputError(f"no column is left to learn from besides target and time; {reasons or 'there is no other'}")
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


def _reason(fact: FeatureFacts, until: str) -> LeftOut | None:
    column = fact.summary
    if fact.relation.leak:
        return LeftOut(column.name, f"GIVES THE TARGET AWAY: {fact.relation.leak}", leak=True)
    if column.missing == column.rows:
        return LeftOut(column.name, "it is empty")
    why = _unusable(fact) or _constant(fact, until) or _identifier(fact) or _stopped(fact)
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


def _stopped(fact: FeatureFacts) -> str | None:
    """Why a replay with this column would show little."""
    if fact.stops is None or fact.stops.share <= _MOST:
        return None
    return f"{_foreseen(fact.stops)}; a replay that stops most rows shows little"


def _foreseen(stops: Stops) -> str:
    rule = f"{stops.rule} of the policy" if stops.rule else "no such cell passes that the reference did not have"
    when = f"from {stops.first:%Y-%m-%d}" + (f" to {stops.last:%Y-%m-%d}" if stops.stopped > 1 else "")
    return (
        f"the data gate would stop {stops.stopped:,} of {stops.batches:,} batches, {when}, since cells {stops.what} "
        f"({rule})"
    )


def _note(fact: FeatureFacts) -> str:
    stops = f"; stops {fact.stops.stopped:,} of {fact.stops.batches:,} batches" if fact.stops else ""
    return f"{_content(fact)}{stops}"


def _content(fact: FeatureFacts) -> str:
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
    dropped = {out.column: out.why for out in left_out}
    together: dict[Stops, list[str]] = {}
    for fact in facts:
        name = fact.summary.name
        if fact.stops and (name in kept or dropped.get(name) == _stopped(fact)):
            together.setdefault(fact.stops, []).append(name)
    for stops, names in together.items():
        was = "was" if len(names) == 1 else "were"
        warnings.append(
            f"model.features: {listed(names)} {was} kept, and {_foreseen(stops)}: they are not learned from, and the "
            "replay shows it; take out what is not to count"
            if names[0] in kept
            else f"model.features: {listed(names)} {was} left out: {_foreseen(stops)}; a replay that stops most rows "
            "shows little; put back what is to be seen"
        )
    strong = [fact.summary.name for fact in facts if fact.relation.nearly and fact.summary.name in kept]
    if strong:
        warnings.append(
            f"model.features: {listed(strong)} alone nearly tell{'s' if len(strong) == 1 else ''} the target; take out "
            "what is not known when the prediction is made"
        )

"""The first thing on the page: one sentence of what came of it and a few figures, for who owns the product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hpcretrain.report import wording
from hpcretrain.stats.metrics import METRICS

_MONTH, _WEEK, _DAY = (28, 31), (7, 7), (1, 1)
_SAME_CPU = 0.05


@dataclass(frozen=True)
class Figure:
    """A figure with its name and what it is to be compared with."""

    name: str
    value: str
    note: str


def period_noun(periods: Sequence[Mapping[str, Any]]) -> str:
    """What a period of the report is called: month, week, day, or just period."""
    days = {round((_time(period["end"]) - _time(period["start"])).total_seconds() / 86_400) for period in periods}
    for noun, (least, most) in (("month", _MONTH), ("week", _WEEK), ("day", _DAY)):
        if days and least <= min(days) and max(days) <= most:
            return noun
    return "period"


def sentence(result: Mapping[str, Any]) -> str:
    """What came of the backtest, in one sentence, whichever way it went."""
    summary, primary, noun = result["summary"], result["primary_metric"], period_noun(result["periods"])
    name = wording.metric(primary)
    served, frozen, ungated = (_shown(result, arm) for arm in ("served", "frozen", "ungated"))
    if summary["served"] is None:
        return (
            f"{wording.capitalized(name)} is not defined in any {noun}, so nothing can be said about what was served."
        )
    parts = [f"Over {wording.plural(len(result['periods']), noun)}, "]
    if not summary["releases"]:
        tried = (
            f"none of {wording.plural(summary['retrains'], 'retraining')} was good enough to be released"
            if summary["retrains"]
            else "nothing was retrained"
        )
        parts.append(f"{tried}, so the first model served throughout: {name} was {served} on average")
    else:
        relation = compare(result, "frozen")
        how = {
            1: f"hpcretrain kept {name} at {served} on average, where the first model, left as it was, had {frozen}",
            0: f"hpcretrain retrained {wording.times(summary['releases'])} without any gain: {name} was {served} on "
            "average, as with the first model left as it was",
            -1: f"hpcretrain made it worse: {name} was {served} on average, where the first model, left as it was, "
            f"had {frozen}",
        }
        parts.append(how[relation] if relation is not None else f"{name} was {served} on average")
    if summary["ungated"] is not None and summary["ungated_train_cpu_s"] > 0:
        also = {1: "only", 0: "the same,", -1: ""}[compare(result, "ungated") or 0]
        parts.append(
            f"; retraining every {noun} without any check had {also} {ungated}{_at_cost(summary)}".replace("  ", " ")
        )
    return "".join(parts) + "."


def compare(result: Mapping[str, Any], arm: str) -> int | None:
    """Whether what was served is, as shown, better (1) than an arm on average, the same (0), or worse (-1)."""
    primary, summary = result["primary_metric"], result["summary"]
    return _compare(primary, summary["served"], summary[arm])


def figures(result: Mapping[str, Any], batches: int, quarantined: int) -> list[Figure]:
    """The figures under the sentence."""
    summary, primary = result["summary"], result["primary_metric"]
    noun, ours, theirs = period_noun(result["periods"]), summary["train_cpu_s"], summary["ungated_train_cpu_s"]
    shown = [
        _against(result, "frozen", "Against never retraining", noun),
        _against(result, "ungated", f"Against retraining every {noun}", noun),
        Figure(
            "Retrainings",
            str(summary["retrains"]),
            f"{summary['releases']} released, {summary['retrains'] - summary['releases']} stopped, "
            f"{summary['rollbacks']} rolled back",
        ),
        Figure("Training time (CPU)", wording.seconds(ours), f"retraining every {noun}: {wording.seconds(theirs)}"),
        Figure("Batches of bad data", str(quarantined), f"of {batches}; never trained on"),
    ]
    return [figure for figure in shown if primary]


def _against(result: Mapping[str, Any], arm: str, name: str, noun: str) -> Figure:
    primary, summary = result["primary_metric"], result["summary"]
    if summary["served"] is None or summary[arm] is None:
        return Figure(name, wording.NOT_DEFINED, "")
    outcomes = [_compare(primary, period["served"][primary], period[arm][primary]) for period in result["periods"]]
    better, same = outcomes.count(1), outcomes.count(0)
    gap = wording.difference(primary, summary["served"] - summary[arm])
    return Figure(
        name,
        f"{gap} {wording.metric(primary)}",
        f"better in {better} of {wording.plural(len(outcomes), noun)}" + (f", the same in {same}" if same else ""),
    )


def _compare(primary: str, served: float | None, other: float | None) -> int | None:
    if served is None or other is None:
        return None
    if wording.value(primary, served) == wording.value(primary, other):
        return 0
    return 1 if (served > other) == METRICS[primary].higher_is_better else -1


def _at_cost(summary: Mapping[str, Any]) -> str:
    ours, theirs = summary["train_cpu_s"], summary["ungated_train_cpu_s"]
    if not ours:
        return f" for {wording.seconds(theirs)} of training CPU"
    ratio = theirs / ours
    if abs(ratio - 1) < _SAME_CPU:
        return " for about the same training CPU"
    return f" for {ratio:.2g} times the training CPU"


def _shown(result: Mapping[str, Any], arm: str) -> str:
    return wording.value(result["primary_metric"], result["summary"][arm])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

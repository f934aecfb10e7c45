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
_EVERY = {"month": "monthly", "week": "weekly", "day": "daily", "period": "periodic"}


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
    summary, noun = result["summary"], period_noun(result["periods"])
    name, served, frozen = wording.metric(result["primary_metric"]), _shown(result, "served"), _shown(result, "frozen")
    if summary["served"] is None:
        return (
            f"{wording.capitalized(name)} is not defined in any {noun}, so nothing can be said about what was served."
        )
    relation = compare(result, "frozen")
    if not summary["releases"]:
        tried = "nothing was retrained"
        if summary["retrains"]:
            tried = f"none of {wording.plural(summary['retrains'], 'retraining')} was good enough to be released"
        told = f"{tried}, and the first model served throughout: {name} was {served} on average"
    elif relation is None:
        told = f"{name} was {served} on average"
    elif relation > 0:
        told = f"hpcretrain kept {name} at {served} on average; never retraining would have given {frozen}"
    elif relation < 0:
        told = f"hpcretrain served worse than never retraining: {name} was {served} on average instead of {frozen}"
    else:
        told = f"hpcretrain did no better than never retraining: {name} was {served} on average either way"
    return f"Over {wording.plural(len(result['periods']), noun)}, {told}{_without_checks(result, noun)}."


def _without_checks(result: Mapping[str, Any], noun: str) -> str:
    summary = result["summary"]
    ours, theirs = summary["train_cpu_s"], summary["ungated_train_cpu_s"]
    if summary["ungated"] is None or not theirs:
        return ""
    given = f"retraining every {noun} without checks would have given {_shown(result, 'ungated')}"
    # The sentence before it has the same verb when it tells what never retraining would have given.
    if summary["releases"] and (compare(result, "frozen") or 0) > 0:
        given = f", and {given.replace(' would have given', '')}"
    else:
        given = f"; {given}"
    if not ours:
        return f"{given}, for {wording.seconds(theirs)} of training CPU"
    if abs(ours / theirs - 1) < _SAME_CPU:
        return f"{given}, for about the same training CPU"
    if ours < theirs:
        return f"{given}. hpcretrain took {round(100 * (1 - ours / theirs))} % less training CPU than that"
    return f"{given}. hpcretrain took {wording.ratio(ours / theirs)} times as much training CPU as that"


def compare(result: Mapping[str, Any], arm: str) -> int | None:
    """Whether what was served is, as shown, better (1) than an arm on average, the same (0), or worse (-1)."""
    primary, summary = result["primary_metric"], result["summary"]
    return _compare(primary, summary["served"], summary[arm])


def figures(result: Mapping[str, Any], batches: int, quarantined: int) -> list[Figure]:
    """The figures under the sentence."""
    summary, noun = result["summary"], period_noun(result["periods"])
    every = _EVERY[noun]
    stopped = summary["retrains"] - summary["releases"]
    return [
        _against(result, "frozen", "Against never retraining", noun),
        _against(result, "ungated", f"Against {every} retraining", noun),
        Figure(
            "Retrainings",
            str(summary["retrains"]),
            f"{summary['releases']} released, {stopped} stopped, {summary['rollbacks']} rolled back",
        ),
        Figure(
            "Training time (CPU)",
            wording.seconds(summary["train_cpu_s"]),
            f"{every} retraining: {wording.seconds(summary['ungated_train_cpu_s'])}",
        ),
        Figure("Batches of bad data", str(quarantined), f"of {batches}; never trained on"),
    ]


def _against(result: Mapping[str, Any], arm: str, name: str, noun: str) -> Figure:
    primary, summary = result["primary_metric"], result["summary"]
    if summary["served"] is None or summary[arm] is None:
        return Figure(name, wording.NOT_DEFINED, "")
    outcomes = [_compare(primary, period["served"][primary], period[arm][primary]) for period in result["periods"]]
    counts = [(outcomes.count(way), word) for way, word in ((1, "better"), (0, "equal"), (-1, "worse"))]
    told = [f"{count} {word}" for count, word in counts if count]
    if told:
        first, word = told[0].split(" ")
        told[0] = f"{wording.plural(int(first), noun)} {word}"
    gap, metric = summary["served"] - summary[arm], wording.metric(primary)
    shown = f"{wording.difference(primary, gap)} {metric}"
    if not METRICS[primary].higher_is_better and _compare(primary, summary["served"], summary[arm]):
        # A minus in bold would look like bad news.
        shown = f"{wording.value(primary, abs(gap))} {metric} {'less' if gap < 0 else 'more'}"
    return Figure(name, shown, ", ".join(told))


def _compare(primary: str, served: float | None, other: float | None) -> int | None:
    if served is None or other is None:
        return None
    if wording.value(primary, served) == wording.value(primary, other):
        return 0
    return 1 if (served > other) == METRICS[primary].higher_is_better else -1


def _shown(result: Mapping[str, Any], arm: str) -> str:
    return wording.value(result["primary_metric"], result["summary"][arm])


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)

"""Reads reports of feature stores, ingestion jobs and data sources about themselves: one JSON object a line.

`{"source": "weather", "at": "2024-03-01T06:00Z", "ok": false, "late_hours": 3.5, "reason": "no file since 02:30"}`
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hpcretrain.adapters.inputfile import called, opened
from hpcretrain.canonical import utc
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family, Measure
from hpcretrain.policy.gauge import blind, in_words, shared

MOST_TOLD = 20
MOST_CHARACTERS = 300
_KEYS = {"source", "at", "ok", "late_hours", "reason"}


@dataclass(frozen=True)
class Report:
    """What a source says of itself at a time; `late_hours` is None where it does not say how late it is."""

    at: datetime
    source: str
    ok: bool
    late_hours: float | None
    reason: str


@dataclass(frozen=True)
class Rules:
    """Which models depend on which sources, and when a source is late.

    Attributes:
        models: The models.
        sources: Those that have to report; empty for those that do.
        expect_every: How often; None where silence says nothing.
        fine_hours: Lateness that is fine.
        broken_hours: Lateness beyond it at which a source is as good as broken.
    """

    models: Sequence[str]
    sources: Sequence[str]
    expect_every: timedelta | None
    fine_hours: float
    broken_hours: float


def read(path: Path) -> tuple[Report, ...]:
    """The reports of a file (`-`: standard input), in order of time whatever that of lines; the same twice is one.

    Raises:
        InputError: The file cannot be read; every line that is wrong, by its number.
    """
    try:
        with opened(path) as file:
            return parse(file, called(path))
    except OSError as error:
        raise InputError(f"{called(path)}: cannot be read: {error.strerror or error}") from error


def parse(lines: Iterable[bytes], where: str) -> tuple[Report, ...]:
    """As `read`, from lines."""
    found, problems = set(), []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found.add(_report(json.loads(line)))
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
            problems.append(f"{where}, line {number}: {_why(error)}")
    if problems:
        more = [f"{where}: and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        raise InputError([*problems[:MOST_TOLD], *more])
    return tuple(sorted(found, key=lambda each: (each.at, each.source, each.ok, str(each.late_hours), each.reason)))


def measures(reports: Sequence[Report], rules: Rules, now: datetime) -> list[Measure]:
    """What the reports until now mean for the models that depend on these sources.

    The effect is 1 where a source is broken, or so late as to be as good as broken; less where it is less late.
    """
    known = [each for each in reports if each.at <= now and each.source in (rules.sources or (each.source,))]
    found = [
        Measure(model, Family.UPSTREAM, each.source, each.at, effect, effect, 1, rules.fine_hours, reason=_told(each))
        for each in known
        for effect in [_effect(each, rules)]
        for model in rules.models
    ]
    if rules.expect_every is None:
        return found
    last = {each.source: each.at for each in known}
    names = rules.sources or tuple(sorted(last))
    silent = {name for name in names if name not in last or now - last[name] > rules.expect_every}
    quiet = []
    for name in sorted(silent):
        heard = f"last heard of at {last[name]:%Y-%m-%d %H:%M}Z" if name in last else "never heard of"
        why = f"{name} is {heard}, and should report every {in_words(rules.expect_every)}"
        quiet += [blind(model, name, now, why) for model in rules.models]
    return found + shared(quiet, len(names))


def _effect(report: Report, rules: Rules) -> float:
    if report.late_hours is None:
        return 0.0 if report.ok else 1.0
    late = max(report.late_hours - rules.fine_hours, 0.0) / rules.broken_hours
    # NaN is late by nobody knows how much, and goes on as such.
    return late if math.isnan(late) else max(min(late, 1.0), 0.0 if report.ok else 1.0)


def _told(report: Report) -> str:
    late = "" if report.late_hours is None else f", {report.late_hours:.4g} h late"
    return f"{report.source} {'is well' if report.ok else 'is broken'}{late}" + (
        f": {report.reason}" if report.reason else ""
    )


def _report(content: Any) -> Report:
    if not isinstance(content, dict):
        raise ValueError("is no JSON object")
    if unknown := set(content) - _KEYS:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}; known are: {', '.join(sorted(_KEYS))}")
    ok, late, source = content["ok"], content.get("late_hours"), content["source"]
    if not isinstance(source, str) or not source:
        raise ValueError("source is a name")
    if not isinstance(ok, bool):
        raise ValueError("ok is true or false")
    if late is not None and (isinstance(late, bool) or not isinstance(late, int | float)):
        raise ValueError("late_hours is a number")
    hours = None if late is None else float(late)
    if hours is not None and hours < 0:
        raise ValueError("late_hours is not below 0")
    reason = content.get("reason", "")
    if not isinstance(reason, str) or not reason.isprintable() or len(reason) > MOST_CHARACTERS:
        raise ValueError(f"reason is one line of at most {MOST_CHARACTERS} characters that can be printed")
    return Report(utc(datetime.fromisoformat(content["at"])), source, ok, hours, reason)


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return "is no JSON"
    return str(error)[:200] or type(error).__name__

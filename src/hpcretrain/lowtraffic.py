"""Windows of low traffic from a file, with what past trainings of a home tell about what fits in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from hpcretrain.adapters.trafficfile import read_traffic
from hpcretrain.config.load import load_policy
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.policy.duration import Run, fits, need
from hpcretrain.policy.types import Windows
from hpcretrain.policy.types.windows import known_zone
from hpcretrain.policy.windows import plan
from hpcretrain.records import Job
from hpcretrain.report.windows import Found
from hpcretrain.stats.traffic import HOUR_S
from hpcretrain.wiring import read_history


def find_windows(path: Path, hours: float, now: str | None, rules: Windows, home: Path | None) -> Found:
    """Plan windows.

    Args:
        path: A CSV file, or `-` for standard input.
        hours: Length of a window.
        now: ISO 8601, without an offset in the rules' time zone; by default when the last row of the file ends.
        rules: The policy's.
        home: Whose past trainings tell what must fit in, if any.

    Raises:
        InputError: The file, the time, the length or the home cannot be used.
    """
    if not (0 < hours <= 24 and float(hours * HOUR_S).is_integer()):
        raise InputError(f"--hours: {hours:g} is no length of a window: more than 0, at most 24, in whole seconds")
    at = None if now is None else _moment(now, rules.zone)
    needed = need(() if home is None else _past_runs(home), rules)
    traffic = read_traffic(path, rules.zone)
    series = traffic.series(None if at is None else math.floor(at.timestamp()))
    at = at or datetime.fromtimestamp(series.end_s, UTC)
    return Found(
        now=at,
        hours=hours,
        rules=rules,
        past=series,
        plan=plan(series, at, hours, rules),
        need=needed,
        fit=fits(hours, needed),
    )


def window_rules(policy: Path | None, time_zone: str | None) -> Windows:
    """The table `[windows]` of a policy file, or its defaults; a time zone that is named takes the place of its own.

    Raises:
        InputError: The file or the time zone cannot be used.
    """
    rules = load_policy(policy).windows or Windows()
    if time_zone is None:
        return rules
    try:
        return rules.model_copy(update={"time_zone": known_zone(time_zone)})
    except ValueError as error:
        raise InputError(f"--time-zone: {error}") from None


def past_runs(history: History, notes: Iterable[Mapping[str, Any]]) -> list[Run]:
    """What each cycle's trainings took, by the notes of a ledger.

    Trainings of one purpose run side by side, those of another after them. Their fits take the CPU time of the longest;
    all else between the first submission and the last result was waiting.
    """
    begun: dict[str, datetime] = {}
    ended: dict[str, tuple[datetime, float]] = {}
    for note in notes:
        at = datetime.fromisoformat(note["at"])
        if note["event"] == "job_submitted":
            begun.setdefault(note["serves"], at)
        elif note["event"] == "job_finished" and note.get("ok", True):
            ended[note["serves"]] = at, float(note["cpu_s"])
    known = begun.keys() & ended.keys()
    runs = (_run([job for job in cycle.jobs if job.id in known], begun, ended) for cycle in history.cycles)
    return [run for run in runs if run is not None]


def _run(jobs: list[Job], begun: Mapping[str, datetime], ended: Mapping[str, tuple[datetime, float]]) -> Run | None:
    if not jobs:
        return None
    wall_s = fit_s = 0.0
    for purpose in {job.purpose for job in jobs}:
        mine = [job.id for job in jobs if job.purpose is purpose]
        wall_s += (max(ended[job][0] for job in mine) - min(begun[job] for job in mine)).total_seconds()
        fit_s += max(ended[job][1] for job in mine)
    return Run(
        queue_wait_h=max(wall_s - fit_s, 0.0) / HOUR_S,
        training_h=fit_s / HOUR_S,
        cost_mrow_passes=math.fsum(job.cost_mrow_passes for job in jobs),
    )


def _past_runs(home: Path) -> list[Run]:
    history, ledger = read_history(home)
    return past_runs(history, ledger.notes())


def _moment(text: str, zone: ZoneInfo) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(f'--now: "{text}" is no time; write ISO 8601, such as 2026-05-01T12:00Z') from None

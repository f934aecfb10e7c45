"""Assess models from files of signals, without a home: what came from elsewhere, by the same rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hpcretrain.adapters.signalfile import read_signals
from hpcretrain.appraise import Appraisal, Subject, appraise
from hpcretrain.canonical import canonical, plain
from hpcretrain.config.load import load_policy
from hpcretrain.errors import InputError
from hpcretrain.evidence import Measure
from hpcretrain.policy.assess import Grid
from hpcretrain.policy.types import Policy


def assess_file(
    signals: Path, now: datetime, policy: Path | None = None, released: datetime | None = None
) -> list[dict[str, Any]]:
    """What the signals of a file come to, a model each, by name; see docs/reference/json.md.

    Args:
        signals: The file: a JSON object a line.
        now: The time.
        policy: The policy file. Default: the one that ships.
        released: When what serves was released: signals of before are about another model. Default: not known.

    Raises:
        InputError: A file cannot be read, or a line of it; nothing is assessed then.
    """
    if released is not None and released > now:
        raise InputError(f"--released {released.isoformat()} is after --now {now.isoformat()}")
    found = assess_all(read_signals(signals), now, load_policy(policy), released)
    return [told(model, each) for model, each in found]


def assess_all(
    measures: Iterable[Measure], now: datetime, policy: Policy, released: datetime | None = None
) -> list[tuple[str, Appraisal]]:
    """The appraisal of each model, by name, in slots of the policy's `slot_hours` that end now."""
    by_model: dict[str, list[Measure]] = defaultdict(list)
    for measure in measures:
        if released is None or measure.at >= released:
            by_model[measure.model].append(measure)
        else:
            by_model.setdefault(measure.model, [])
    grid = Grid(now, timedelta(hours=policy.score.slot_hours), policy.score.memory_slots)
    return [(model, appraise(by_model[model], policy, grid, Subject(now, released))) for model in sorted(by_model)]


def told(model: str, found: Appraisal) -> dict[str, Any]:
    """An appraisal as what JSON can hold."""
    return {
        "model": model,
        "score": found.scored.score,
        "decline": found.scored.decline,
        "fresh": found.scored.fresh,
        "contributions": found.scored.contributions,
        "class": found.priority_class.value,
        "action": found.action.value,
        "findings": plain(found.findings),
    }


def text(content: dict[str, Any]) -> str:
    """The same in words."""
    points = {name: value for name, value in content["contributions"].items() if value}
    led = ", ".join(f"{name} {value}" for name, value in sorted(points.items(), key=lambda item: (-item[1], item[0])))
    lines = [
        f"{content['model']}: {content['action'].replace('_', ' ')}; score {content['score']} of 1000, "
        f"class {content['class']}",
        f"  points: {led or 'none'}",
    ]
    for finding in content["findings"]:
        numbers = ""
        if finding["observed"] is not None and finding["limit"] is not None:
            numbers = f" (seen {finding['observed']}, limit {finding['limit']})"
        lines.append(f"  {finding['outcome']:<12} {finding['check']}: {finding['reason']}{numbers}")
    return "\n".join(lines)


def json_line(content: dict[str, Any]) -> str:
    """The same as canonical JSON, one line."""
    return canonical(content)

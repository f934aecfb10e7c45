"""Assess models from files of signals, without a home: what came from elsewhere, by the same rules."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hpcretrain.adapters.signalfile import read_signals
from hpcretrain.appraise import Appraisal, Subject, appraise
from hpcretrain.canonical import canonical, plain
from hpcretrain.config.load import load_policy
from hpcretrain.errors import InputError
from hpcretrain.evidence import Advice, Finding, Measure, Outcome
from hpcretrain.policy.assess import Grid
from hpcretrain.policy.types import Policy
from hpcretrain.report.served import moment


def assess_file(
    signals: Path,
    now: datetime,
    policy: Path | None = None,
    released: Iterable[str] = (),
    retrain_hours: float | None = None,
) -> list[dict[str, Any]]:
    """What the signals of a file come to, a model each, by name; see docs/reference/json.md.

    Args:
        signals: The file: a JSON object a line; `-` for standard input.
        now: The time.
        policy: The policy file. Default: the one that ships.
        released: "MODEL=TIME", when what serves was released: signals of before are about another model. A bare "TIME"
            where the file has one model. Default: not known.
        retrain_hours: Expected hours from request to release. Default: the policy's `classes.expected_hours`.

    Raises:
        InputError: A file cannot be read, or a line of it, or an option cannot be used; nothing is assessed then.
    """
    if retrain_hours is not None and not (math.isfinite(retrain_hours) and retrain_hours >= 0):
        raise InputError(f"--retrain-hours {retrain_hours:g}: must be a number of hours, 0 or more")
    rules, measures = load_policy(policy), read_signals(signals)
    releases = _releases(tuple(released), {each.model for each in measures}, now)
    return [told(model, each) for model, each in assess_all(measures, now, rules, releases, retrain_hours)]


def _releases(released: Sequence[str], models: Collection[str], now: datetime) -> dict[str, datetime]:
    """The time of the release of each model, as far as it is given."""
    found: dict[str, datetime] = {}
    problems, known = [], ", ".join(sorted(models))
    for text in released:
        name, _, time = text.rpartition("=")
        try:
            at = moment(time)
        except InputError as error:
            problems.append(f"--released {text}: {error}")
            continue
        model = name if "=" in text else min(models)
        if "=" not in text and len(models) > 1:
            problems.append(f"--released {text}: {len(models)} models have signals; say whose it is: MODEL={text}")
        elif model not in models:
            problems.append(f'--released {text}: no signal is about "{model}"; they are about {known}')
        elif model in found:
            problems.append(f"--released {text}: the release of {model} is given twice")
        elif at > now:
            problems.append(f"--released {text} is after --now {now.isoformat()}")
        found.setdefault(model, at)
    if problems:
        raise InputError(problems)
    return found


def assess_all(
    measures: Iterable[Measure],
    now: datetime,
    policy: Policy,
    released: Mapping[str, datetime] | None = None,
    retrain_hours: float | None = None,
) -> list[tuple[str, Appraisal]]:
    """The appraisal of each model, by name, in slots of the policy's `slot_hours` that end now.

    Args:
        measures: Of all models.
        now: The time.
        policy: The policy.
        released: When what serves was released, by model, as far as it is known.
        retrain_hours: Expected hours from request to release; None where none was measured.
    """
    by_model: dict[str, list[Measure]] = defaultdict(list)
    for measure in measures:
        by_model[measure.model].append(measure)
    grid = Grid(now, timedelta(hours=policy.score.slot_hours), policy.score.memory_slots)
    return [
        (model, _appraised(by_model[model], policy, grid, Subject(now, (released or {}).get(model), retrain_hours)))
        for model in sorted(by_model)
    ]


def _appraised(measures: Sequence[Measure], policy: Policy, grid: Grid, subject: Subject) -> Appraisal:
    """What is known of one model, without what was measured before its release."""
    released = subject.released
    if released is None:
        return appraise(measures, policy, grid, subject)
    counted = [each for each in measures if each.at >= released]
    found = appraise(counted, policy, grid, subject)
    left_out = len({(each.family, each.name, each.at) for each in measures if each.at < released})
    reason = (
        f"{left_out} signals of before the release, {released:%Y-%m-%d %H:%M}Z, are left out: they are about another "
        "model" + ("" if counted else "; none is left")
    )
    outcome = Outcome.PASS if counted else Outcome.INSUFFICIENT
    return replace(found, findings=(*found.findings, Finding("before_release", outcome, reason, left_out)))


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
    retrains = content["action"] == Advice.RETRAIN.value
    urgency = f"class {content['class']}" if retrains else f"a retraining would be of class {content['class']}"
    lines = [
        f"{content['model']}: {content['action'].replace('_', ' ')}; score {content['score']} of 1000, {urgency}",
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

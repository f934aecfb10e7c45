"""Reads outside events, such as Prefect's: one JSON object a line, as `prefect events stream` writes them.

What counts of an event is its name (`event`), when it occurred (`occurred`), and of its payload `model`, `deadline`,
`effect` (how much of a full reason to retrain it is, from 0 to 1) and `reason`.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcretrain.adapters.inputfile import called, opened
from hpcretrain.canonical import utc
from hpcretrain.errors import InputError
from hpcretrain.evidence import Family, Measure

MOST_TOLD = 20
MOST_CHARACTERS = 300


def read(path: Path, events: Sequence[str], models: Sequence[str]) -> list[Measure]:
    """The events of a file that count, in order of time; the same event twice (by its `id`) is one.

    Args:
        path: JSON Lines; `-` for standard input.
        events: Names of events that count, or patterns.
        models: The models that they concern, where the payload names none.

    Raises:
        InputError: The file cannot be read; every line that is wrong, by its number.
    """
    try:
        with opened(path) as file:
            return parse(file, events, models, called(path))
    except OSError as error:
        raise InputError(f"{called(path)}: cannot be read: {error.strerror or error}") from error


def parse(lines: Iterable[bytes], events: Sequence[str], models: Sequence[str], where: str) -> list[Measure]:
    """As `read`, from lines."""
    found: dict[str, list[Measure]] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
            if any(fnmatch.fnmatchcase(_text(content, "event"), pattern) for pattern in events):
                found.setdefault(str(content.get("id", number)), _measures(content, models))
        except KeyError as error:
            problems.append(f"{where}, line {number}: {error.args[0]} is missing")
        except (json.JSONDecodeError, UnicodeDecodeError):
            problems.append(f"{where}, line {number}: is no JSON")
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            problems.append(f"{where}, line {number}: {str(error)[:200]}")
    if problems:
        more = [f"{where}: and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        raise InputError([*problems[:MOST_TOLD], *more])
    return sorted((each for measures in found.values() for each in measures), key=lambda each: (each.at, each.name))


def _measures(content: Any, models: Sequence[str]) -> list[Measure]:
    payload = content.get("payload") or {}
    if not isinstance(payload, dict):
        raise ValueError("payload is no JSON object")
    at = _time(content, "occurred")
    deadline = _time(payload, "deadline") if payload.get("deadline") is not None else None
    effect = payload.get("effect")
    if effect is not None and (isinstance(effect, bool) or not isinstance(effect, int | float) or not 0 <= effect <= 1):
        raise ValueError("effect is a number from 0 to 1")
    reason = payload.get("reason", "")
    if not isinstance(reason, str) or not reason.isprintable() or len(reason) > MOST_CHARACTERS:
        raise ValueError(f"reason is one line of at most {MOST_CHARACTERS} characters that can be printed")
    name = _text(content, "event")
    named = [_text(payload, "model")] if "model" in payload else models
    return [
        Measure(model, Family.EXTERNAL, name, at, effect, effect, 1, None, deadline, reason or f"{name} occurred")
        for model in named
    ]


def _text(content: Any, key: str) -> str:
    if not isinstance(content, dict):
        raise ValueError("is no JSON object")
    if not isinstance(content[key], str) or not content[key]:
        raise ValueError(f"{key} is a word")
    return str(content[key])


def _time(content: Any, key: str) -> datetime:
    try:
        return utc(datetime.fromisoformat(_text(content, key)))
    except ValueError:
        raise ValueError(f"{key} is a time with an offset, such as 2024-03-01T06:00Z") from None

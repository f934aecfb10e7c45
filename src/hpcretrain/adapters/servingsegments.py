"""Reads what the logger beside serving spooled (`hpcretrain.servinglog`): predictions, and how many were dropped."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcretrain.canonical import utc
from hpcretrain.errors import InputError
from hpcretrain.servinglog import LONGEST_LINE, PART

_SUFFIX = ".jsonl"
_LONGEST = LONGEST_LINE + 1000
_EARLIEST = datetime.min.replace(tzinfo=UTC)

Label = tuple[str, float | str, datetime | None]
"""Id, label, and when it was known; None where that was not written down."""


@dataclass(frozen=True)
class Served:
    """One prediction; `latency_ms` is NaN where it was not measured, `error` empty where there was none."""

    id: str
    at: datetime
    model_version: str
    score: Any
    latency_ms: float
    error: str
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Spooled:
    """What segments hold.

    Attributes:
        rows: In order of time, each id once: the first one wins.
        duplicates: How many later rows had an id that was there.
        dropped: How many predictions were not written, by reason, at the times of their reports.
        refused: What was wrong with lines that cannot be read, by segment and number.
        unfinished: How many segments end amid a line: they are being written, or their process died.
    """

    rows: tuple[Served, ...]
    duplicates: int
    dropped: tuple[tuple[datetime, str, int], ...]
    refused: tuple[str, ...]
    unfinished: int


def read(places: Sequence[Path], since: datetime | None = None, until: datetime | None = None) -> Spooled:
    """Everything in segments and in folders of segments with since <= time < until, finished or not.

    Raises:
        InputError: A place is not there, or cannot be read.
    """
    rows: list[Served] = []
    dropped: list[tuple[datetime, str, int]] = []
    refused: list[str] = []
    unfinished = 0
    for path in _segments(places):
        found, ends = _read(path)
        unfinished += not ends
        for number, line in enumerate(found, start=1):
            try:
                content = parse(line)
            except ValueError as error:
                refused.append(f"{path}, line {number}: {error}")
                continue
            if isinstance(content, Served):
                rows.append(content)
            else:
                dropped += content
    chosen = [row for row in rows if _within(row.at, since, until)]
    first: dict[str, Served] = {}
    for row in sorted(chosen, key=_order):
        first.setdefault(row.id, row)
    told = sorted(each for each in dropped if _within(each[0], since, until))
    return Spooled(tuple(first.values()), len(chosen) - len(first), tuple(told), tuple(refused), unfinished)


def parse(line: bytes) -> Served | list[tuple[datetime, str, int]]:
    """A prediction from its line, or the counts of dropped ones.

    Raises:
        ValueError: It is neither; why.
    """
    if len(line) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} bytes")
    try:
        content = json.loads(line)
        at = utc(datetime.fromisoformat(content["at"]))
        if "dropped" in content:
            return [(at, str(why), _count(count)) for why, count in content["dropped"].items()]
        inputs = content["inputs"]
        if not isinstance(content["id"], str) or not isinstance(inputs, dict):
            raise ValueError("id is text, and inputs an object")
        latency = content.get("latency_ms", math.nan)
        return Served(
            id=content["id"],
            at=at,
            model_version=str(content["model_version"]),
            score=content["score"],
            latency_ms=math.nan if latency is None else float(latency),
            error=str(content.get("error") or ""),
            inputs=inputs,
        )
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise ValueError("is no JSON") from None
    except (TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"is no prediction: {str(error)[:100]}") from None


def join(pairs: Iterable[Label], spooled: Spooled, delay: timedelta | None) -> Joined:
    """Labels joined to predictions by id.

    Args:
        pairs: The labels, in order of files and lines.
        spooled: The predictions.
        delay: Labels that were known later than so long after their prediction are left out, so that rows whose labels
            have matured stay as they are; None to take all.
    """
    known = {row.id: row for row in spooled.rows}
    found: dict[str, float | str] = {}
    counts: Counter[str] = Counter()
    # Where times are told the first is the earliest; else the first in order of files and lines.
    for identifier, label, at in sorted(pairs, key=lambda pair: pair[2] or _EARLIEST):
        row = known.get(identifier)
        if row is None:
            counts["unknown"] += 1
        elif identifier in found:
            counts["repeated" if found[identifier] == label else "contradicting"] += 1
        elif delay is not None and at is not None and at - row.at > delay:
            counts["late"] += 1
        else:
            found[identifier] = label
    return Joined(found, dict(counts))


@dataclass(frozen=True)
class Joined:
    """Labels by id, and how many others there were: `unknown`, `repeated`, `contradicting`, `late`."""

    labels: Mapping[str, float | str]
    left_out: Mapping[str, int]


def _segments(places: Sequence[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            yield from sorted(each for each in place.iterdir() if each.name.endswith((_SUFFIX, _SUFFIX + PART)))
        elif place.is_file():
            yield place
        else:
            raise InputError(f"{place}: there is no such segment or folder")


def _read(path: Path) -> tuple[list[bytes], bool]:
    """The whole lines of a segment, and whether it ends with one."""
    try:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            # It was finished, and so renamed, since the folder was listed.
            data = path.with_suffix("").read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    *lines, rest = data.split(b"\n")
    return lines, not rest


def _within(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or since <= at) and (until is None or at < until)


def _order(row: Served) -> tuple[datetime, str, str]:
    """The same, in whatever order lines come."""
    return row.at, row.id, repr(row)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("dropped counts are whole numbers")
    return value

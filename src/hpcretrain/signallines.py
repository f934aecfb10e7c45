"""Lines of signals: one JSON object each, from whatever measured them."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from hpcretrain.errors import InputError
from hpcretrain.evidence import Family, Measure

NEEDED = ("model", "family", "name", "at", "effect", "lower_bound", "n", "reference")
OPTIONAL = ("deadline", "reason")
_MOST_PROBLEMS = 20
_LONGEST = 1_000_000


def parse_signals(lines: Iterable[bytes], where: str) -> list[Measure]:
    """The signals of lines; empty lines count for nothing.

    Raises:
        InputError: Lines cannot be read, or there are none.
    """
    problems: list[str] = []
    measures = list(_read(lines, where, problems))
    if problems:
        more = len(problems) - _MOST_PROBLEMS
        raise InputError([*problems[:_MOST_PROBLEMS], *([f"{where}: and {more} lines more"] if more > 0 else [])])
    if not measures:
        raise InputError(f"{where}: holds no signal; a line is a JSON object with {', '.join(NEEDED)}")
    return measures


def line_of(measure: Measure) -> str:
    """A signal as the line that `parse_signals` reads; what is not finite is written as NaN or Infinity."""
    content: dict[str, Any] = {
        "model": measure.model,
        "family": measure.family.value,
        "name": measure.name,
        "at": measure.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "effect": measure.effect,
        "lower_bound": measure.lower_bound,
        "n": measure.n,
        "reference": measure.reference,
    }
    if measure.deadline is not None:
        content["deadline"] = measure.deadline.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if measure.reason:
        content["reason"] = measure.reason
    return json.dumps(content, ensure_ascii=False)


def _read(lines: Iterable[bytes], where: str, problems: list[str]) -> Iterator[Measure]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            if len(line) > _LONGEST:
                raise ValueError(f"is longer than {_LONGEST:,} bytes")
            yield _measure(json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"), object_pairs_hook=_object))
        except RecursionError:
            problems.append(f"{where}: line {number}: is nested too deeply")
        except ValueError as error:
            problems.append(f"{where}: line {number}: {_said(error)}")


def _said(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"is not JSON: {error.msg} at column {error.colno}"
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 at byte {error.start + 1}"
    if "integer string conversion" in str(error):
        return f"holds a number of more than {sys.get_int_max_str_digits():,} digits"
    return str(error)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("names a key twice")
    return content


def _measure(content: Any) -> Measure:
    if not isinstance(content, dict):
        raise ValueError("is no JSON object")
    wrong = [f"{key} is missing" for key in NEEDED if key not in content]
    known = ", ".join((*NEEDED, *OPTIONAL))
    wrong += [f"{key!r:.60} is unknown (known are {known})" for key in content if key not in NEEDED + OPTIONAL]
    if wrong:
        raise ValueError("; ".join(wrong))
    found: dict[str, Any] = {}
    for key, read in _READERS.items():
        if key in content:
            try:
                found[key] = read(content[key])
            except (ValueError, OverflowError) as error:
                wrong.append(f"{key} {error} (got {json.dumps(content[key]):.60})")
    if not wrong:
        wrong += _contradictions(found)
    if wrong:
        raise ValueError("; ".join(wrong))
    return Measure(**found)


def _contradictions(found: dict[str, Any]) -> Iterator[str]:
    effect, bound = found["effect"], found["lower_bound"]
    if effect is None and bound is not None:
        yield "lower_bound is given without an effect"
    if effect is not None and bound is None and math.isfinite(effect):
        yield "effect is given without its lower_bound; a bound that is not known is 0"
    if effect is None or bound is None or not (math.isfinite(effect) and math.isfinite(bound)):
        return
    if bound > effect:
        yield f"lower_bound {bound:g} is above the effect {effect:g}"


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > 400 or not value.isprintable():
        raise ValueError("must be printable text of 1 to 400 characters")
    return value


def _family(value: Any) -> Family:
    try:
        return Family(value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(each.value for each in Family)}") from None


def _time(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(value)
    except (ValueError, TypeError):
        raise ValueError("must be a time in ISO 8601, such as 2026-03-01T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError("must say its time zone, such as 2026-03-01T12:00:00Z")
    return moment.astimezone(UTC)


def _deadline(value: Any) -> datetime | None:
    return None if value is None else _time(value)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, str) and value.lower() in ("nan", "inf", "-inf", "infinity", "-infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number or null")
    return float(value)


def _effect(value: Any) -> float | None:
    number = _number(value)
    # Not finite is evidence, whichever way it points.
    if number is not None and math.isfinite(number) and number < 0:
        raise ValueError("must not be negative: better is 0")
    return number


def _count(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number of 0 or more")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "model": _text,
    "family": _family,
    "name": _text,
    "at": _time,
    "effect": _effect,
    "lower_bound": _number,
    "n": _count,
    "reference": _number,
    "deadline": _deadline,
    "reason": _text,
}

"""Read a TOML file and check it: every problem at once, with file and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Tag, ValidationError

from hpcretrain.errors import InputError

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        InputError: It is missing, cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: is not TOML: {error}") from error


def parse(kind: type[Model], content: Any, where: str, usual: Mapping[str, Any] | None = None) -> Model:
    """What a file says, as `kind`; `usual` is sound content, by which more can be said of what is not.

    Raises:
        InputError: It holds what it may not: each problem with `where` and its key.
    """
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        told = error.errors()
        # A list whose entries are wrong is not short of entries as well.
        inside = {problem["loc"][: len(short["loc"])] for short in told for problem in told if problem is not short}
        found = [each for each in told if each["type"] != "too_short" or each["loc"] not in inside]
        problems = [*found, *_also_wrong(kind, content, usual or {}, error)]
        raise InputError([f"{where}: {_sentence(problem, kind)}" for problem in problems]) from error


def _also_wrong(kind: type[BaseModel], content: Any, usual: Any, error: ValidationError) -> list[Any]:
    """What does not fit together, which pydantic looks at only where each key is right by itself.

    The wrong keys are given what is usual in their place, and what names one of them is left unsaid.
    """
    wrong = [[str(part) for part in problem["loc"]] for problem in error.errors()]
    guessed = {key for place in wrong for key in (*place[:1], *place[-2:])}
    if not guessed:
        return []
    mended = content
    for place in wrong:
        mended = _mended(mended, place, usual)
    try:
        kind.model_validate(mended)
    except ValidationError as rest:
        unfit = [problem for problem in rest.errors() if problem["type"] == "value_error"]
        return [problem for problem in unfit if guessed.isdisjoint(re.findall(r"\w+", problem["msg"]))]
    return []


def _mended(content: Any, place: list[str], usual: Any) -> Any:
    if not place or not isinstance(content, dict):
        return content
    key, deeper = place[0], place[1:]
    known = usual.get(key) if isinstance(usual, dict) else None
    if isinstance(content.get(key), dict) and deeper:
        return {**content, key: _mended(content[key], deeper, known)}
    rest = {name: value for name, value in content.items() if name != key}
    return rest if known is None else {**rest, key: known}


def _sentence(problem: Any, kind: type[BaseModel]) -> str:
    place = problem["loc"]
    key, table = ".".join(str(part) for part in place), _table(kind, place[:-1])
    known = ", ".join(sorted(field.alias or name for name, field in table.model_fields.items())) if table else ""
    named = table is not None and named_kind(table) is not None and place[-1] not in table.model_fields
    if problem["type"] == "extra_forbidden" or (problem["type"] == "model_type" and named):
        return f"{key}: unknown key; known here are: {known}"
    if problem["type"] == "missing":
        above = _table(kind, place[:-2])
        if len(place) > 1 and above and named_kind(above) and place[-2] not in above.model_fields:
            return f"{key}: is missing; {place[-2]} is no key of its own here, so it is taken for a class"
        return f"{key}: is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if not key:
        return message
    return (
        f"{key}: {message} (got {problem['input']!r})"
        if not isinstance(problem["input"], dict)
        else f"{key}: {message}"
    )


def named_kind(kind: type[BaseModel]) -> Any:
    """The kind of what a table holds under names that its user gives; None where it has no such names."""
    if kind.model_config.get("extra") != "allow":
        return None
    return get_args(get_type_hints(kind)["__pydantic_extra__"])[-1]


def _table(kind: Any, location: Sequence[Any]) -> type[BaseModel] | None:
    """The kind of the table at a place."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not location:
            return kind
        field = kind.model_fields.get(str(location[0]))
        return _table(named_kind(kind) if field is None else field.annotation, location[1:])
    inner = get_args(kind)
    if get_origin(kind) is Annotated:
        tags = [each.tag for each in inner[1:] if isinstance(each, Tag)]
        return None if tags and tags != list(location[:1]) else _table(inner[0], location[len(tags) :])
    if get_origin(kind) in (dict, tuple, list):
        return _table(inner[-1] if get_origin(kind) is dict else inner[0], location[1:]) if location else None
    return next((table for each in inner if (table := _table(each, location))), None)

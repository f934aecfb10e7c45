"""The priority classes: three that everybody has, and further ones that a site names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

NAME = r"[a-z][a-z0-9_-]{0,39}"
TAKEN = frozenset({"all", "model", "default", "reconcile"})
"""What a stop, or a queue in Prefect, is called that is of no class."""

_KNOWN: dict[str, PriorityClass] = {}


class PriorityClass(str):
    """A priority class, which is its name. Which ones there are, and in which order, a policy says.

    The same name is the same object.

    Raises:
        ValueError: It is no name of a class.
    """

    URGENT: ClassVar[PriorityClass]
    STANDARD: ClassVar[PriorityClass]
    BACKGROUND: ClassVar[PriorityClass]

    def __new__(cls, name: str) -> PriorityClass:
        """The class of that name."""
        known = _KNOWN.get(name)
        if known is None:
            if not re.fullmatch(NAME, name):
                raise ValueError(f"{name!r} is no name of a class: at most 40 of a-z, 0-9, _ and -, a letter first")
            known = _KNOWN.setdefault(name, super().__new__(cls, name))
        return known

    @property
    def value(self) -> str:
        """The name."""
        return str(self)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """How it is read from what JSON or TOML holds, and written."""
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


PriorityClass.URGENT = PriorityClass("urgent")
PriorityClass.STANDARD = PriorityClass("standard")
PriorityClass.BACKGROUND = PriorityClass("background")

BUILT_IN = (PriorityClass.URGENT, PriorityClass.STANDARD, PriorityClass.BACKGROUND)
"""The classes that there always are, most urgent first."""


def lined_up(below: Mapping[str, str]) -> tuple[PriorityClass, ...]:
    """All classes, most urgent first.

    Args:
        below: Of each further class the one right after which it comes.

    Raises:
        ValueError: All that is wrong: a name that cannot be one, or a place that is none.
    """
    return _lined_up(tuple(sorted(below.items()))) if below else BUILT_IN


@cache
def _lined_up(below: tuple[tuple[str, str], ...]) -> tuple[PriorityClass, ...]:
    if problems := _problems(dict(below)):
        raise ValueError("; ".join(problems))
    after = {place: name for name, place in below}
    order: list[PriorityClass] = []
    for each in BUILT_IN:
        place: str | None = each
        while place is not None:
            order.append(PriorityClass(place))
            place = after.get(place)
    return tuple(order)


def _problems(below: Mapping[str, str]) -> list[str]:
    known, found = ", ".join((*BUILT_IN, *below)), []
    for name, place in below.items():
        rivals = sorted(other for other in below if below[other] == place)
        if not re.fullmatch(NAME, name):
            found.append(f"{name!r} is no name of a class: at most 40 of a-z, 0-9, _ and -, a letter first")
        elif name in TAKEN:
            found.append(f"{name} is no name of a class: it means something else")
        if place == PriorityClass.BACKGROUND:
            found.append(f"{name}.below: nothing comes after background, of which is what no other class claims")
        elif place not in BUILT_IN and place not in below:
            found.append(f"{name}.below: there is no class {place}; there are {known}")
        elif rivals[0] == name and len(rivals) > 1:
            found.append(f"{' and '.join(rivals)} both come right after {place}: let one be below the other")
        elif _circles(name, below):
            found.append(f"{name}.below: by way of {place} it comes after itself")
    return found


def _circles(name: str, below: Mapping[str, str]) -> bool:
    seen, place = {name}, below[name]
    while place in below and place not in seen:
        seen.add(place)
        place = below[place]
    return place == name

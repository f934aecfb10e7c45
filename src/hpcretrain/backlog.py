"""What homes that share limits tell each other: what waits, what runs, what was spent, and who stopped what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache

from pydantic import TypeAdapter

from hpcretrain.canonical import Plain, canonical, plain
from hpcretrain.evidence import Finding, PriorityClass

ALL = "all"
"""The scope of a stop that holds every model of a board; else it is a class, or empty for one model."""
MODEL = "model"
"""What somebody names who stops one model."""


@dataclass(frozen=True)
class Waiting(Plain):
    """A request that waits.

    Attributes:
        request: Its identifier.
        model: The model.
        team: Whose model it is; None where nobody said.
        priority_class: Its class.
        asked_at: When it was asked first.
        hours: Expected hours until it is released.
        cpu_hours: Expected CPU hours.
        deadline: When it must be done; None where nothing presses.
        by: Who asked in person; None where the model's decline did.
        lacks: The first check of its own that keeps it, such as too few rows; None where only what is shared does.
        not_before: Earliest time at which it can begin, such as that of its window; None where nothing says.
        after: The models and files that must be newer than its last training.
        trained_at: When it was trained last.
    """

    request: str
    model: str
    team: str | None
    priority_class: PriorityClass
    asked_at: datetime
    hours: float
    cpu_hours: float
    deadline: datetime | None = None
    by: str | None = None
    lacks: str | None = None
    not_before: datetime | None = None
    after: tuple[str, ...] = ()
    trained_at: datetime | None = None

    @property
    def alone(self) -> Waiting:
        """As others are told of it: what it comes after is for its own home to look at, whose files they do not see."""
        return replace(self, after=())


@dataclass(frozen=True)
class Running(Plain):
    """A training that is under way, with the CPU hours that are reserved for it and when it should be done."""

    request: str
    model: str
    team: str | None
    priority_class: PriorityClass
    since: datetime
    cpu_hours: float
    ends: datetime | None


@dataclass(frozen=True)
class Spent(Plain):
    """CPU hours of a model that were used by trainings ordered in a calendar month, such as "2026-11"."""

    model: str
    team: str | None
    month: str
    cpu_hours: float


@dataclass(frozen=True)
class Risk(Plain):
    """Points of the risk budget that a release spent."""

    model: str
    team: str | None
    at: datetime
    points: float


@dataclass(frozen=True)
class Stop(Plain):
    """Somebody stopped something: a class of one model, the whole model (empty), or all of a board ("all")."""

    scope: str
    by: str
    at: datetime
    reason: str


@dataclass(frozen=True)
class Entry(Plain):
    """What one home tells the others.

    Attributes:
        home: A name that no other home has.
        model: Its model.
        at: When it told.
        waiting: Its open request, if it has one.
        running: Its trainings under way.
        spent: CPU hours by month.
        risks: What its releases spent.
        refreshed_at: When its model came to serve.
    """

    home: str
    model: str
    at: datetime
    waiting: tuple[Waiting, ...] = ()
    running: tuple[Running, ...] = ()
    spent: tuple[Spent, ...] = ()
    risks: tuple[Risk, ...] = ()
    refreshed_at: datetime | None = None

    @property
    def text(self) -> str:
        """As JSON."""
        return canonical(self)

    @property
    def content(self) -> Mapping[str, object]:
        """As what JSON can hold."""
        told: Mapping[str, object] = plain(self)
        return told

    @classmethod
    def of(cls, content: object) -> Entry:
        """An entry from what its JSON holds.

        Raises:
            ValueError: It is none.
        """
        return _adapter().validate_python(content)

    @classmethod
    def parse(cls, text: str) -> Entry:
        """An entry from its JSON.

        Raises:
            ValueError: It is none.
        """
        return cls.of(json.loads(text))


@dataclass(frozen=True)
class Means(Plain):
    """What a home reckons with.

    Attributes:
        team: Whose model it is; None where nobody said.
        after: What must be refreshed before it is trained again.
        hours: Expected hours from a decision to what comes of it.
        cpu_s_per_mrow_pass: CPU seconds that a modeled cost comes to; None before any job has ended.
        cpu_hours: Expected CPU hours of a training then.
    """

    team: str | None
    after: tuple[str, ...]
    hours: float
    cpu_s_per_mrow_pass: float | None
    cpu_hours: float

    def of(self, cost_mrow_passes: float) -> float:
        """Expected CPU hours of a modeled cost."""
        rate = self.cpu_s_per_mrow_pass
        return self.cpu_hours if rate is None else cost_mrow_passes * rate / 3600


@dataclass(frozen=True)
class Shared(Plain):
    """What a decision saw of what is shared: facts that are in no ledger of its own.

    Attributes:
        means: What this home reckons with.
        entries: What each home of the board told, this one among them; this one alone without a board.
        site: Findings about the site for the class of the request.
        refreshed: When the files that the request waits for were written last, by name; None where nobody knows.
        window_ends: When the window that is open now ends; None without any.
        stop: The stop that holds every model of the board; None where none stands.
        troubles: What could not be read.
    """

    means: Means
    entries: tuple[Entry, ...]
    site: tuple[Finding, ...] = ()
    refreshed: Mapping[str, datetime | None] = field(default_factory=dict)
    window_ends: datetime | None = None
    stop: Stop | None = None
    troubles: tuple[Finding, ...] = ()


@cache
def _adapter() -> TypeAdapter[Entry]:
    return TypeAdapter(Entry)

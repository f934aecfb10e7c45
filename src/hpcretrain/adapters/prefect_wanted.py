"""What a home is to have in Prefect, as data: what setup makes and teardown removes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal


@dataclass(frozen=True)
class Queue:
    """A queue of the work pool; `limit` of its runs may go on at once, or any number."""

    name: str
    priority: int
    limit: int | None


@dataclass(frozen=True)
class Limits:
    """How many may go on at once: tasks by tag, and holders of a limit by its name."""

    tags: Mapping[str, int]
    shared: Mapping[str, int]


@dataclass(frozen=True)
class Deployment:
    """A flow with a home; `every` or `cron` (in UTC) is its schedule, if any."""

    flow: str
    name: str
    entrypoint: str
    description: str
    parameters: Mapping[str, Any]
    schema: Mapping[str, Any]
    queue: str
    every: timedelta | None = None
    cron: str | None = None


@dataclass(frozen=True)
class RunsDeployment:
    """Run a deployment with these parameters, which may be Prefect's templates."""

    flow: str
    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Automation:
    """When which events come, or do not come after others (`proactive`), an action is taken."""

    name: str
    description: str
    expect: tuple[str, ...]
    match: Mapping[str, str]
    for_each: tuple[str, ...]
    within: timedelta
    action: RunsDeployment
    match_related: tuple[Mapping[str, str | list[str]], ...] = ()
    after: tuple[str, ...] = ()
    proactive: bool = False


@dataclass(frozen=True)
class BlockOfHome:
    """A block: references to what a home works with, for people to see and for flows of their own to load."""

    kind: Literal["policy", "cluster", "store"]
    values: Mapping[str, str]


@dataclass(frozen=True)
class Ours:
    """How what setup makes is known again.

    Attributes:
        home: The name of a home's blocks.
        home_tag: The tag of what is a home's own.
        tag: The tag of what is any home's.
        mark: The description of the work pool, and the end of all others: it says for whom.
        flows: The names of the flows.
        limits: The limits, by their names.
    """

    home: str
    home_tag: str
    tag: str
    mark: str
    flows: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True)
class Wanted:
    """All that a home is to have in Prefect; pool, queues and limits are shared by all homes."""

    ours: Ours
    pool: str
    queues: tuple[Queue, ...]
    deployments: tuple[Deployment, ...]
    automations: tuple[Automation, ...]
    blocks: tuple[BlockOfHome, ...]


Report = dict[str, list[str]]
"""What was done: names of things under "made", "mended", "kept", "removed" and "left"."""

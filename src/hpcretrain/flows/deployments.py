"""What a home has in Prefect: its deployments, automations and blocks, as setup makes them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from hpcretrain.adapters.home import Home
from hpcretrain.adapters.livesettings import LiveSettings
from hpcretrain.adapters.prefect_owner import mark
from hpcretrain.adapters.prefect_wanted import BlockOfHome, Deployment, Limits, Ours, Queue, Wanted
from hpcretrain.config.load import load
from hpcretrain.flows.automations import automations
from hpcretrain.flows.names import (
    KINDS,
    SUBMIT_TAG,
    TAG,
    TRIAGE_TAG,
    VALIDATION,
    Kind,
    flow_name,
    home_id,
    home_tag,
)
from hpcretrain.wiring import POLICY, policy_of, read_history

RECONCILE = "reconcile"
QUEUES = (
    Queue(RECONCILE, 1, None),
    Queue("urgent", 100, 4),
    Queue("standard", 200, 2),
    Queue("background", 300, 1),
)
"""One a class: what is urgent goes first, and how many runs of a class may be going on at once.

Runs that a lost worker had taken keep their places in a queue until `reconcile` ends them: it needs none itself.
Prefect lets no two queues of a pool have one priority, and moves the other on; so there is room for further classes,
which not every home of the pool has.
"""

LIMITS = Limits(tags={TRIAGE_TAG: 4, SUBMIT_TAG: 4}, shared={VALIDATION: 1})

RECONCILE_EVERY = timedelta(minutes=1)
_OBSERVE_BETWEEN = timedelta(minutes=1), timedelta(hours=1)


def ours(home: Path) -> Ours:
    """How what a home has in Prefect is known again, whether the home is still there or not."""
    return Ours(home_id(home), home_tag(home), TAG, mark(), tuple(map(flow_name, KINDS)), LIMITS)


def wanted(home: Path, pool: str) -> Wanted:
    """All that a home is to have.

    Args:
        home: A home that lives.
        pool: The work pool.

    Raises:
        InputError: It does not live, or its configuration cannot be read.
    """
    place = home.resolve()
    settings = LiveSettings.read(place)
    classes = policy_of(place, read_history(place)[0]).classes.order
    deployments = _deployments(place, _observe_every(settings), classes)
    return Wanted(
        ours=ours(place),
        pool=pool,
        queues=queues(classes),
        deployments=deployments,
        automations=automations(place, classes),
        blocks=_blocks(place, settings),
    )


def queues(classes: Sequence[str]) -> tuple[Queue, ...]:
    """A queue for each class, the most urgent first; one that a site names has the limit of the one that it is below.

    Args:
        classes: The classes of a policy, most urgent first.
    """
    built_in = {each.name: each for each in QUEUES}
    found = [built_in[RECONCILE]]
    for name in classes:
        last = found[-1]
        found.append(built_in.get(name) or Queue(name, last.priority + 1, last.limit))
    return tuple(found)


def _observe_every(settings: LiveSettings) -> timedelta:
    step = load(settings.config).config.backtest.observe_every
    shortest, longest = _OBSERVE_BETWEEN
    wall = step / settings.pace.speed if settings.pace else step
    return min(max(wall, shortest), longest)


def _deployments(home: Path, observe_every: timedelta, classes: Sequence[str]) -> tuple[Deployment, ...]:
    def one(
        kind: Kind, queue: str, *, suffix: str = "", every: timedelta | None = None, cron: str | None = None
    ) -> Deployment:
        from prefect.utilities.callables import parameter_schema

        flow = _flow(kind)
        schema: dict[str, Any] = parameter_schema(flow).model_dump(exclude_unset=True)
        return Deployment(
            flow=flow_name(kind),
            name=f"{home_id(home)}{suffix}",
            entrypoint=f"hpcretrain.flows.{kind}.{kind}",
            description=f"{(flow.description or '').splitlines()[0]}\n\n{mark()}",
            parameters={"home": str(home)},
            schema=schema,
            queue=queue,
            every=every,
            cron=cron,
        )

    return (
        one("observe", "standard", every=observe_every),
        *(one("triage", each, suffix=f"-{each}") for each in classes),
        *(one("retrain", each, suffix=f"-{each}") for each in classes),
        *(one("release", each, suffix=f"-{each}") for each in classes),
        one("watch", "background", every=timedelta(hours=1)),
        one("reconcile", RECONCILE, every=RECONCILE_EVERY),
        one("review", "background", cron="0 6 * * *"),
    )


def _flow(kind: Kind) -> Any:
    from importlib import import_module

    return getattr(import_module(f"hpcretrain.flows.{kind}"), kind)


def _blocks(home: Path, settings: LiveSettings) -> tuple[BlockOfHome, ...]:
    place = Home.existing(home)
    store = {"home": str(home), "ledger": str(place.ledger), "mlflow": str(place.mlflow), "models": str(place.models)}
    found = [BlockOfHome("policy", _file(home / POLICY)), BlockOfHome("store", store)]
    if settings.cluster:
        found.insert(1, BlockOfHome("cluster", _file(settings.cluster)))
    return tuple(found)


def _file(path: Path) -> dict[str, str]:
    """A file by reference: where it is, and what it held."""
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

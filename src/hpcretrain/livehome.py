"""Homes that live: made once, and from then on advanced by whoever is told to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcretrain import live
from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.livesettings import NAME, LiveSettings, Pace
from hpcretrain.config.cluster import load_cluster
from hpcretrain.config.load import load
from hpcretrain.desks import LIVE, open_desk, open_table
from hpcretrain.errors import InputError
from hpcretrain.steps.tick import require_reference
from hpcretrain.trainers import Cluster
from hpcretrain.wiring import CONFIGURATION, POLICY, default_home

Tell = Callable[[str], None]


def start_live(
    config: Path,
    home: Path | None = None,
    cluster: Path | None = None,
    *,
    arrival: timedelta = timedelta(0),
    from_time: datetime | None = None,
    speed: float = 1.0,
) -> LiveSettings:
    """Make a home that lives. Nothing is trained yet; the first tick does that.

    Args:
        config: The configuration.
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        cluster: The cluster profile; without one, trainings run on this machine.
        arrival: Time within which a row arrives in the table.
        from_time: A time in the table's past that it is now, as if live; without one the present passes.
        speed: How many times faster than the present the past then passes.

    Raises:
        InputError: Something cannot be used, or the folder holds something else; nothing was changed.
    """
    place = home or default_home()
    pace = Pace(from_time, datetime.now(UTC), speed) if from_time else None
    if (place / NAME).exists():
        raise InputError(f"{place} lives already; `hpcretrain tick` advances it, --home makes another")
    settings = LiveSettings(config.resolve(), cluster.resolve() if cluster else None, arrival.total_seconds(), pace)
    terms = load(config)
    if cluster:
        load_cluster(cluster)
    clock = VirtualClock(terms.reference_until)
    table = open_table(terms, clock)
    require_reference(table, table.first_time, terms.reference_until)
    with open_desk(terms, table, clock, place, mode=LIVE) as (_, made):
        made.write(POLICY, terms.policy_text)
        made.write(CONFIGURATION, terms.config_text)
        made.write(NAME, settings.text())
    return settings


def tick(home: Path | None = None, tell: Tell = lambda _: None) -> dict[str, Any]:
    """Do all that is due in a home that lives, wait for nothing, and say how it stands.

    Args:
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        tell: Called with what is done.

    Returns:
        See docs/reference/json.md.

    Raises:
        InputError: There is no such home, or another process is at it.
    """
    place = home or default_home()
    settings = LiveSettings.read(place)
    terms = load(settings.config)
    clock = VirtualClock(terms.reference_until)
    table = open_table(terms, clock)
    cluster = Cluster(load_cluster(settings.cluster), tell) if settings.cluster else None
    with open_desk(terms, table, clock, place, cluster=cluster, mode=LIVE) as (desk, _):
        stand = live.advance(desk, clock, settings.now, tell)
        history = desk.history
        return {
            "model": terms.config.model.name,
            "ticks": [moment.isoformat() for moment in stand.ticks],
            "awaits": [{"job": job, "stands": how} for job, how in stand.awaits.items()],
            "next": stand.next.isoformat(),
            "serves": history.releases[-1].id if history.releases else None,
            "score": history.assessment.score if history.assessment else None,
            "ledger_head": desk.ledger.head(),
        }

"""Homes that live: made once, and from then on advanced by whoever is told to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.home import default_home
from hpcretrain.adapters.inbox import Inbox
from hpcretrain.adapters.livesettings import NAME, LiveSettings, Pace
from hpcretrain.config.cluster import load_cluster, require_classes
from hpcretrain.config.load import load
from hpcretrain.desks import LIVE, open_desk, open_table
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.live import Live, Stand
from hpcretrain.report.asks import told
from hpcretrain.report.explain import owed
from hpcretrain.steps.tick import require_reference
from hpcretrain.trainers import Cluster
from hpcretrain.wiring import CONFIGURATION, POLICY

Tell = Callable[[str], None]


def start_live(
    config: Path,
    home: Path | None = None,
    cluster: Path | None = None,
    *,
    arrival: timedelta = timedelta(0),
    from_time: datetime | None = None,
    speed: float = 1.0,
    inbox: Path | None = None,
    board: Path | None = None,
) -> LiveSettings:
    """Make a home that lives. Nothing is trained yet; the first tick does that.

    Args:
        config: The configuration.
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        cluster: The cluster profile; without one, trainings run on this machine.
        arrival: Time within which a row arrives in the table.
        from_time: A time in the table's past that it is now, as if live; without one the present passes.
        speed: How many times faster than the present the past then passes.
        inbox: A folder that others reach too, where they hand in requests and approvals.
        board: A folder where homes that share limits tell each other how they stand.

    Raises:
        InputError: Something cannot be used, or the folder holds something else; nothing was changed.
    """
    place = home or default_home()
    pace = Pace(from_time, datetime.now(UTC), speed) if from_time else None
    if (place / NAME).exists():
        raise InputError(f"{place} lives already; `hpcretrain tick` advances it, --home makes another")
    settings = LiveSettings(
        config.resolve(),
        cluster.resolve() if cluster else None,
        arrival.total_seconds(),
        pace,
        inbox.resolve() if inbox else None,
        board.resolve() if board else None,
    )
    terms = load(config)
    if cluster:
        require_classes(load_cluster(cluster), terms.policy.classes.order)
    if board and not os.access(board, os.R_OK | os.W_OK | os.X_OK):
        raise InputError(f"{board} is no folder that can be read and written: make it, and give it to who shares it")
    clock = VirtualClock(terms.reference_until)
    table = open_table(terms, clock, place)
    require_reference(table, table.first_time, terms.reference_until)
    if inbox:
        Inbox.make(inbox, place)
    with open_desk(terms, table, clock, place, mode=LIVE) as (_, made):
        made.write(POLICY, terms.policy_text)
        made.write(CONFIGURATION, terms.config_text)
        made.write(NAME, settings.text())
    return settings


@contextmanager
def at_work(home: Path, tell: Tell) -> Iterator[Live]:
    """A home that lives, held by this process.

    Raises:
        InputError: There is no such home, or another process is at it.
    """
    settings = LiveSettings.read(home)
    terms = load(settings.config)
    clock = VirtualClock(terms.reference_until)
    # What arrives while the table is read may not be in it.
    read_until = None if settings.pace else settings.now()
    table = open_table(terms, clock, home)
    cluster = Cluster(load_cluster(settings.cluster), tell) if settings.cluster else None
    with open_desk(terms, table, clock, home, cluster=cluster, mode=LIVE, board=settings.board, tell=tell) as (desk, _):
        yield Live(desk, clock, settings.now, tell, read_until)


def describe(live: Live, stand: Stand, made: list[str]) -> dict[str, Any]:
    """How a home stands; see docs/reference/json.md."""
    history = live.desk.history
    return {
        "model": live.desk.terms.config.model.name,
        "ticks": [moment.isoformat() for moment in stand.ticks],
        "awaits": [{"job": job, "stands": how} for job, how in stand.awaits.items()],
        "next": stand.next.isoformat(),
        "serves": history.releases[-1].id if history.releases else None,
        "score": history.assessment.score if history.assessment else None,
        "open": _open(history),
        "asks": [told(ask) for ask, _ in history.open_asks(live.now)],
        "review_owed": owed(history),
        "made": [{"kind": history.known[each].kind, "id": each} for each in made],
        "ledger_head": live.desk.ledger.head(),
    }


def _open(history: History) -> dict[str, Any] | None:
    """The cycle whose request waits, or whose training is under way."""
    cycle = history.open_cycle or history.training
    if cycle is None:
        return None
    decision = cycle.decisions[-1] if cycle.decisions else None
    return {
        "request": cycle.request.id,
        "requester": cycle.in_person,
        "priority_class": (decision or cycle.request).priority_class.value,
        "decision": decision.id if decision else None,
        "action": decision.action.value if decision else None,
    }

"""Tells people what there is to tell of a home, by the routes of its configuration; a trouble with it stops nothing."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcretrain.adapters.courier import Courier, deliver, said
from hpcretrain.adapters.home import write_whole
from hpcretrain.adapters.livesettings import LiveSettings
from hpcretrain.config.load import load
from hpcretrain.errors import LedgerDamagedError, LedgerError
from hpcretrain.live import Live
from hpcretrain.report.notices import Told, notices, special

_LOOK_EVERY_S = 5.0
_PATIENCE_S = 20.0
"""How long a run that ends waits for what it sent."""
_DAMAGED = "damage-told.txt"
Tell = Callable[[str], None]


class Teller:
    """Tells people of a home that this process holds.

    Args:
        live: The home at work.
        home: Where it is.
        tell: Called with a defect, which stops nothing.
    """

    def __init__(self, live: Live, home: Path, tell: Tell) -> None:
        (home / _DAMAGED).unlink(missing_ok=True)
        self._live, self._home, self._tell = live, home, tell
        terms = live.desk.terms
        self._courier = Courier(live.desk.ledger, terms.config.notify, terms.folder) if terms.config.notify else None
        self._looked_at, self._seen = float("-inf"), -1

    def look(self) -> None:
        """Tell what there is to tell, if there may be something; nothing is waited for.

        Raises:
            LedgerError: The ledger cannot be written.
        """
        if self._courier is None:
            return
        known = len(self._live.desk.history.known)
        if known != self._seen or time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
            self._seen, self._looked_at = known, time.monotonic()
            self._send(self._courier)
        self._courier.collect()

    def finish(self) -> None:
        """Tell the rest, and wait for what came of it."""
        self._seen = -1
        self.look()
        if self._courier is not None:
            self._courier.finish(_PATIENCE_S)

    def _send(self, courier: Courier) -> None:
        desk = self._live.desk
        try:
            home = str(self._home.resolve())
            found = notices(desk.history, desk.terms.policy, home, self._live.now, queued=self._live.queued)
        except Exception:
            # A defect in what is told must not stop what is done.
            self._tell(f"nobody was told: {traceback.format_exc()}")
            return
        courier.send(found)


@contextmanager
def telling(live: Live, home: Path, tell: Tell) -> Iterator[Teller]:
    """Do something in a home, and tell people what there is to tell then, whatever came of it."""
    teller = Teller(live, home, tell)
    try:
        yield teller
    except LedgerError:
        raise
    except BaseException:
        teller.finish()
        raise
    teller.finish()


def tell_damage(home: Path, error: LedgerDamagedError, tell: Tell) -> None:
    """Tell people, once, that the ledger of a home is damaged; nothing can be noted there."""
    told, marker = str(error), home / _DAMAGED
    try:
        if marker.exists() and marker.read_text("utf-8") == told:
            return
        terms = load(LiveSettings.read(home).config)
        model, place = terms.config.model.name, str(home.resolve())
        notice = special(Told.LEDGER_DAMAGED, place, model, told, datetime.now(UTC))
        routes = [each for each in terms.config.notify if each.takes(notice.event.value, notice.tier)]
        write_whole(marker, told, 0o600)
    except Exception as trouble:
        tell(f"nobody was told: {said(trouble)}")
        return
    for route in routes:
        try:
            deliver(route, notice, terms.folder)
        except Exception as trouble:
            tell(f"route {route.name}: {said(trouble)}")


def try_routes(home: Path) -> list[dict[str, Any]]:
    """Send a test by each route of a home that lives: `route`, `kind`, and the `problem`, or None where it was taken.

    Raises:
        InputError: There is no such home, or its configuration cannot be used.
    """
    terms = load(LiveSettings.read(home).config)
    notice = special(Told.TEST, str(home.resolve()), terms.config.model.name, "", datetime.now(UTC))
    found = []
    for route in terms.config.notify:
        problem = None
        try:
            deliver(route, notice, terms.folder)
        except Exception as error:
            problem = said(error)
        found.append({"route": route.name, "kind": route.kind, "problem": problem})
    return found

"""Carries notices to people by the routes of a configuration: each once, again after a failure, and never in the way.

Before a notice is sent that is noted, and after it, too. Of one that was cut short in between nobody knows whether it
arrived: it is sent once more, and then not again.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

from hpcretrain.adapters import notify_mail, notify_prefect, notify_webhook, program
from hpcretrain.config.routes import CommandRoute, MailRoute, Route, WebhookRoute
from hpcretrain.ports import Ledger
from hpcretrain.report.notices import Notice

INTENDED, SENT, FAILED = "notice_intended", "notice_sent", "notice_failed"
MOST_TRIES = 10
"""After so many it is given up, which `hpcretrain status` tells."""
_MOST_IN_DOUBT = 2
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=6)
_COMMAND_S = 30.0
_MOST_CHARACTERS = 500
_AT_ONCE = 4
_SHOWN = timedelta(days=7)


@dataclass
class _Known:
    """What is known of one notice on one route."""

    intended: int = 0
    failed: int = 0
    failed_at: datetime | None = None
    sent: bool = False

    def due(self, now: datetime) -> bool:
        """Whether it is to be sent now."""
        if self.sent or self.failed >= MOST_TRIES or self.intended - self.failed >= _MOST_IN_DOUBT:
            return False
        pause = min(_FIRST_PAUSE * 2 ** max(self.failed - 1, 0), _LONGEST_PAUSE)
        return self.failed_at is None or now >= self.failed_at + pause


class Courier:
    """Sends by threads of its own; what came of it is noted by the thread that holds the home.

    Args:
        ledger: Where it is noted.
        routes: The routes.
        folder: Where the files lie that routes name.
    """

    def __init__(self, ledger: Ledger, routes: Sequence[Route], folder: Path) -> None:
        self._ledger, self._routes, self._folder = ledger, routes, folder
        self._known: dict[tuple[str, str], _Known] = defaultdict(_Known)
        self._going: dict[Future[None], tuple[str, str]] = {}
        self._waiting: dict[tuple[str, str], tuple[Route, Notice]] = {}
        for event in (INTENDED, SENT, FAILED):
            for note in ledger.notes(event):
                self._learn(event, note["route"], note["serves"], datetime.fromisoformat(note["at"]))

    def send(self, notices: Sequence[Notice]) -> None:
        """Begin to send what is due; nothing is waited for."""
        now, going = datetime.now(UTC), set(self._going.values())
        for notice in notices:
            for route in self._routes:
                key = (route.name, notice.id)
                takes = route.takes(notice.event.value, notice.tier)
                if takes and key not in going and self._known[key].due(now):
                    self._waiting[key] = (route, notice)
        self._begin()

    def collect(self, wait_s: float = 0.0) -> None:
        """Note what came of what was sent, after at most so many seconds."""
        done, _ = wait(self._going, timeout=wait_s, return_when=FIRST_COMPLETED)
        for future in done:
            key, error = self._going.pop(future), future.exception()
            if error is None:
                self._note(SENT, *key)
            else:
                self._note(FAILED, *key, reason=said(error))
        self._begin()

    def finish(self, wait_s: float) -> None:
        """Wait at most so many seconds until all is sent; of the rest nobody knows."""
        until = time.monotonic() + wait_s
        while self._going and (left := until - time.monotonic()) > 0:
            self.collect(left)

    def _begin(self) -> None:
        """Send some of what waits. The threads hold up no end of this process."""
        while self._waiting and len(self._going) < _AT_ONCE:
            key = next(iter(self._waiting))
            route, notice = self._waiting.pop(key)
            self._note(INTENDED, *key)
            future: Future[None] = Future()
            self._going[future] = key
            Thread(target=_carry, args=(future, route, notice, self._folder), daemon=True).start()

    def _note(self, event: str, route: str, notice: str, **facts: Any) -> None:
        self._ledger.note(event, notice, route=route, **facts)
        self._learn(event, route, notice, datetime.now(UTC))

    def _learn(self, event: str, route: str, notice: str, at: datetime) -> None:
        known = self._known[route, notice]
        if event == INTENDED:
            known.intended += 1
        elif event == SENT:
            known.sent = True
        else:
            known.failed, known.failed_at = known.failed + 1, at


def _carry(future: Future[None], route: Route, notice: Notice, folder: Path) -> None:
    try:
        deliver(route, notice, folder)
        future.set_result(None)
    except Exception as error:
        future.set_exception(error)


def deliver(route: Route, notice: Notice, folder: Path) -> None:
    """Send a notice by a route, now.

    Raises:
        Exception: It was not taken; `said` tells why in one line.
    """
    if isinstance(route, MailRoute):
        notify_mail.send(route, notice, folder)
    elif isinstance(route, WebhookRoute):
        notify_webhook.send(route, notice, folder)
    elif isinstance(route, CommandRoute):
        program.run(route.command, _COMMAND_S, json.dumps(notice.content).encode())
    else:
        notify_prefect.send(route, notice)


def said(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(f"{error}".split()) or type(error).__name__
    return text[:_MOST_CHARACTERS]


def undelivered(notes: Sequence[Mapping[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """What could not be told in the last days, newest last: `notice`, `route`, `tries`, `reason`, `at`, `given_up`."""
    failing: dict[tuple[str, str], dict[str, Any]] = {}
    for note in notes:
        key = (note.get("route", ""), note["serves"])
        if note["event"] == FAILED and now - datetime.fromisoformat(note["at"]) < _SHOWN:
            tries = failing.pop(key, {"tries": 0})["tries"] + 1
            told = {"notice": key[1], "route": key[0], "tries": tries, "reason": note["reason"], "at": note["at"]}
            failing[key] = {**told, "given_up": tries >= MOST_TRIES}
        elif note["event"] == SENT:
            failing.pop(key, None)
    return list(failing.values())

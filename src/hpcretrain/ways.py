"""The ways into a home that lives: the same for a command, a flow, a notebook, with a controller or without one.

Where a controller holds the home it is told; otherwise the home is opened for a moment, once whoever else is at it is
done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcretrain.adapters import controlsocket
from hpcretrain.adapters.home import default_home
from hpcretrain.adapters.inbox import Inbox
from hpcretrain.adapters.livesettings import LiveSettings
from hpcretrain.errors import HomeInUse, InputError, LedgerDamagedError
from hpcretrain.messages import PROMPT, Message, Verb, identifier
from hpcretrain.records import PriorityClass

Tell = Callable[[str], None]

UNTIL = ("observe", "triage", "retrain", "release")
"""How far a run may go with the newest batch."""

PATIENCE_S = 120.0
"""How long a call waits for whoever is at the home, in seconds."""
_AGAIN_S = 0.1


def tick(
    home: Path | None = None, until: str = UNTIL[-1], tell: Tell = lambda _: None, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """Do all that is due in a home that lives, wait for no training, and say how it stands.

    Args:
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        until: How far to go with the newest batch: "observe", "triage", "retrain" or "release". A controller goes all
            the way.
        tell: Called with what is done.
        patience_s: How long to wait for whoever is at the home, in seconds.

    Returns:
        See docs/reference/json.md.

    Raises:
        InputError: There is no such home, or another process stays at it.
    """
    if until not in UNTIL:
        raise InputError(f"{until!r} is no step; they are {', '.join(UNTIL)}")
    return _through(home or default_home(), {"do": "tick", "until": until}, tell, patience_s)


def request(
    home: Path | None = None,
    priority_class: str = PriorityClass.STANDARD.value,
    reason: str = "",
    key: str | None = None,
    tell: Tell = lambda _: None,
    deadline: datetime | None = None,
) -> dict[str, Any]:
    """Ask for a retraining, and have it decided at once.

    Args:
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        priority_class: "urgent", "standard", "background", or another that the policy in force names.
        reason: Why, for the record.
        key: Requests with the same key are one request.
        tell: Called with what is done.
        deadline: Until when it is needed; aware. Default: nothing presses.

    Returns:
        What came of it: `done`, `reason`, `subject`, `findings`, `token`; see docs/reference/json.md.

    Raises:
        InputError: There is no such home or class, or no reason.
    """
    return send(home or default_home(), requesting(priority_class, reason, key, deadline), tell)


def requesting(priority_class: str, reason: str, key: str | None, deadline: datetime | None) -> Message:
    """The message that asks for a retraining.

    Raises:
        InputError: It has no reason, or what is to be the class cannot be one.
    """
    try:
        wanted = PriorityClass(priority_class)
    except ValueError as error:
        raise InputError(str(error)) from None
    return Message(identifier(key), Verb.REQUEST, reason, None, wanted, deadline=deadline)


def cancel(
    home: Path | None, subject: str, reason: str = "", key: str | None = None, patience_s: float = PATIENCE_S
) -> dict[str, Any]:
    """End a cycle: its jobs leave a checkpoint and are canceled. `subject` is its request; otherwise as `request`."""
    message = Message(identifier(key), Verb.CANCEL, reason, subject)
    return send(home or default_home(), message, patience_s=patience_s)


def prune(home: Path | None = None, *, dry_run: bool = False) -> list[dict[str, Any]]:
    """Remove what the configuration of a home that lives keeps no longer; what was, or would be, removed.

    Args:
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        dry_run: Whether only to say what would be.

    Raises:
        InputError: There is no such home, or its configuration keeps everything.
    """
    answer = _through(home or default_home(), {"do": "prune", "dry_run": dry_run}, lambda _: None, PATIENCE_S)
    gone: list[dict[str, Any]] = answer["removed"]
    return gone


def approve(home: Path | None, subject: str, reason: str = "") -> dict[str, Any]:
    """Approve what was asked; `subject` is the ask. See `request` for what is returned."""
    return send(home or default_home(), Message(identifier(), Verb.APPROVE, reason, subject))


def deny(home: Path | None, subject: str, reason: str = "") -> dict[str, Any]:
    """Deny what was asked; `subject` is the ask. See `request` for what is returned."""
    return send(home or default_home(), Message(identifier(), Verb.DENY, reason, subject))


def stop(home: Path | None, reason: str, scope: str = "model", *, now: bool = False) -> dict[str, Any]:
    """Stop what would be trained or released; `scope` is "model", a class, or "all". `now` ends what is under way."""
    return send(home or default_home(), Message(identifier(), Verb.STOP, reason, scope, at_once=now))


def resume(home: Path | None, reason: str, scope: str = "model") -> dict[str, Any]:
    """Lift a stop of that scope. See `request` for what is returned."""
    return send(home or default_home(), Message(identifier(), Verb.RESUME, reason, scope))


def rollback(home: Path | None, reason: str) -> dict[str, Any]:
    """Have the model serve again that served before this one. See `request` for what is returned."""
    return send(home or default_home(), Message(identifier(), Verb.ROLLBACK, reason))


def asked(home: Path | None, inbox: Path | None = None) -> list[dict[str, Any]]:
    """What awaits an approval: in a home of one's own, or as an inbox shows it.

    Raises:
        InputError: There is no such home or inbox.
    """
    if inbox is not None:
        return Inbox(inbox).asks()
    from hpcretrain.report.asks import told
    from hpcretrain.wiring import read_history

    now = LiveSettings.read(home or default_home()).now()
    return [told(ask) for ask, _ in read_history(home)[0].open_asks(now)]


def hand_in(inbox: Path, message: Message, wait_s: float) -> dict[str, Any] | None:
    """Hand in a message where others than the owner of a home reach it; the answer, None if there is none in time.

    Raises:
        InputError: There is no such inbox, or it cannot be written.
    """
    box = Inbox(inbox)
    receipt = box.hand_in(message)
    give_up_at = time.monotonic() + wait_s
    while (answer := box.answer(receipt)) is None and time.monotonic() < give_up_at:
        time.sleep(_AGAIN_S)
    return answer


def send(home: Path, message: Message, tell: Tell = lambda _: None, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """Hand in a message and wait for what comes of it."""
    return _through(home, {"do": "message", "message": message.content}, tell, patience_s)


def _through(home: Path, call: Mapping[str, Any], tell: Tell, patience_s: float) -> dict[str, Any]:
    """Have the controller do it; without one, do it here."""
    inbox = LiveSettings.read(home).inbox
    give_up_at = time.monotonic() + patience_s
    while True:
        try:
            answer: dict[str, Any] = controlsocket.call(home, call, tell)
            return answer
        except ConnectionError:
            # Whoever reaches a controller need not load all that works in a home.
            from hpcretrain.livehome import at_work
            from hpcretrain.retaining import tidy
            from hpcretrain.service import empty, serve, understand
            from hpcretrain.telling import tell_damage, telling

            try:
                with at_work(home, tell) as live, telling(live, home, tell):
                    wanted = understand(call, os.getuid(), home, live.desk.terms)
                    if isinstance(wanted, tuple) and wanted[0].verb in PROMPT:
                        answer = serve(live, wanted, home)
                        empty(live, home, inbox, tell)
                        return answer
                    empty(live, home, inbox, tell)
                    answer = serve(live, wanted, home)
                    if call["do"] == "tick":
                        tidy(live, home, tell)
                    return answer
            except LedgerDamagedError as error:
                tell_damage(home, error, tell)
                raise
            except HomeInUse:
                if time.monotonic() >= give_up_at:
                    raise
                time.sleep(_AGAIN_S)

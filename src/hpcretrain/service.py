"""Does in a home that lives what is called for, and what was handed in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcretrain.adapters.inboxkeeper import Handed, Keeper
from hpcretrain.adapters.people import person
from hpcretrain.answer import require_class
from hpcretrain.config.load import Terms
from hpcretrain.errors import InputError
from hpcretrain.live import Live, Step
from hpcretrain.livehome import describe
from hpcretrain.messages import PROMPT, Message, Person
from hpcretrain.report.asks import told
from hpcretrain.retaining import prune


@dataclass(frozen=True)
class Prune:
    """That what is kept no longer is to be removed, or only to be told."""

    dry_run: bool


Wanted = tuple[Message, Person] | Step | Prune
"""What somebody says, how far to go with what is due, or what to remove."""


def understand(call: Mapping[str, Any], uid: int, home: Path, terms: Terms) -> Wanted:
    """What a user, by number, calls for.

    Raises:
        InputError: It is nothing that can be done, of a class that there is not, or the user is not known.
    """
    match call.get("do"):
        case "message":
            message = Message.of(call.get("message") or {})
            require_class(message, terms.policy)
            return message, person(uid, home, terms.config.identity)
        case "prune":
            return Prune(bool(call.get("dry_run")))
        case "tick":
            try:
                return Step(call.get("until"))
            except ValueError as error:
                raise InputError(f"{error}; they are {', '.join(each.value for each in Step)}") from None
    raise InputError(f"{call.get('do')!r} is nothing that a controller does; is it of another version?")


def serve(live: Live, wanted: Wanted, home: Path) -> dict[str, Any]:
    """Do what was called for."""
    if isinstance(wanted, Prune):
        return {"removed": prune(live, home, dry_run=wanted.dry_run)}
    if not isinstance(wanted, Step):
        message, who = wanted
        return {**live.answer(message, who).content, "token": message.id}
    before = len(live.desk.book.written)
    stand = live.advance(wanted)
    return describe(live, stand, live.desk.book.written[before:])


def empty(live: Live, home: Path, inbox: Path | None, tell: Callable[[str], None]) -> None:
    """Answer what was handed in, some at a time, and show what is asked.

    An inbox that cannot be used stops nothing else; only what the home itself comes to is raised.

    Args:
        live: The home at work.
        home: Where it is.
        inbox: The inbox; None where there is none.
        tell: Called with what is wrong with the inbox.
    """
    if inbox is None:
        return
    with contextlib.ExitStack() as held:
        waiting: list[Handed] = []
        keeper: Keeper | None = None
        with _telling(tell, inbox):
            keeper = held.enter_context(contextlib.closing(Keeper(inbox)))
            # Whoever stops something does not wait behind what others ask.
            waiting = sorted(keeper.waiting(), key=lambda each: each.message is None or each.message.verb not in PROMPT)
        if keeper is None:
            return
        for handed in waiting:
            answer = _answer(live, home, handed)
            with _telling(tell, inbox):
                keeper.settle(handed, answer)
        with _telling(tell, inbox):
            if waiting:
                keeper.forget()
            keeper.show([told(ask) for ask, _ in live.desk.history.open_asks(live.now)])


def _answer(live: Live, home: Path, handed: Handed) -> dict[str, Any]:
    if handed.message is None:
        return {}
    try:
        who = person(handed.uid, home, live.desk.terms.config.identity)
    except InputError as error:
        said: dict[str, Any] = {"done": False, "reason": str(error), "subject": handed.message.subject, "findings": []}
    else:
        said = live.answer(handed.message, who).content
    return {**said, "token": handed.message.id}


@contextmanager
def _telling(tell: Callable[[str], None], inbox: Path) -> Iterator[None]:
    try:
        yield
    except (InputError, OSError) as error:
        tell(f"inbox {inbox}: {error}")

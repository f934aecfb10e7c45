"""Does in a home that lives what is called for, and what was handed in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpcretrain.adapters.inbox import Inbox
from hpcretrain.adapters.people import person
from hpcretrain.live import Live, Step
from hpcretrain.livehome import describe, open_asks, told
from hpcretrain.messages import Message


def serve(live: Live, home: Path, call: Mapping[str, Any], uid: int) -> dict[str, Any]:
    """Do what was called for."""
    before = len(live.desk.book.written)
    if call["do"] == "message":
        message = Message.of(call["message"])
        return {**live.answer(message, person(uid, home)).content, "token": message.id}
    stand = live.advance(Step(call["until"]))
    return describe(live, stand, live.desk.book.written[before:])


def empty(live: Live, home: Path, inbox: Path | None) -> None:
    """Answer what was handed in, and show what is asked."""
    if inbox is None:
        return
    box = Inbox(inbox)
    for handed in box.waiting():
        if handed.message is not None:
            answer = live.answer(handed.message, person(handed.uid, home))
            box.settle(handed, {**answer.content, "token": handed.message.id})
        else:
            box.settle(handed, {})
    box.show([told(ask) for ask in open_asks(live.desk.history, live.now)])

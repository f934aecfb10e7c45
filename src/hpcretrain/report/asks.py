"""What awaits an approval: as an approver is told of it, and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hpcretrain.canonical import plain
from hpcretrain.records import Ask, Asked

_WHAT = {Asked.RUN.value: "train", Asked.RELEASE.value: "release", Asked.POLICY.value: "another policy for"}


def told(ask: Ask) -> dict[str, Any]:
    """What an approver is told of an ask; a policy is of no class."""
    return {
        "id": ask.id,
        "what": ask.asked.value,
        "subject": ask.subject,
        "model": ask.model,
        "priority_class": None if ask.asked is Asked.POLICY else ask.priority_class.value,
        "requester": ask.requester,
        "needed": ask.needed,
        "overrules": list(ask.overrules),
        "expires_at": plain(ask.expires_at),
        "facts": plain(ask.facts),
    }


def show_asks(asks: Sequence[Mapping[str, Any]]) -> str:
    """What awaits an approval, with what an approver needs to know."""
    if not asks:
        return "nothing awaits an approval"
    lines = []
    for ask in asks:
        lines.append(f"{ask['id']}  {_about(ask)}; until {ask['expires_at']}")
        if ask["overrules"]:
            lines.append(f"  beyond the policy: {', '.join(ask['overrules'])}")
        # Of a policy each key is shown with its value before.
        beside = "before" if ask["what"] == Asked.POLICY.value else "limit"
        for fact in ask["facts"]:
            seen = "" if fact["observed"] is None else f"{fact['observed']}"
            limit = "" if fact["limit"] is None else f" ({beside} {fact['limit']})"
            lines.append(f"  {fact['check']:<10} {seen}{limit}  {fact['reason']}")
    return "\n".join(lines)


def ask_line(ask: Mapping[str, Any]) -> str:
    """An ask in one line, with what to do."""
    return f"awaits an approval until {ask['expires_at']}: {_about(ask)}; `hpcretrain approve {ask['id']}`, or `deny`"


def _about(ask: Mapping[str, Any]) -> str:
    wanted = f", {ask['priority_class']}" if ask["priority_class"] else ""
    whose = f", requested by {ask['requester']}" if ask["requester"] else ""
    people = f", {ask['needed']} approvals" if ask["needed"] > 1 else ""
    return f"{_WHAT[ask['what']]} {ask['model']}{wanted}{whose}{people}"

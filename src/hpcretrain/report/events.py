"""What Prefect is told of each record; docs/reference/events.md describes it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from hpcretrain.canonical import plain
from hpcretrain.history import History
from hpcretrain.policy.request import wish
from hpcretrain.policy.types import Policy
from hpcretrain.records import Assessment, Decision, Outcome, Record, Signal
from hpcretrain.report.explain import headline
from hpcretrain.report.lineage import cycle_of

PREFIX = "hpcretrain."
DRIFT, DECIDED = f"{PREFIX}drift", f"{PREFIX}decided"
"""The events that start work."""
_LONGEST = 500
TOLD: Mapping[str, tuple[str, ...]] = {
    "proposal": ("policy_digest",),
    "activation": ("policy_digest", "rule_version"),
    "signal": ("family", "name"),
    "assessment": ("score", "contributions"),
    "request": ("priority_class", "score", "contributions", "reason"),
    "decision": ("action", "outcome", "priority_class", "cost_mrow_passes"),
    "ask": ("asked", "subject", "priority_class", "overrules", "expires_at"),
    "approval": ("outcome",),
    "break_glass": ("expires_at", "review_by"),
    "glass_review": (),
    "job": ("purpose", "priority_class", "cost_mrow_passes"),
    "candidate": ("purpose", "model_digest"),
    "verdict": ("stage", "outcome", "candidate"),
    "release": ("release_kind", "candidate", "model_digest", "previous"),
    "watch": ("look", "outcome"),
    "review": ("closing", "cost_mrow_passes"),
}
"""For each kind of record that has some, which of its fields are told."""

_IN_CYCLES = frozenset(TOLD) - {"proposal", "activation", "signal", "assessment"}


@dataclass(frozen=True)
class Event:
    """An event. The same record of the same home gives the same identifier, so telling it again changes nothing."""

    id: UUID
    name: str
    record: str
    payload: Mapping[str, Any]


def events(records: Iterable[Record], history: History, home: str, policy: Policy) -> list[Event]:
    """The events of records, in order: one each, and one more for an assessment that calls for a retraining.

    Signals that passed their check are left out: the assessment that answers them counts them, and a table of many
    columns has many.

    Args:
        records: Of the history.
        history: All records.
        home: The home, which tells apart models that are configured alike.
        policy: What the model is assessed by.
    """
    told = []
    for record in records:
        if isinstance(record, Signal) and record.finding.outcome is Outcome.PASS:
            continue
        name = DECIDED if isinstance(record, Decision) else f"{PREFIX}{record.kind}"
        told.append(Event(_id(home, record.id), name, record.id, _payload(record, history, home)))
        if isinstance(record, Assessment) and (drift := _drift(record, history, home, policy)):
            told.append(drift)
    return told


def cycles(records: Iterable[Record], history: History) -> list[str]:
    """The cycles that records are part of: the identifiers of their requests, or of the baseline at the start."""
    return list(dict.fromkeys(cycle_of(history, record) for record in records if record.kind in _IN_CYCLES))


def _id(home: str, what: str) -> UUID:
    return uuid5(NAMESPACE_URL, f"hpcretrain:{home}:{what}")


def _payload(record: Record, history: History, home: str) -> dict[str, Any]:
    fields = {name: plain(getattr(record, name)) for name in TOLD.get(record.kind, ())}
    cycle = cycle_of(history, record) if record.kind in _IN_CYCLES else None
    triggers = getattr(record, "triggers", None)
    return {
        "home": home,
        "model": record.model,
        "record": record.id,
        "kind": record.kind,
        "at": plain(record.at),
        "summary": headline(record)[:_LONGEST],
        **({"cycle": cycle} if cycle else {}),
        **({"decision": record.id, "request": cycle} if isinstance(record, Decision) else {}),
        **({"families": list(triggers)} if triggers is not None else {}),
        **({"outcome": record.finding.outcome.value} if isinstance(record, Signal) else {}),
        **fields,
    }


def _drift(assessment: Assessment, history: History, home: str, policy: Policy) -> Event | None:
    """The event for an assessment that calls for a retraining, whether or not a request is open already."""
    asked = wish(assessment, policy.score)
    if asked is None:
        return None
    payload = {
        **_payload(assessment, history, home),
        "assessment": assessment.id,
        "priority_class": asked.priority_class.value,
        "families": list(asked.triggers),
        "reason": asked.reason,
    }
    return Event(_id(home, f"drift:{assessment.id}"), DRIFT, assessment.id, payload)

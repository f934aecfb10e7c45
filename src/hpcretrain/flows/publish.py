"""Tell Prefect what the ledger says and Prefect does not know yet: events that start work."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from prefect.events import emit_event
from prefect.settings import PREFECT_API_URL

from hpcretrain.adapters.home import write_whole
from hpcretrain.config.load import kept_policy
from hpcretrain.flows.names import DECIDED, DRIFT, labels
from hpcretrain.policy.assess import decline
from hpcretrain.policy.request import wish
from hpcretrain.records import Assessment, Decision, Record
from hpcretrain.wiring import POLICY, read_history

_CURSOR = "prefect.json"


def publish(home: Path) -> None:
    """Emit the events of all records since the cursor; each has the same identifier whenever it is emitted."""
    if PREFECT_API_URL.value() is None:
        return
    history, _ = read_history(home)
    records = list(history.known.values())
    cursor = home / _CURSOR
    done = int(json.loads(cursor.read_text())["records"]) if cursor.exists() else 0
    policy = kept_policy((home / POLICY).read_text(encoding="utf-8"), str(home / POLICY))
    for record in records[done:]:
        if isinstance(record, Assessment):
            asked = wish(record, decline(record.levels, policy.score), policy.score, policy.classes)
            if asked:
                told = {
                    "assessment": record.id,
                    "score": record.score,
                    "priority_class": asked.priority_class.value,
                    "families": list(asked.triggers),
                }
                _emit(home, record, DRIFT, told, asked.priority_class.value)
        elif isinstance(record, Decision):
            request = next(each for each in record.answers if each.startswith("request-"))
            told = {
                "decision": record.id,
                "request": request,
                "action": record.action.value,
                "priority_class": record.priority_class.value,
            }
            _emit(home, record, DECIDED, told, record.priority_class.value, record.action.value)
    write_whole(cursor, json.dumps({"records": len(records)}), 0o600)


def _emit(
    home: Path, record: Record, event: str, told: dict[str, object], priority_class: str, action: str = ""
) -> None:
    emit_event(
        event=event,
        resource=dict(labels(home, record.id, priority_class, action)),
        occurred=datetime.now(UTC),
        payload={"home": str(home.resolve()), "model": record.model, **told},
        id=uuid5(NAMESPACE_URL, f"hpcretrain:{home.resolve()}:{record.id}"),
    )

"""Tell Prefect how a home stands: an event for each new record, and artifacts that are always up to date.

Prefect may be away, lose all, or hear the same twice: a home's own work never depends on it, and each call makes up for
what earlier ones could not tell.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcretrain.adapters.loopback import beside_proxies
from hpcretrain.errors import HpcretrainError
from hpcretrain.flows.names import home_id, labels
from hpcretrain.report.artifacts.made import key
from hpcretrain.report.artifacts.shown import Artifact
from hpcretrain.report.events import DECIDED, DRIFT, Event
from hpcretrain.standing import FlowRun, Standing, standing

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_AT_ONCE = 100
_LONGEST_MESSAGE = 200


def publish(home: Path, tell: Callable[[str], None] = lambda line: print(line, file=sys.stderr)) -> None:
    """Announce the records that are new, and bring the artifacts up to date; nothing where no server is named.

    May be called at any time, by several at once, and again: what Prefect knows already is not told again, or changes
    nothing.

    Args:
        home: The home; another process may be at it.
        tell: Called with one line if Prefect, or MLflow, could not be told.

    Raises:
        InputError: There is no home there, or its terms cannot be read.
        LedgerError: Its ledger cannot be read.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL

    if not PREFECT_API_URL.value():
        return
    os.environ.update(beside_proxies(os.environ))
    pages = str(PREFECT_UI_URL.value() or "").rstrip("/")
    run, named = _flow_run(), True
    with standing(home, pages, _mlflow()) as read:
        try:
            found = read(run)
        except HpcretrainError as error:
            tell(f"{error}, so the flow run is not named; the next call makes up for it")
            found, named = read(None), False
        if problem := _tell_prefect(found, run):
            tell(f"Prefect at {PREFECT_API_URL.value()} could not be told ({problem}); the next call makes up for it")
        elif named:
            found.told()


def _tell_prefect(found: Standing, run: FlowRun | None) -> str:
    """What kept Prefect from being told; empty if nothing did."""
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    try:
        with get_client(sync_client=True) as client:
            _announce(client, found, run)
            _show(client, found, run)
    except (httpx.HTTPError, httpx.InvalidURL, PrefectException, OSError, ValueError) as error:
        return " ".join(str(error).split())[:_LONGEST_MESSAGE] or type(error).__name__
    return ""


def _flow_run() -> FlowRun | None:
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return None
    flow = context.flow.name if context.flow else "flow"
    return FlowRun(str(context.flow_run.id), f"{flow}, {context.flow_run.name}")


def _mlflow() -> str:
    """Where MLflow's pages are, if a server is named."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    return address.rstrip("/") if address.startswith(("http://", "https://")) else ""


def _announce(client: SyncPrefectClient, found: Standing, run: FlowRun | None) -> None:
    """Post events, in order. Prefect drops those whose identifiers it has."""
    bodies = [_event(event, found, run) for event in found.fresh]
    for start in range(0, len(bodies), _AT_ONCE):
        client.request("POST", "/events", json=bodies[start : start + _AT_ONCE])


def _event(event: Event, found: Standing, run: FlowRun | None) -> dict[str, Any]:
    # Only what starts work bears the labels that work goes by.
    told = event.payload if event.name in (DRIFT, DECIDED) else {}
    starts = [str(told.get(name, "")) for name in ("priority_class", "action")]
    return {
        "id": str(event.id),
        "event": event.name,
        "occurred": datetime.now(UTC).isoformat(),
        "resource": {**labels(found.home, event.record, *starts), "hpcretrain.model": found.model},
        "related": [{"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.role": "flow-run"}]
        if run
        else [],
        "payload": event.payload,
    }


def _show(client: SyncPrefectClient, found: Standing, run: FlowRun | None) -> None:
    """Make or bring up to date what differs. Prefect's own client would tell of each in an event, with all its data."""
    if not found.artifacts:
        return
    names = [artifact.name for artifact in found.artifacts]
    plain, own = (found.model, f"{found.model}-{home_id(found.home)}")
    there = _latest(client, [key(model, name) for model in (plain, own) for name in names])
    for artifact in found.artifacts:
        before = there.get(key(plain, artifact.name))
        # Another home with a model of that name may be there.
        model = plain if before is None or _owner(before) == str(found.home) else own
        before = there.get(key(model, artifact.name))
        facts = {"data": artifact.data, "description": artifact.summary}
        if before is None or before["metadata_"].get("about") != artifact.about:
            made = _made(artifact, key(model, artifact.name), found.home, run)
            client.request("POST", "/artifacts/", json={**facts, **made})
        elif any(before[name] != fact for name, fact in facts.items()):
            client.request("PATCH", "/artifacts/{id}", path_params={"id": before["latest_id"]}, json=facts)


def _made(artifact: Artifact, name: str, home: Path, run: FlowRun | None) -> dict[str, Any]:
    metadata = {"home": str(home), "about": artifact.about}
    return {"key": name, "type": artifact.kind, "metadata_": metadata, **({"flow_run_id": run.id} if run else {})}


def _owner(artifact: Mapping[str, Any]) -> str:
    return str((artifact["metadata_"] or {}).get("home"))


def _latest(client: SyncPrefectClient, keys: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """The newest version of each artifact."""
    asked = {"artifacts": {"key": {"any_": list(keys)}}, "limit": len(keys)}
    listed: Iterable[Mapping[str, Any]] = client.request("POST", "/artifacts/latest/filter", json=asked).json()
    return {each["key"]: each for each in listed}

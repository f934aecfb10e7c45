"""Prefect's runs follow the ledger: what waits for jobs that ended is resumed, what is dead is called so.

All of this may be done at any time, any number of times; whatever is missed is seen the next time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterIdempotencyKey,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelled, Crashed

from hpcretrain.flows.approval import asked_in, token_of
from hpcretrain.flows.names import KINDS, Kind, flow_name, home_id, home_tag
from hpcretrain.flows.running import step
from hpcretrain.priority import PriorityClass

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

    from hpcretrain.flows.steps import Reference

ALIVE = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]
LOST_AFTER = timedelta(seconds=90)
"""A worker takes seconds to run what it took and to end what was canceled, and runs are heard every 30 s."""
_UP = timedelta(minutes=1)
"""`reconcile` is run each minute, so that a server that is up hears something in this time."""
_REMEMBERED = timedelta(days=30)
KINDS_ALIKE: tuple[Kind, ...] = ("reconcile", "observe", "watch", "review")
"""Each run of these does all that an earlier one would have done."""
ASKING: dict[str, Kind] = {"run": "triage", "release": "release"}
"""Which flow shows an ask."""
_PAGE = 200


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        yield client


def runs_of(
    client: SyncPrefectClient,
    home: Path,
    kinds: Sequence[Kind],
    states: list[StateType],
    since: datetime | None = None,
    due: datetime | None = None,
) -> list[FlowRun]:
    """The runs of some of a home's flows that are in one of some states.

    Args:
        client: Prefect's.
        home: The home.
        kinds: Which flows.
        states: Which states.
        since: Only those that ended after this.
        due: Only those that were to start before this.
    """
    found: list[FlowRun] = []
    while True:
        page = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name(kind) for kind in kinds])),
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=[home_tag(home)]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
                end_time=FlowRunFilterEndTime.model_validate({"after_": since}) if since else None,
                expected_start_time=FlowRunFilterExpectedStartTime.model_validate({"before_": due}) if due else None,
            ),
            sort=FlowRunSort.ID_DESC,
            limit=_PAGE,
            offset=len(found),
        )
        found += page
        if len(page) < _PAGE:
            return found


@step("leave one of each")
def end_duplicates(home: str, *kinds: Kind) -> None:
    """Cancel runs that are due and do what this one does: piled up while nobody worked, or by a storm of events."""
    context = FlowRunContext.get()
    own = context.flow_run if context else None
    now = datetime.now(UTC)
    if own is None:
        return
    with _client() as client:
        for run in runs_of(client, Path(home), kinds, [StateType.SCHEDULED], due=now):
            if run.id != own.id and (kinds == KINDS_ALIKE or run.parameters == own.parameters):
                client.set_flow_run_state(run.id, Cancelled(message=f"{own.name} ({own.id}) does it"))


@step("look for others")
def shown_by_another(home: str, request: str) -> bool:
    """Whether an older run shows the training for a request: one is enough."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return False
    own = context.flow_run
    with _client() as client:
        others = [run for run in runs_of(client, Path(home), ["retrain"], ALIVE) if _request(run) == request]
    return any(_age(run) < _age(own) for run in others if run.id != own.id)


def _age(run: FlowRun) -> tuple[datetime, str]:
    return (run.created or datetime.max.replace(tzinfo=UTC), str(run.id))


@step("heed cancellations")
def heed_cancellations(home: str) -> None:
    """End the training whose run somebody canceled in Prefect: a suspended run has no process that could."""
    from hpcretrain.flows.steps import give_up
    from hpcretrain.wiring import read_history

    cycle = read_history(Path(home))[0].training
    if cycle is None:
        return
    request = cycle.request.id
    since = datetime.now(UTC) - _REMEMBERED
    with _client() as client:
        # One that is to be canceled may have no process left that could see to it.
        canceled = runs_of(client, Path(home), ["retrain"], [StateType.CANCELLED], since=since)
        canceled += runs_of(client, Path(home), ["retrain"], [StateType.CANCELLING])
        alive = [run for run in runs_of(client, Path(home), ["retrain"], ALIVE) if _request(run) == request]
    for run in canceled:
        # Of several runs for one request, those that are left show that the training goes on; not those begun since.
        left = [each for each in alive if each.id != run.id and not _cancels(each) and _age(each)[0] < _ended(run)]
        if _request(run) == request and not left:
            give_up(home, request, f"prefect:{run.id}", f"run {run.id} was canceled in Prefect")
            return


def _cancels(run: FlowRun) -> bool:
    return run.state_type is StateType.CANCELLING


def _ended(run: FlowRun) -> datetime:
    """When somebody canceled a run."""
    return run.end_time or (run.state.timestamp if run.state is not None else datetime.max.replace(tzinfo=UTC))


@step("set runs right")
def align(home: str, came: Reference) -> None:
    """Resume runs whose jobs ended, call dead ones crashed, and show a training, or an ask, that no run shows."""
    place = Path(home)
    with _client() as client:
        _bury(client, place)
        waits = came["request"] if came["awaits"] else None
        runs = runs_of(client, place, ["retrain"], ALIVE)
        for run in runs:
            if _waits_for_jobs(run) and _request(run) != waits:
                client.resume_flow_run(run.id)
                get_run_logger().info("resumed %s: its jobs ended", run.name)
        for run in runs_of(client, place, [*ASKING.values()], [StateType.PAUSED]):
            ask = asked_in(run)
            if ask is not None and ask not in came["asks"].values():
                client.resume_flow_run(run.id, {"token": token_of(place, ask)})
                get_run_logger().info("resumed %s: %s was answered, or is not asked any more", run.name, ask)
        if waits and waits not in {_request(run) for run in runs}:
            _show(client, place, waits)
        for what, ask in came["asks"].items():
            _ask(client, place, ASKING[what], ask)


def _waits_for_jobs(run: FlowRun) -> bool:
    return run.state is not None and run.state.is_paused() and asked_in(run) is None


def _request(run: FlowRun) -> str:
    return str((run.parameters or {}).get("request", ""))


def _bury(client: SyncPrefectClient, home: Path) -> None:
    """End runs that are lost with their worker: nobody else does."""
    long_ago = datetime.now(UTC) - LOST_AFTER
    if not _heard(client, None, long_ago - _UP, long_ago):
        return  # Silence says nothing: the server was down.
    for run in runs_of(client, home, KINDS, [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]):
        if run.state is not None and run.state.timestamp < long_ago and not _heard(client, run, long_ago):
            end = Cancelled if _cancels(run) else Crashed
            state: State[None] = end(message="Its worker was lost; what it was to do is done by `reconcile`")
            client.set_flow_run_state(run.id, state, force=True)


def _heard(client: SyncPrefectClient, run: FlowRun | None, since: datetime, until: datetime | None = None) -> bool:
    """Whether there was an event about a run, as its heartbeats are; or about anything."""
    about: dict[str, Any] = {"occurred": {"since": since.isoformat()}}
    if until is not None:
        about["occurred"]["until"] = until.isoformat()
    if run is not None:
        about["resource"] = {"id": [f"prefect.flow-run.{run.id}"]}
    return bool(client.request("POST", "/events/filter", json={"filter": about, "limit": 1}).json()["events"])


def _show(client: SyncPrefectClient, home: Path, request: str) -> None:
    """Start a run for a training that none shows; it finds the jobs under way, and suspends."""
    from hpcretrain.wiring import read_history

    cycle = read_history(home)[0].training
    if cycle is not None and cycle.run is not None:
        _start_another(client, home, "retrain", cycle.run.priority_class.value, {"request": request}, request)


def _ask(client: SyncPrefectClient, home: Path, kind: Kind, ask: str) -> None:
    """Start a run that shows what is asked, where none does: somebody may have asked for it by the command line."""
    from hpcretrain.records import Ask
    from hpcretrain.wiring import read_history

    # One that is not suspended yet will be.
    if any(asked_in(run) in (ask, None) for run in runs_of(client, home, [kind], ALIVE)):
        return
    found = read_history(home)[0].known.get(ask)
    if isinstance(found, Ask):
        _start_another(client, home, kind, found.priority_class.value, {}, ask)


def _start_another(
    client: SyncPrefectClient, home: Path, kind: Kind, priority_class: str, about: Mapping[str, str], once: str
) -> None:
    """Start a run although earlier ones of the same key have ended."""
    for number in itertools.count():
        key = FlowRunFilterIdempotencyKey(any_=[_key(home, kind, f"{once}:{number}")])
        if not client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=key), limit=1):
            _start(client, home, kind, priority_class, about, f"{once}:{number}")
            return


@step("start what follows")
def start(home: str, kind: Kind, priority_class: str, request: str, once: str) -> None:
    """Start a run about a request, once for each key `once`."""
    with _client() as client:
        _start(client, Path(home), kind, priority_class, {"request": request}, once)


def _start(
    client: SyncPrefectClient,
    home: Path,
    kind: Kind,
    priority_class: str,
    about: Mapping[str, str],
    once: str,
) -> None:
    deployment = deployment_of(client, home, kind, priority_class)
    client.create_flow_run_from_deployment(
        deployment.id,
        parameters={"home": str(home.resolve()), **about},
        idempotency_key=_key(home, kind, once),
    )


def deployment_of(client: SyncPrefectClient, home: Path, kind: Kind, priority_class: str) -> DeploymentResponse:
    """The deployment of a class; for one that came with a policy since the last setup, that of the background."""
    try:
        return client.read_deployment_by_name(f"{flow_name(kind)}/{home_id(home)}-{priority_class}")
    except ObjectNotFound:
        if priority_class == PriorityClass.BACKGROUND:
            raise
        get_run_logger().warning("no deployments of class %s: `hpcretrain prefect setup` makes them", priority_class)
        return deployment_of(client, home, kind, PriorityClass.BACKGROUND)


def _key(home: Path, kind: Kind, once: str) -> str:
    # Prefect knows such a key across homes, of which two may hold the same request: one is a copy of the other.
    return f"{home_id(home)}:{kind}:{once}"

"""Set-up of a Prefect server for a home: what is missing is made, what differs is put right; nothing else is touched.

What it makes is known by its tag (deployments, automations), its mark (the work pool) or its name (the rest), so that
teardown removes exactly that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from hpcretrain.adapters.loopback import beside_proxies
from hpcretrain.adapters.ownserver import QUIET, check
from hpcretrain.adapters.prefect_automations import bring_automation
from hpcretrain.adapters.prefect_owner import (
    another,
    made_for_another,
    tagged_automations,
    tagged_deployments,
)
from hpcretrain.adapters.prefect_server import find
from hpcretrain.adapters.prefect_wanted import BlockOfHome, Deployment, Queue, Report, Wanted
from hpcretrain.errors import InputError, PrefectError

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

P = ParamSpec("P")
R = TypeVar("R")

_TRIES = 5
_HEARTBEAT_S = 30
_OWNERS_ALONE = ("command", "env", "working_dir")
"""What Prefect would let each run say about its process."""


def setup(wanted: Wanted) -> Report:
    """Bring the server to what is wanted.

    Raises:
        InputError: The work pool, or what the home has there, is somebody else's; nothing was changed.
        PrefectError: The server does not answer, or refuses.
    """
    report: Report = {"made": [], "mended": [], "kept": [], "removed": []}
    with server() as client:
        _refuse_others(client, wanted)
        new = _pool(client, wanted, report)
        # What is in no class, and may be run in this pool all the same, comes last.
        for queue in (*wanted.queues, Queue("default", wanted.queues[-1].priority + 1, 1)):
            _queue(client, wanted, queue, report, new=new)
        for tag, limit in wanted.ours.limits.tags.items():
            _tag_limit(client, tag, limit, report)
        for name, limit in wanted.ours.limits.shared.items():
            _shared_limit(client, name, limit, report)
        for block in wanted.blocks:
            _block(client, wanted.ours.home, block, report)
        made = {(each.flow, each.name): _deployment(client, wanted, each, report) for each in wanted.deployments}
        for automation in wanted.automations:
            bring_automation(client, wanted, automation, made, report)
        _tidy(client, wanted, report)
    return report


def _tidy(client: SyncPrefectClient, wanted: Wanted, report: Report) -> None:
    """Remove what another version of setup made for the home, and this one does not."""
    ours = wanted.ours
    meant = {each.name for each in wanted.automations}
    for automation in tagged_automations(client, ours.home_tag):
        if ours.mark in automation.description and automation.name not in meant:
            client.delete_automation(automation.id)
            report["removed"].append(f"automation {automation.name}")
    named = {(each.flow, each.name) for each in wanted.deployments}
    for deployment in tagged_deployments(client, ours.home_tag):
        flow = client.read_flow(deployment.flow_id).name
        if ours.mark in (deployment.description or "") and (flow, deployment.name) not in named:
            client.delete_deployment(deployment.id)
            report["removed"].append(f"deployment {flow}/{deployment.name}")


def reach() -> str:
    """The address of the server that is configured, for whoever is about to talk to it, and for what he starts.

    Raises:
        InputError: None is configured; or it is one of our own, and the password would go to another user.
    """
    try:
        from prefect.settings import PREFECT_API_URL, PREFECT_HOME
    except ImportError:
        raise InputError("Prefect is not installed; `pip install 'hpcretrain[prefect]'` does that") from None
    url: str | None = PREFECT_API_URL.value()
    if url is None:
        raise InputError(
            "no Prefect server is configured; `hpcretrain prefect server DIR` starts one and says how to use it, or "
            "set PREFECT_API_URL"
        )
    os.environ.update({**QUIET, **beside_proxies(os.environ)})
    own = find(PREFECT_HOME.value())
    if own is not None and own.url == url:
        check(own)
    return url


@contextmanager
def server() -> Iterator[SyncPrefectClient]:
    """The server that is configured; its refusals as errors that say what to do."""
    url = reach()
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        with get_client(sync_client=True) as client:
            yield client
    except PrefectHTTPStatusError as error:
        code = error.response.status_code
        if code in (401, 403):
            raise InputError(f"{url} refuses the password; set PREFECT_HOME to the server's folder") from error
        raise PrefectError(f"{url} answered {code}: {error.response.text[:500]}", again=code >= 500) from error
    except httpx.HTTPError as error:
        raise PrefectError(f"{url} does not answer: {error!r}; is the server up?", again=True) from error


def check_pool(name: str) -> None:
    """Let nobody run what somebody else's pool holds.

    Raises:
        InputError: The work pool was made for somebody else.
        PrefectError: The server does not answer, or refuses.
    """
    with server() as client:
        _refuse_pool(client, name)


def check_home(wanted: Wanted) -> None:
    """Let nobody deploy what the home has not been set up for, or what is somebody else's.

    Raises:
        InputError: Nothing was set up for the home, or it or the work pool is somebody else's.
        PrefectError: The server does not answer, or refuses.
    """
    with server() as client:
        _refuse_others(client, wanted)
        if not tagged_deployments(client, wanted.ours.home_tag):
            raise InputError(
                f"nothing is set up for {wanted.ours.home} on this server; `hpcretrain prefect setup` makes its "
                "queues, limits, blocks and automations"
            )


def _refuse_others(client: SyncPrefectClient, wanted: Wanted) -> None:
    if other := made_for_another(client, wanted.ours.home_tag):
        raise InputError(
            f"{wanted.ours.home} is on this server for {other}, where a home has the same path; tear it down there, or "
            "use a server of your own (if that machine is no more, delete its deployments and automations in Prefect's "
            "pages)"
        )
    _refuse_pool(client, wanted.pool)


def _refuse_pool(client: SyncPrefectClient, name: str) -> None:
    from prefect.exceptions import ObjectNotFound

    with suppress(ObjectNotFound):
        if other := another(client.read_work_pool(name).description):
            raise InputError(
                f"the work pool {name} was made for {other}, and its runs are that user's; --pool NAME is one of your "
                "own, or tear it down there"
            )


def _unless_meanwhile(make: Callable[P, R]) -> Callable[P, R]:
    """Look again where somebody else made the same between the look and the making."""

    @wraps(make)
    def again(*args: P.args, **kwargs: P.kwargs) -> R:
        from prefect.exceptions import ObjectAlreadyExists

        for _ in range(_TRIES):
            with suppress(ObjectAlreadyExists):
                return make(*args, **kwargs)
        raise PrefectError(
            "what is made on the server goes and comes: another setup or teardown is at work", again=True
        )

    return again


@_unless_meanwhile
def _pool(client: SyncPrefectClient, wanted: Wanted, report: Report) -> bool:
    """Make the pool or put it right; whether it is new."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    told, template = f"work pool {wanted.pool}", _job_template()
    try:
        there = client.read_work_pool(wanted.pool)
    except ObjectNotFound:
        client.create_work_pool(
            WorkPoolCreate(name=wanted.pool, type="process", description=wanted.ours.mark, base_job_template=template)
        )
        report["made"].append(told)
        return True
    if there.description != wanted.ours.mark:
        raise InputError(f"there is a work pool {wanted.pool} that is not ours; --pool names another")
    if (there.concurrency_limit, there.is_paused, there.base_job_template) != (None, False, template):
        client.update_work_pool(
            wanted.pool, WorkPoolUpdate(concurrency_limit=None, is_paused=False, base_job_template=template)
        )
        report["mended"].append(told)
    else:
        report["kept"].append(told)
    return False


def _job_template() -> dict[str, Any]:
    """How a run becomes a process: what is run, where and in which environment is not for who starts it to say."""
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    for name in _OWNERS_ALONE:
        del template["job_configuration"][name], template["variables"]["properties"][name]
    # Prefect's least: a run whose process is gone is noticed soon.
    template["job_configuration"]["env"] = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(_HEARTBEAT_S)}
    template["variables"]["additionalProperties"] = False
    return template


@_unless_meanwhile
def _queue(client: SyncPrefectClient, wanted: Wanted, queue: Queue, report: Report, *, new: bool) -> None:
    from prefect.client.schemas.filters import WorkQueueFilter, WorkQueueFilterName

    told = f"work queue {queue.name}"
    found = client.read_work_queues(
        work_pool_name=wanted.pool, work_queue_filter=WorkQueueFilter(name=WorkQueueFilterName(any_=[queue.name]))
    )
    if not found:
        client.create_work_queue(
            queue.name, work_pool_name=wanted.pool, priority=queue.priority, concurrency_limit=queue.limit
        )
        report["made"].append(told)
    elif (found[0].priority, found[0].concurrency_limit, found[0].is_paused) != (queue.priority, queue.limit, False):
        client.update_work_queue(found[0].id, priority=queue.priority, concurrency_limit=queue.limit, is_paused=False)
        report["made" if new else "mended"].append(told)
    else:
        report["kept"].append(told)


@_unless_meanwhile
def _tag_limit(client: SyncPrefectClient, tag: str, limit: int, report: Report) -> None:
    from prefect.exceptions import ObjectNotFound

    seen = None
    with suppress(ObjectNotFound):
        seen = client.read_concurrency_limit_by_tag(tag).concurrency_limit
    if seen != limit:
        client.create_concurrency_limit(tag=tag, concurrency_limit=limit)
    _told(report, f"tag limit {tag}", seen, limit)


@_unless_meanwhile
def _shared_limit(client: SyncPrefectClient, name: str, limit: int, report: Report) -> None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
    from prefect.exceptions import ObjectNotFound

    seen = None
    with suppress(ObjectNotFound):
        there = client.read_global_concurrency_limit_by_name(name)
        seen = there.limit if there.active else -1
    if seen is None:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=limit))
    elif seen != limit:
        client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=limit, active=True))
    _told(report, f"concurrency limit {name}", seen, limit)


def _told(report: Report, name: str, seen: object, limit: object) -> None:
    report["made" if seen is None else "kept" if seen == limit else "mended"].append(name)


@_unless_meanwhile
def _block(client: SyncPrefectClient, home: str, block: BlockOfHome, report: Report) -> None:
    from prefect.exceptions import ObjectNotFound

    from hpcretrain.adapters.prefect_blocks import BLOCKS

    kind = BLOCKS[block.kind]
    seen = None
    with suppress(ObjectNotFound):
        seen = client.read_block_document_by_name(home, kind.get_block_type_slug()).data
    if seen != dict(block.values):
        kind(**block.values).save(home, overwrite=True)
    _told(report, f"block {block.kind} {home}", seen, dict(block.values))


def _deployment(client: SyncPrefectClient, wanted: Wanted, one: Deployment, report: Report) -> UUID:
    from prefect.exceptions import ObjectNotFound

    told = f"deployment {one.flow}/{one.name}"
    try:
        there = client.read_deployment_by_name(f"{one.flow}/{one.name}")
    except ObjectNotFound:
        there = None
    if there is not None and _same(there, one, wanted):
        report["kept"].append(told)
        return there.id
    flow = client.create_flow_from_name(one.flow)
    identifier = client.create_deployment(
        flow_id=flow,
        name=one.name,
        entrypoint=one.entrypoint,
        description=one.description,
        parameters=dict(one.parameters),
        parameter_openapi_schema=dict(one.schema),
        enforce_parameter_schema=True,
        work_pool_name=wanted.pool,
        work_queue_name=one.queue,
        tags=_tags(wanted),
        job_variables={},
        schedules=_schedules(one, there),
        concurrency_limit=None,
        path=None,
        pull_steps=[],
    )
    report["made" if there is None else "mended"].append(told)
    return identifier


def _tags(wanted: Wanted) -> list[str]:
    return [wanted.ours.tag, wanted.ours.home_tag]


def _schedules(one: Deployment, there: DeploymentResponse | None) -> list[Any]:
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    # A schedule that somebody paused stays paused.
    active = there is None or not there.schedules or there.schedules[0].active
    if one.every is not None:
        anchor = datetime(2020, 1, 1, tzinfo=UTC)
        return [
            DeploymentScheduleCreate(schedule=IntervalSchedule(interval=one.every, anchor_date=anchor), active=active)
        ]
    if one.cron is not None:
        return [DeploymentScheduleCreate(schedule=CronSchedule(cron=one.cron, timezone="UTC"), active=active)]
    return []


def _same(there: DeploymentResponse, one: Deployment, wanted: Wanted) -> bool:
    schedules = [
        (getattr(each.schedule, "interval", None), getattr(each.schedule, "cron", None)) for each in there.schedules
    ]
    return (
        there.entrypoint == one.entrypoint
        and there.description == one.description
        and there.parameters == dict(one.parameters)
        and there.parameter_openapi_schema == dict(one.schema)
        and there.enforce_parameter_schema
        and (there.work_pool_name, there.work_queue_name) == (wanted.pool, one.queue)
        and sorted(there.tags) == sorted(_tags(wanted))
        and (there.job_variables or {}, there.pull_steps or [], there.path) == ({}, [], None)
        and there.global_concurrency_limit is None
        and schedules == ([(one.every, one.cron)] if one.every or one.cron else [])
    )

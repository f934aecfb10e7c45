"""Set-up of a Prefect server for a home: what is missing is made, what differs is put right; nothing else is touched.

What it makes is known by its tag (deployments, automations), its mark (the work pool) or its name (the rest), so that
teardown removes exactly that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hpcretrain.adapters.loopback import beside_proxies
from hpcretrain.adapters.ownserver import QUIET, check
from hpcretrain.adapters.prefect_server import find
from hpcretrain.adapters.prefect_wanted import Automation, Deployment, Limits, Queue, Report, RunsDeployment, Wanted
from hpcretrain.errors import InputError, PrefectError

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore

_PAGE = 200
HEARTBEAT_S = 30


def setup(wanted: Wanted) -> Report:
    """Bring the server to what is wanted.

    Raises:
        InputError: There is a work pool of that name that setup did not make; nothing was changed.
        PrefectError: The server does not answer, or refuses.
    """
    report: Report = {"made": [], "mended": [], "kept": [], "removed": []}
    with server() as client:
        new = _pool(client, wanted, report)
        _queues(client, wanted, report, new=new)
        _limits(client, wanted.ours.limits, report)
        _blocks(wanted, report)
        made = {(each.flow, each.name): _deployment(client, wanted, each, report) for each in wanted.deployments}
        for automation in wanted.automations:
            _automation(client, wanted, automation, made, report)
        _tidy(client, wanted, report)
    return report


def _tidy(client: SyncPrefectClient, wanted: Wanted, report: Report) -> None:
    """Remove what another version of setup made for the home, and this one does not."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    ours = wanted.ours
    meant = {each.name for each in wanted.automations}
    for automation in client.read_automations():
        if ours.home_tag in automation.tags and ours.mark in automation.description and automation.name not in meant:
            client.delete_automation(automation.id)
            report["removed"].append(f"automation {automation.name}")
    named = {(each.flow, each.name) for each in wanted.deployments}
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[ours.home_tag]))
    for deployment in client.read_deployments(deployment_filter=tagged, limit=_PAGE):
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


def _pool(client: SyncPrefectClient, wanted: Wanted, report: Report) -> bool:
    """Make the pool or put it right; whether it is new."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    told = f"work pool {wanted.pool}"
    try:
        there = client.read_work_pool(wanted.pool)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(
            WorkPoolCreate(name=wanted.pool, type="process", description=wanted.ours.mark, base_job_template=template)
        )
        report["made"].append(told)
        return True
    if there.description != wanted.ours.mark:
        raise InputError(f"there is a work pool {wanted.pool} that is not ours; --pool names another")
    if there.concurrency_limit is not None or there.is_paused:
        client.update_work_pool(wanted.pool, WorkPoolUpdate(concurrency_limit=None, is_paused=False))
        report["mended"].append(told)
    else:
        report["kept"].append(told)
    return False


def _queues(client: SyncPrefectClient, wanted: Wanted, report: Report, *, new: bool) -> None:
    from prefect.client.schemas.filters import WorkQueueFilter, WorkQueueFilterName

    # What is in no class, and may be run in this pool all the same, comes last.
    for queue in (*wanted.queues, Queue("default", len(wanted.queues) + 1, 1)):
        told = f"work queue {queue.name}"
        found = client.read_work_queues(
            work_pool_name=wanted.pool, work_queue_filter=WorkQueueFilter(name=WorkQueueFilterName(any_=[queue.name]))
        )
        if not found:
            client.create_work_queue(
                queue.name, work_pool_name=wanted.pool, priority=queue.priority, concurrency_limit=queue.limit
            )
            report["made"].append(told)
        elif (found[0].priority, found[0].concurrency_limit, found[0].is_paused) != (
            queue.priority,
            queue.limit,
            False,
        ):
            client.update_work_queue(
                found[0].id, priority=queue.priority, concurrency_limit=queue.limit, is_paused=False
            )
            report["made" if new else "mended"].append(told)
        else:
            report["kept"].append(told)


def _limits(client: SyncPrefectClient, limits: Limits, report: Report) -> None:
    tags = {each.tag: each.concurrency_limit for each in client.read_concurrency_limits(limit=_PAGE, offset=0)}
    for tag, limit in limits.tags.items():
        if tags.get(tag) != limit:
            client.create_concurrency_limit(tag=tag, concurrency_limit=limit)
        _told(report, f"tag limit {tag}", tags.get(tag), limit)
    shared = {each.name: each for each in client.read_global_concurrency_limits(limit=_PAGE, offset=0)}
    for name, limit in limits.shared.items():
        there = shared.get(name)
        seen = there.limit if there and there.active else there and -1
        if seen != limit:
            _share(client, name, limit, new=there is None)
        _told(report, f"concurrency limit {name}", seen, limit)


def _share(client: SyncPrefectClient, name: str, limit: int, *, new: bool) -> None:
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate

    if new:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=limit))
    else:
        client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=limit, active=True))


def _told(report: Report, name: str, seen: object, limit: object) -> None:
    report["made" if seen is None else "kept" if seen == limit else "mended"].append(name)


def _blocks(wanted: Wanted, report: Report) -> None:
    from hpcretrain.adapters.prefect_blocks import BLOCKS

    for block in wanted.blocks:
        kind = BLOCKS[block.kind]
        try:
            there = kind.load(wanted.ours.home)
            seen: object = {key: getattr(there, key) for key in block.values}
        except ValueError:
            seen = None
        if seen != dict(block.values):
            kind(**block.values).save(wanted.ours.home, overwrite=True)
        _told(report, f"block {block.kind} {wanted.ours.home}", seen, dict(block.values))


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
        job_variables=_job_variables(),
        schedules=_schedules(one, there),
        path=None,
        pull_steps=[],
    )
    report["made" if there is None else "mended"].append(told)
    return identifier


def _tags(wanted: Wanted) -> list[str]:
    return [wanted.ours.tag, wanted.ours.home_tag]


def _job_variables() -> dict[str, Any]:
    # Prefect's least: a run whose process is gone is noticed soon.
    return {"env": {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_S)}}


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
        and there.job_variables == _job_variables()
        and schedules == ([(one.every, one.cron)] if one.every or one.cron else [])
    )


def _automation(
    client: SyncPrefectClient,
    wanted: Wanted,
    one: Automation,
    deployments: Mapping[tuple[str, str], UUID],
    report: Report,
) -> None:
    told = f"automation {one.name}"
    meant = _meant(wanted, one, deployments)
    there = [each for each in client.read_automations_by_name(one.name) if wanted.ours.home_tag in each.tags]
    for extra in there[1:]:
        client.delete_automation(extra.id)
    if not there:
        client.create_automation(meant)
        report["made"].append(told)
        return
    # What somebody switched off stays off.
    meant = meant.model_copy(update={"enabled": there[0].enabled})
    seen = type(meant).model_validate(there[0].model_dump(mode="json"))
    if _compared(seen) == _compared(meant):
        report["kept"].append(told)
    else:
        client.update_automation(there[0].id, meant)
        report["mended"].append(told)


def _compared(automation: AutomationCore) -> dict[str, Any]:
    body = automation.model_dump(mode="json", exclude={"owner_resource": True, "trigger": {"id"}})
    for key in ("expect", "after", "for_each"):
        body["trigger"][key] = sorted(body["trigger"][key])
    return body


def _meant(wanted: Wanted, one: Automation, deployments: Mapping[tuple[str, str], UUID]) -> AutomationCore:
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState, RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    action: RunDeployment | ChangeFlowRunState
    if isinstance(one.action, RunsDeployment):
        action = RunDeployment(
            source="selected",
            deployment_id=deployments[one.action.flow, one.action.name],
            parameters=dict(one.action.parameters),
            job_variables=None,
        )
    else:
        action = ChangeFlowRunState(
            state=StateType(one.action.state), name=None, message=one.action.message, force=False
        )
    return AutomationCore(
        name=one.name,
        description=f"{one.description} {wanted.ours.mark}",
        tags=_tags(wanted),
        trigger=EventTrigger(
            after=set(one.after),
            expect=set(one.expect),
            match=dict(one.match),
            match_related=[dict(each) for each in one.match_related],
            for_each=set(one.for_each),
            posture=Posture.Proactive if one.proactive else Posture.Reactive,
            threshold=1,
            within=one.within,
        ),
        actions=[action],
    )

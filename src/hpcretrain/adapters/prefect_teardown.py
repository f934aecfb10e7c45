"""Removal of what setup made for a home, and of what homes share once none is left; never of anything else."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hpcretrain.adapters.prefect import server
from hpcretrain.adapters.prefect_owner import (
    everything,
    made_for_another,
    tagged_automations,
    tagged_deployments,
)
from hpcretrain.adapters.prefect_wanted import Limits, Ours, Report

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_PAGE = 200
"""Runs are read anew after these were deleted."""


def teardown(ours: Ours) -> Report:
    """Remove a home from the server; its ledger and its jobs are not touched.

    Returns:
        The names of what was "removed", and of what was "left", with the reason.

    Raises:
        PrefectError: The server does not answer, or refuses.
    """
    report: Report = {"removed": [], "left": []}
    with server() as client:
        if other := made_for_another(client, ours.home_tag):
            report["left"].append(f"{ours.home}: it is here for {other}, where a home has the same path")
        else:
            _automations(client, ours.home_tag, report)
            _deployments(client, ours.home_tag, report)
            _runs(client, ours.home_tag, report)
            _blocks(client, ours.home, report)
        _pools(client, ours.mark, report)
        if others := tagged_deployments(client, ours.tag):
            report["left"].append(f"limits: {len(others)} deployments of other homes use them")
        else:
            _limits(client, ours.limits, report)
            _flows(client, ours.flows, report)
    return report


def _automations(client: SyncPrefectClient, home_tag: str, report: Report) -> None:
    for automation in tagged_automations(client, home_tag):
        client.delete_automation(automation.id)
        report["removed"].append(f"automation {automation.name}")


def _deployments(client: SyncPrefectClient, home_tag: str, report: Report) -> None:
    for deployment in tagged_deployments(client, home_tag):
        flow = client.read_flow(deployment.flow_id)
        client.delete_deployment(deployment.id)
        report["removed"].append(f"deployment {flow.name}/{deployment.name}")


def _runs(client: SyncPrefectClient, home_tag: str, report: Report) -> None:
    """Delete runs that nobody would take up again: canceled ones would end their trainings at the next setup."""
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        FlowRunFilterTags,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.exceptions import ObjectNotFound

    waiting = FlowRunFilterStateType(any_=[StateType.PAUSED, StateType.SCHEDULED, StateType.PENDING])
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[home_tag]),
        state=FlowRunFilterState(type=waiting),
    )
    while runs := client.read_flow_runs(flow_run_filter=wanted, limit=_PAGE):
        for run in runs:
            with contextlib.suppress(ObjectNotFound):
                client.delete_flow_run(run.id)
        report["removed"].append(f"{len(runs)} waiting runs")


def _blocks(client: SyncPrefectClient, home: str, report: Report) -> None:
    from prefect.exceptions import ObjectNotFound

    from hpcretrain.adapters.prefect_blocks import BLOCKS

    for name, kind in BLOCKS.items():
        slug = kind.get_block_type_slug()
        try:
            document = client.read_block_document_by_name(home, slug)
        except ObjectNotFound:
            continue
        client.delete_block_document(document.id)
        report["removed"].append(f"block {name} {home}")
        if not client.read_block_documents_by_type(slug):
            client.delete_block_type(client.read_block_type_by_slug(slug).id)


def _pools(client: SyncPrefectClient, mark: str, report: Report) -> None:
    from prefect.client.schemas.filters import WorkPoolFilter, WorkPoolFilterName

    for pool in everything(client.read_work_pools):
        if pool.description != mark:
            continue
        own = client.read_deployments(
            work_pool_filter=WorkPoolFilter(name=WorkPoolFilterName(any_=[pool.name])), limit=1
        )
        if own:
            report["left"].append(f"work pool {pool.name}: there are deployments that use it")
        else:
            client.delete_work_pool(pool.name)
            report["removed"].append(f"work pool {pool.name}")


def _limits(client: SyncPrefectClient, limits: Limits, report: Report) -> None:
    from prefect.exceptions import ObjectNotFound

    removals = [
        *((f"tag limit {tag}", client.delete_concurrency_limit_by_tag, tag) for tag in limits.tags),
        *(
            (f"concurrency limit {name}", client.delete_global_concurrency_limit_by_name, name)
            for name in limits.shared
        ),
    ]
    for what, remove, name in removals:
        with contextlib.suppress(ObjectNotFound):
            remove(name)
            report["removed"].append(what)


def _flows(client: SyncPrefectClient, names: tuple[str, ...], report: Report) -> None:
    """Remove flows of which nothing was ever run: the others' runs tell what happened."""
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    for flow in client.read_flows(flow_filter=FlowFilter(name=FlowFilterName(any_=list(names)))):
        this = FlowFilter(name=FlowFilterName(any_=[flow.name]))
        if client.read_flow_runs(flow_filter=this, limit=1) or client.read_deployments(flow_filter=this, limit=1):
            report["left"].append(f"flow {flow.name}: it has runs, which tell what happened")
        else:
            client.delete_flow(flow.id)
            report["removed"].append(f"flow {flow.name}")

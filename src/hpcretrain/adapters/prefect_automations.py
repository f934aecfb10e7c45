"""Set-up of a home's automations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hpcretrain.adapters.prefect_wanted import Automation, Report, Wanted

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import Automation as Made
    from prefect.events.schemas.automations import AutomationCore


def bring_automation(
    client: SyncPrefectClient,
    wanted: Wanted,
    one: Automation,
    deployments: Mapping[tuple[str, str], UUID],
    report: Report,
) -> None:
    """Make an automation, or put it right."""
    told = f"automation {one.name}"
    meant = _meant(wanted, one, deployments)
    there = _first(client, wanted, one.name)
    if there is None:
        client.create_automation(meant)
        # Prefect lets two have the same name: of two who made it at once, both leave the same one.
        _first(client, wanted, one.name)
        report["made"].append(told)
        return
    # What somebody switched off stays off.
    meant = meant.model_copy(update={"enabled": there.enabled})
    seen = type(meant).model_validate(there.model_dump(mode="json"))
    if _compared(seen) == _compared(meant):
        report["kept"].append(told)
    else:
        client.update_automation(there.id, meant)
        report["mended"].append(told)


def _first(client: SyncPrefectClient, wanted: Wanted, name: str) -> Made | None:
    """The first of the home's automations of a name, which is left alone."""
    named = [each for each in client.read_automations_by_name(name) if wanted.ours.home_tag in each.tags]
    first = min(named, key=lambda each: each.id, default=None)
    for other in named:
        if other is not first:
            client.delete_automation(other.id)
    return first


def _compared(automation: AutomationCore) -> dict[str, Any]:
    body = automation.model_dump(mode="json", exclude={"owner_resource": True, "trigger": {"id"}})
    for key in ("expect", "after", "for_each"):
        body["trigger"][key] = sorted(body["trigger"][key])
    return body


def _meant(wanted: Wanted, one: Automation, deployments: Mapping[tuple[str, str], UUID]) -> AutomationCore:
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    action = RunDeployment(
        source="selected",
        deployment_id=deployments[one.action.flow, one.action.name],
        parameters=dict(one.action.parameters),
        job_variables=None,
    )
    return AutomationCore(
        name=one.name,
        description=f"{one.description} {wanted.ours.mark}",
        tags=[wanted.ours.tag, wanted.ours.home_tag],
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

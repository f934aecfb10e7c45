"""What is on a Prefect server, which several people and machines may share, and for whom it was made."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from hpcretrain.adapters.people import own_name

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import Automation

T = TypeVar("T")

_PAGE = 200
"""Prefect's server gives no more at once."""
_MARK = re.compile(r"Made by `hpcretrain prefect setup` for (.+), and removed by")


def mark() -> str:
    """What is in the description of all that setup makes: for whom, and on which machine."""
    return f"Made by `hpcretrain prefect setup` for {_self()}, and removed by `hpcretrain prefect teardown`."


def another(description: str | None) -> str | None:
    """For whom a thing was made, as `user@machine`, if that is not this user on this machine."""
    found = _MARK.search(description or "")
    return found[1] if found and found[1] != _self() else None


def _self() -> str:
    return f"{own_name()}@{socket.gethostname()}"


def everything(read: Callable[..., list[T]], **wanted: Any) -> list[T]:
    """All that one of the client's methods reads, page by page."""
    found: list[T] = []
    while page := read(**wanted, limit=_PAGE, offset=len(found)):
        found += page
    return found


def tagged_deployments(client: SyncPrefectClient, tag: str) -> list[DeploymentResponse]:
    """All deployments with a tag."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags

    return everything(
        client.read_deployments, deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[tag]))
    )


def tagged_automations(client: SyncPrefectClient, tag: str) -> list[Automation]:
    """All automations with a tag."""
    from prefect.events.filters import AutomationFilter, AutomationFilterTags

    return everything(client.read_automations, automations=AutomationFilter(tags=AutomationFilterTags(all_=[tag])))


def made_for_another(client: SyncPrefectClient, home_tag: str) -> str | None:
    """Whom the home of a tag is on the server for, if that is somebody else: another machine may have the same path."""
    told = (
        *(each.description for each in tagged_deployments(client, home_tag)),
        *(each.description for each in tagged_automations(client, home_tag)),
    )
    return next(filter(None, map(another, told)), None)

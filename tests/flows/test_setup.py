"""`hpcretrain prefect setup` and `teardown`, on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate, WorkPoolCreate
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect_server import one_server, surroundings
from tables import configure, orders

from hpcretrain.adapters.prefect_server import PrefectServer
from hpcretrain.flows.names import home_id, home_tag
from hpcretrain.livehome import start_live


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """A server of these tests alone: elsewhere flows run, and a flow that has runs is left."""
    with one_server(tmp_path_factory.mktemp("prefect-server") / "server") as server:
        yield server


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configure(tmp_path_factory.mktemp("config"), orders(rows=1_000, minutes=128))


@pytest.fixture
def home(config: Path, tmp_path: Path) -> Path:
    start_live(config, tmp_path / "home")
    return tmp_path / "home"


def prefect(server: PrefectServer, *arguments: object, code: int = 0) -> Any:
    command = [sys.executable, "-m", "hpcretrain", "prefect", *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=surroundings(server))
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def everything(client: SyncPrefectClient) -> dict[str, Any]:
    """All that a server holds that a setup could have made or changed, whole but for when it was last seen."""
    changing = {"created", "updated", "last_polled", "status", "concurrency_limit_v2", "next_scheduled_run_time"}

    def plain(things: Any) -> list[Any]:
        return sorted((one.model_dump(mode="json", exclude=changing) for one in things), key=lambda one: str(one["id"]))

    return {
        "pools": plain(client.read_work_pools()),
        "queues": plain(client.read_work_queues()),
        "tags": plain(client.read_concurrency_limits(limit=200, offset=0)),
        "limits": plain(client.read_global_concurrency_limits(limit=200, offset=0)),
        "deployments": plain(client.read_deployments()),
        "automations": plain(client.read_automations()),
        "blocks": plain(client.read_block_documents(limit=200)),
        "block types": sorted(kind.slug for kind in client.read_block_types()),
        "flows": plain(client.read_flows()),
    }


def test_setup_makes_everything_once_and_teardown_removes_just_that(prefect_server: PrefectServer, home: Path) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="theirs", type="process"))
        theirs = AutomationCore(
            name="theirs",
            tags=["hpcretrain"],
            trigger=EventTrigger(expect={"x"}, posture=Posture.Reactive, threshold=1, within=0),
            actions=[DoNothing()],
        )
        client.create_automation(theirs)
        client.create_concurrency_limit(tag="theirs", concurrency_limit=3)
        before = everything(client)

        first = prefect(prefect_server, "setup", "--home", home)
        made = everything(client)
        assert first["mended"] == first["kept"] == []
        assert len(made["deployments"]) == 13
        assert len(made["automations"]) - len(before["automations"]) == 9
        assert {
            each["name"]: (each["priority"], each["concurrency_limit"])
            for each in made["queues"]
            if each["work_pool_name"] == "hpcretrain"
        } == {
            "reconcile": (1, None),
            "urgent": (2, 4),
            "standard": (3, 2),
            "background": (4, 1),
            "default": (5, 1),
        }

        second = prefect(prefect_server, "setup", "--home", home)
        assert second["made"] == second["mended"] == []
        assert everything(client) == made

        removed = prefect(prefect_server, "teardown", "--home", home)
        assert removed["left"] == []
        assert everything(client) == before


def test_what_drifted_is_put_right_and_what_others_use_is_left(prefect_server: PrefectServer, home: Path) -> None:
    prefect(prefect_server, "setup", "--home", home)
    name = home_id(home)
    with get_client(sync_client=True) as client:
        [urgent] = [queue for queue in client.read_work_queues(work_pool_name="hpcretrain") if queue.name == "urgent"]
        client.update_work_queue(urgent.id, concurrency_limit=99, priority=7)
        client.update_global_concurrency_limit("hpcretrain-validation", GlobalConcurrencyLimitUpdate(limit=50))
        client.create_concurrency_limit(tag="hpcretrain-submit", concurrency_limit=1)
        reconcile = client.read_deployment_by_name(f"hpcretrain-reconcile/{name}")
        client.pause_deployment(reconcile.id)
        switched = next(each for each in client.read_automations() if name in each.name)
        client.pause_automation(switched.id)

        mended = prefect(prefect_server, "setup", "--home", home)
        assert mended["made"] == mended["removed"] == []
        told = {"work queue urgent", "concurrency limit hpcretrain-validation", "tag limit hpcretrain-submit"}
        assert told <= set(mended["mended"])
        [urgent] = [queue for queue in client.read_work_queues(work_pool_name="hpcretrain") if queue.name == "urgent"]
        assert (urgent.priority, urgent.concurrency_limit) == (2, 4)
        assert client.read_deployment(reconcile.id).paused, "what somebody switched off stays off"
        assert not client.read_automation(switched.id).enabled  # type: ignore[union-attr]

        flow = client.create_flow_from_name("theirs")
        theirs = client.create_deployment(flow, "theirs", work_pool_name="hpcretrain", work_queue_name="standard")
        removed = prefect(prefect_server, "teardown", "--home", home)
        assert removed["left"] == ["work pool hpcretrain: a deployment that is not ours uses it"]
        assert client.read_deployment(theirs).work_pool_name == "hpcretrain"
        assert not [each for each in client.read_automations() if home_tag(home) in each.tags]
        client.delete_deployment(theirs)
        assert "work pool hpcretrain" in prefect(prefect_server, "teardown", "--home", home)["removed"]
        client.delete_flow(flow)


def test_a_pool_that_is_somebody_elses_is_refused(prefect_server: PrefectServer, home: Path) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="mine", type="process"))
        before = everything(client)
        told = prefect(prefect_server, "setup", "--home", home, "--pool", "mine", code=2)
        assert "there is a work pool mine that is not ours; --pool names another" in told
        assert everything(client) == before
        client.delete_work_pool("mine")

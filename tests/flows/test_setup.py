"""`hpcretrain prefect setup` and `teardown`, on a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect_server import surroundings
from tables import configure, orders

from hpcretrain.adapters.prefect_server import PrefectServer
from hpcretrain.livehome import start_live


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
            "urgent": (1, 4),
            "standard": (2, 2),
            "background": (3, 1),
            "default": (4, 1),
        }

        second = prefect(prefect_server, "setup", "--home", home)
        assert second["made"] == second["mended"] == []
        assert everything(client) == made

        removed = prefect(prefect_server, "teardown", "--home", home)
        assert removed["left"] == []
        assert everything(client) == before

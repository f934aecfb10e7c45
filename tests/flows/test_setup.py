"""`hpcretrain prefect setup` and `teardown`, on a real server."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from nightly import NIGHTLY
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import (
    DeploymentUpdate,
    GlobalConcurrencyLimitUpdate,
    WorkPoolCreate,
    WorkPoolUpdate,
)
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events.actions import DoNothing
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.exceptions import PrefectHTTPStatusError
from prefect.logging import disable_run_logger
from prefect.states import Cancelled, Pending, Running, Suspended
from prefect.workers.process import ProcessWorker
from prefect_server import SRC, one_server, surroundings
from steered import DRIFTED, set_time
from tables import configure, orders, write_policy

from hpcretrain.adapters.prefect_owner import everything as whole
from hpcretrain.adapters.prefect_owner import mark
from hpcretrain.adapters.prefect_server import PrefectServer
from hpcretrain.cli import main
from hpcretrain.flows.names import home_id, home_tag
from hpcretrain.flows.runs import deployment_of, heed_cancellations
from hpcretrain.livehome import start_live
from hpcretrain.ways import tick
from hpcretrain.wiring import read_history


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


@pytest.fixture
def other_home(config: Path, tmp_path: Path) -> Path:
    start_live(config, tmp_path / "other")
    return tmp_path / "other"


@pytest.fixture(autouse=True)
def emptied(prefect_server: PrefectServer) -> Iterator[None]:
    """Each test leaves the server empty."""
    yield
    with get_client(sync_client=True) as client:
        for automation in whole(client.read_automations):
            client.delete_automation(automation.id)
        for deployment in client.read_deployments():
            client.delete_deployment(deployment.id)
        for pool in client.read_work_pools():
            client.delete_work_pool(pool.name)
        for run in client.read_flow_runs():
            client.delete_flow_run(run.id)
        for flow in client.read_flows():
            client.delete_flow(flow.id)
        for limit in client.read_concurrency_limits(limit=200, offset=0):
            client.delete_concurrency_limit_by_tag(limit.tag)
        for limit in client.read_global_concurrency_limits(limit=200, offset=0):
            client.delete_global_concurrency_limit_by_name(limit.name)


def prefect(*arguments: object, code: int = 0) -> Any:
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        assert main(["prefect", *map(str, arguments), "--json"]) == code
    return json.loads(output.getvalue()) if code == 0 else errors.getvalue()


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


def test_setup_makes_everything_once_and_teardown_removes_just_that(home: Path) -> None:
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

        first = prefect("setup", "--home", home)
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
            "urgent": (100, 4),
            "standard": (200, 2),
            "background": (300, 1),
            "default": (301, 1),
        }

        second = prefect("setup", "--home", home)
        assert second["made"] == second["mended"] == []
        assert everything(client) == made

        removed = prefect("teardown", "--home", home)
        assert removed["left"] == []
        assert everything(client) == before


def test_what_drifted_is_put_right_and_what_others_use_is_left(home: Path) -> None:
    prefect("setup", "--home", home)
    name = home_id(home)
    with get_client(sync_client=True) as client:
        [urgent] = [queue for queue in client.read_work_queues(work_pool_name="hpcretrain") if queue.name == "urgent"]
        client.update_work_queue(urgent.id, concurrency_limit=99, priority=250)
        client.update_global_concurrency_limit("hpcretrain-validation", GlobalConcurrencyLimitUpdate(limit=50))
        client.create_concurrency_limit(tag="hpcretrain-submit", concurrency_limit=1)
        reconcile = client.read_deployment_by_name(f"hpcretrain-reconcile/{name}")
        client.pause_deployment(reconcile.id)
        review = client.read_deployment_by_name(f"hpcretrain-review/{name}")
        client.update_deployment(review.id, DeploymentUpdate(concurrency_limit=1))
        client.update_work_pool(
            "hpcretrain", WorkPoolUpdate(base_job_template=ProcessWorker.get_default_base_job_template())
        )
        switched = next(each for each in client.read_automations() if name in each.name)
        client.pause_automation(switched.id)

        mended = prefect("setup", "--home", home)
        assert mended["made"] == mended["removed"] == []
        told = {"work queue urgent", "concurrency limit hpcretrain-validation", "tag limit hpcretrain-submit"}
        told |= {"work pool hpcretrain", f"deployment hpcretrain-review/{name}"}
        assert told == set(mended["mended"])
        assert client.read_deployment(review.id).global_concurrency_limit is None
        assert "command" not in client.read_work_pool("hpcretrain").base_job_template["job_configuration"]
        [urgent] = [queue for queue in client.read_work_queues(work_pool_name="hpcretrain") if queue.name == "urgent"]
        assert (urgent.priority, urgent.concurrency_limit) == (100, 4)
        assert client.read_deployment(reconcile.id).paused, "what somebody switched off stays off"
        assert not client.read_automation(switched.id).enabled  # type: ignore[union-attr]

        flow = client.create_flow_from_name("theirs")
        theirs = client.create_deployment(flow, "theirs", work_pool_name="hpcretrain", work_queue_name="standard")
        removed = prefect("teardown", "--home", home)
        assert removed["left"] == ["work pool hpcretrain: there are deployments that use it"]
        assert client.read_deployment(theirs).work_pool_name == "hpcretrain"
        assert not [each for each in client.read_automations() if home_tag(home) in each.tags]
        client.delete_deployment(theirs)
        assert "work pool hpcretrain" in prefect("teardown", "--home", home)["removed"]


def test_a_pool_that_is_somebody_elses_is_refused(home: Path) -> None:
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="mine", type="process"))
        before = everything(client)
        told = prefect("setup", "--home", home, "--pool", "mine", code=2)
        assert "there is a work pool mine that is not ours; --pool names another" in told
        assert everything(client) == before


def test_teardown_and_setup_end_no_training(base: Path, tmp_path: Path) -> None:
    home = Path(shutil.copytree(base, tmp_path / "home"))
    set_time(home, DRIFTED)
    tick(home, "triage")
    request = _training(home)
    assert request
    prefect("setup", "--home", home)
    with get_client(sync_client=True) as client:
        suspended = _suspended_retraining(client, home, request)
        prefect("teardown", "--home", home)
        assert not client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[suspended])))
        prefect("setup", "--home", home)
        heed_cancellations(str(home))
        assert _training(home) == request

        client.set_flow_run_state(_suspended_retraining(client, home, request), Cancelled(), force=True)
        heed_cancellations(str(home))
        assert _training(home) is None, "a person's cancellation does end it"
    prefect("teardown", "--home", home)


def _training(home: Path) -> str | None:
    cycle = read_history(home)[0].training
    return cycle and cycle.request.id


def _suspended_retraining(client: SyncPrefectClient, home: Path, request: str) -> UUID:
    deployment = client.read_deployment_by_name(f"hpcretrain-retrain/{home_id(home)}-standard")
    run = client.create_flow_run_from_deployment(deployment.id, parameters={"home": str(home), "request": request})
    for state in (Pending(), Running(), Suspended(pause_key="x")):
        client.set_flow_run_state(run.id, state)
    return run.id


def test_hundreds_of_others_hide_nothing(home: Path) -> None:
    prefect("setup", "--home", home)
    with get_client(sync_client=True) as client:
        theirs = [_automation(client, f"a{number}") for number in range(201)]
        assert len(whole(client.read_automations)) == 210

        again = prefect("setup", "--home", home)
        assert again["made"] == again["mended"] == []
        removed = prefect("teardown", "--home", home)
        assert sum(each.startswith("automation") for each in removed["removed"]) == 9
        assert {each.id for each in whole(client.read_automations)} == set(theirs)


def _automation(client: SyncPrefectClient, name: str) -> UUID:
    trigger = EventTrigger(expect={"x"}, posture=Posture.Reactive, threshold=1, within=0)
    return client.create_automation(AutomationCore(name=name, trigger=trigger, actions=[DoNothing()]))


BOB = "bob@login9"


def test_another_machines_home_of_the_same_path_is_left(home: Path) -> None:
    prefect("setup", "--home", home, "--pool", "bobs")
    with get_client(sync_client=True) as client:
        _give_to_bob(client)
        before = everything(client)
        told = prefect("setup", "--home", home, "--pool", "mine", code=2)
        assert f"is on this server for {BOB}" in told
        assert everything(client) == before

        report = prefect("teardown", "--home", home)
        assert report["removed"] == []
        assert f"{home_id(home)}: it is here for {BOB}, where a home has the same path" in report["left"]
        assert everything(client) == before


def test_everybody_has_a_pool_of_his_own(home: Path, other_home: Path) -> None:
    prefect("setup", "--home", other_home, "--pool", "bobs")
    with get_client(sync_client=True) as client:
        _give_to_bob(client)
        before = everything(client)
        for command in (("setup", "--home", home), ("worker",)):
            told = prefect(*command, "--pool", "bobs", code=2)
            assert f"the work pool bobs was made for {BOB}" in told
        assert everything(client) == before

        prefect("setup", "--home", home, "--pool", "mine")
        report = prefect("teardown", "--home", home)
        assert report["left"] == ["limits: 13 deployments of other homes use them"]
        assert everything(client) == before


def _give_to_bob(client: SyncPrefectClient) -> None:
    """As if all of it had been made by another user on another machine."""
    assert mark() in client.read_work_pool("bobs").description
    me = mark().split(" for ")[1].split(",")[0]

    def his(description: str | None) -> str:
        return (description or "").replace(f"for {me}, and", f"for {BOB}, and")

    client.update_work_pool("bobs", WorkPoolUpdate(description=his(client.read_work_pool("bobs").description)))
    for deployment in client.read_deployments():
        client.update_deployment(deployment.id, DeploymentUpdate(description=his(deployment.description)))
    for automation in client.read_automations():
        told = automation.model_dump(mode="json", exclude={"id", "owner_resource"}, exclude_unset=True)
        core = AutomationCore.model_validate({**told, "description": his(automation.description)})
        client.update_automation(automation.id, core)


def test_setups_at_once_make_everything_once(prefect_server: PrefectServer, home: Path, other_home: Path) -> None:
    command = [sys.executable, "-m", "hpcretrain", "prefect", "setup", "--json", "--home"]
    surrounded = surroundings(prefect_server)
    at_once = [
        subprocess.Popen([*command, str(each)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=surrounded)
        for each in (home, home, other_home)
    ]
    told = [each.communicate(timeout=120)[1].decode() for each in at_once]
    assert [each.returncode for each in at_once] == [0, 0, 0], told
    with get_client(sync_client=True) as client:
        names = [each.name for each in client.read_automations()]
        assert len(names) == len(set(names)) == 18
    for each in (home, other_home):
        again = prefect("setup", "--home", each)
        assert again["made"] == again["mended"] == again["removed"] == []
    for each in (home, other_home):
        prefect("teardown", "--home", each)


def test_homes_of_one_pool_may_have_other_classes_and_the_order_stands(
    config: Path, home: Path, tmp_path: Path
) -> None:
    def named(name: str) -> Path:
        text = NIGHTLY.replace("nightly", name)
        folder = tmp_path / name
        path = configure(folder, orders(rows=1_000, minutes=128), **write_policy(folder))
        (folder / "policy.toml").write_text((folder / "policy.toml").read_text() + text)
        start_live(path, folder / "home")
        return folder / "home"

    nights, weeks = named("nightly"), named("weekly")
    with get_client(sync_client=True) as client:
        for each in (nights, weeks, home):
            prefect("setup", "--home", each)
        queues = client.read_work_queues(work_pool_name="hpcretrain")
        order = [queue.name for queue in sorted(queues, key=lambda one: one.priority or 0)]
        assert order[:3] == ["reconcile", "urgent", "standard"]
        assert set(order[3:5]) == {"nightly", "weekly"}
        assert order[5:] == ["background", "default"]
        [night] = [queue for queue in queues if queue.name == "nightly"]
        assert night.concurrency_limit == 2, "that of standard, below which it comes"
        made = {each.name for each in client.read_deployments()}
        assert f"{home_id(nights)}-nightly" in made
        assert not {f"{home_id(nights)}-weekly", f"{home_id(home)}-nightly"} & made
        deployment = client.read_deployment_by_name(f"hpcretrain-retrain/{home_id(nights)}-nightly")
        assert deployment.work_queue_name == "nightly"
        with disable_run_logger():
            shown = deployment_of(client, nights, "retrain", "weekly")
        assert shown.name == f"{home_id(nights)}-background", (
            "a class that came since the last setup is shown all the same"
        )
        starting = [each.name for each in client.read_automations() if home_id(nights) in each.name]
        assert sum("nightly" in name for name in starting) == 2


def test_files_and_setup_are_two_doors_to_the_same(prefect_server: PrefectServer, home: Path) -> None:
    deploy = [sys.executable, "-m", "prefect", "deploy", "--all"]
    surrounded = {**surroundings(prefect_server), "HPCRETRAIN_HOME": str(home)}
    with get_client(sync_client=True) as client:
        before = everything(client)
        prefect("setup", "--home", home)
        for _ in range(2):
            subprocess.run(deploy, env=surrounded, cwd=SRC / "hpcretrain" / "flows", check=True, timeout=400)
            assert len(client.read_deployments()) == 13
        again = prefect("setup", "--home", home)
        assert again["made"] == again["mended"] == again["removed"] == []
        assert prefect("teardown", "--home", home)["left"] == []
        assert everything(client) == before

        prefect("setup", "--home", home)
        prefect("teardown", "--home", home)
        client.create_work_pool(WorkPoolCreate(name="hpcretrain", type="process"))
        refused = subprocess.run(
            deploy, env=surrounded, cwd=SRC / "hpcretrain" / "flows", capture_output=True, text=True, timeout=400
        )
        assert refused.returncode
        assert "nothing is set up for" in refused.stderr + refused.stdout
        assert client.read_deployments() == []


def test_who_starts_a_run_does_not_say_what_is_run(home: Path) -> None:
    prefect("setup", "--home", home)
    with get_client(sync_client=True) as client:
        observe = client.read_deployment_by_name(f"hpcretrain-observe/{home_id(home)}").id
        for variables in ({"command": "id"}, {"env": {"PATH": "/x"}}, {"env.PATH": "/x"}, {"working_dir": "/"}):
            with pytest.raises(PrefectHTTPStatusError, match="422"):
                client.create_flow_run_from_deployment(observe, job_variables=variables)
    prefect("teardown", "--home", home)

"""People are told of a home that lives, by processes as a user runs them; a route that fails stops nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from test_controller import run, told


def routed(governed_folder: Path, folder: Path, routes: str) -> Path:
    """A copy of the home, by whose configuration people are told by these routes."""
    shutil.copytree(governed_folder / "home", folder / "home")
    config = governed_folder / "config.toml"
    (folder / "config.toml").write_text(config.read_text() + routes)
    for name in ("table.csv", "policy.toml"):
        (folder / name).symlink_to(governed_folder / name)
    settings = json.loads((folder / "home" / "live.json").read_text())
    (folder / "home" / "live.json").write_text(json.dumps(settings | {"config": str(folder / "config.toml")}))
    return folder / "home"


def program(folder: Path) -> str:
    path = folder / "page"
    path.write_text('#!/bin/sh\ntold=$(cat)\nprintf "%s\\n" "$told" >> "$0.told"\n')
    path.chmod(0o755)
    return f'\n[[notify]]\nname = "pager"\nkind = "command"\ncommand = ["{path}"]\n'


def received(folder: Path) -> list[dict[str, Any]]:
    path = folder / "page.told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_an_approver_is_told_once_and_of_what_hangs_by_tiers(governed_folder: Path, tmp_path: Path) -> None:
    home = routed(governed_folder, tmp_path, program(tmp_path))
    answer = told("request", "--home", home, "--class", "urgent", "--reason", "ticket 4711")
    assert "awaits an approval" in answer["reason"]
    [ask] = told("approve", "--home", home)
    told("tick", "--home", home)
    found = received(tmp_path)
    [needed] = [each for each in found if each["event"] == "approval_needed"]
    assert needed["id"] == f"approval_needed:{ask['id']}"
    assert needed["next"].startswith(f"hpcretrain approve {ask['id']} --home {home}")
    assert "risk" in needed["text"]
    overruns = [each["tier"] for each in found if each["event"] == "overrun"]
    assert overruns == sorted(set(overruns))
    assert overruns[-1] == 2
    assert told("status", "--home", home)["undelivered"] == []


def test_a_proposed_policy_is_shown_wherever_approvers_look(governed_folder: Path, tmp_path: Path) -> None:
    home, other = routed(governed_folder, tmp_path, program(tmp_path)), tmp_path / "other.toml"
    other.write_text((governed_folder / "policy.toml").read_text().replace("expires_h = 24", "expires_h = 48"))
    subject = told("policy", "activate", other, "--home", home, "--reason", "longer")["subject"]
    listed: Any = told("approve", "--home", home)
    [ask] = [each for each in listed if each["id"] == subject]
    assert (ask["what"], ask["priority_class"]) == ("policy", None)
    shown = run("approve", "--home", home)
    assert f"{subject}  another policy for " in shown
    assert "approvals.expires_h 48.0 (before 24.0)  changed" in shown
    for verb in ("status", "tick"):
        assert subject in run(verb, "--home", home)
        assert ask in told(verb, "--home", home)["asks"]
    [notice] = [each for each in received(tmp_path) if each["event"] == "approval_needed"]
    assert notice["id"] == f"approval_needed:{subject}"


def test_a_route_that_fails_stops_nothing_and_is_shown(governed_folder: Path, tmp_path: Path) -> None:
    refusing = (
        '\n[[notify]]\nname = "chat"\nkind = "webhook"\nurl = "http://127.0.0.1:9/"\nevents = ["approval_needed"]\n'
    )
    home = routed(governed_folder, tmp_path, refusing + program(tmp_path))
    assert told("request", "--home", home, "--class", "urgent", "--reason", "r")["done"]
    [failing] = told("status", "--home", home)["undelivered"]
    assert (failing["route"], failing["tries"]) == ("chat", 1)
    assert "refused" in failing["reason"]
    assert "NOT TOLD: approval_needed:" in run("status", "--home", home)
    assert received(tmp_path), "the others are told"
    tested = told("notify", "--home", home, code=3)
    assert [(each["route"], each["problem"] is None) for each in tested] == [("chat", False), ("pager", True)]
    assert received(tmp_path)[-1]["event"] == "test"


def test_a_damaged_ledger_is_told_once(governed_folder: Path, tmp_path: Path) -> None:
    home = routed(governed_folder, tmp_path, program(tmp_path))
    ledger = max(home.glob("ledger.*"), key=lambda path: path.stat().st_size)
    ledger.write_bytes(b"no ledger" * 1_000)
    for _ in range(2):
        run("tick", "--home", home, code=3)
    [notice] = received(tmp_path)
    assert notice["event"] == "ledger_damaged"
    assert notice["next"].startswith(f"hpcretrain audit verify --home {home}")


def test_a_route_that_cannot_work_is_refused_with_all_that_is_wrong(governed_folder: Path, tmp_path: Path) -> None:
    wrong = """
[[notify]]
name = "a"
kind = "pigeon"

[[notify]]
name = "b"
kind = "webhook"
url = "ftp://x"
fly = 1
"""
    home = routed(governed_folder, tmp_path, wrong)
    said = run("tick", "--home", home, code=2)
    assert "notify.0" in said
    assert "pigeon" in said
    assert "notify.1.webhook.fly" in said
    assert "notify.1.webhook.url" in said

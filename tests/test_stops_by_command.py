"""Stops and roll-backs as a user gives them: by commands, to a controller and without one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tables import configure, orders, write_policy

COMMAND = [sys.executable, "-m", "hpcretrain"]


def told(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = subprocess.run([*COMMAND, *map(str, arguments), "--json"], capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_home_is_stopped_resumed_and_taken_back_by_commands(tmp_path: Path) -> None:
    config = configure(tmp_path, orders(rows=8_000, minutes=16), **write_policy(tmp_path, weight="0.000001"))
    place = ("--home", tmp_path / "home")
    told("live", config, "--from", "2024-03-22", *place)
    first = told("tick", *place)["serves"]
    why = ("--reason", "an incident")
    assert "no earlier release" in told("rollback", *why, *place, code=1)["reason"]
    controller = subprocess.Popen(
        [*COMMAND, "controller", "--home", str(tmp_path / "home")], stderr=subprocess.PIPE, text=True
    )
    try:
        assert controller.stderr is not None
        assert any("is at work" in line for line in controller.stderr)
        assert told("stop", *why, *place)["done"]
        [stopped] = told("status", *place)["stopped"]
        assert (stopped["scope"], stopped["reason"]) == ("model", "an incident")
        assert "stop" in told("request", "--class", "urgent", *why, *place)["reason"]
        waiting = told("backlog", *place)
        assert [each["scope"] for each in waiting["stops"]] == [""]
        assert [each["check"] for each in waiting["waiting"][0]["waits_for"]] == ["stop"]
        shown = subprocess.run([*COMMAND, "status", *map(str, place)], capture_output=True, text=True, timeout=300)
        assert f"STOPPED: model, by {stopped['by']} since {stopped['at']}: an incident" in shown.stdout
        assert ": run (" in told("resume", *why, *place)["reason"], "what waits is decided at once"
    finally:
        controller.send_signal(signal.SIGTERM)
        controller.wait(60)
        assert controller.stderr is not None
        controller.stderr.close()
    released = told("tick", *place)["serves"]
    assert released != first
    assert told("stop", "--now", *why, *place)["done"]
    back = told("rollback", *why, *place)
    status = told("tick", *place)
    assert status["serves"] == back["subject"] != released
    assert not told("backlog", *place)["running"]
    verified = subprocess.run([*COMMAND, "audit", "verify", *map(str, place)], capture_output=True, timeout=300)
    assert verified.returncode == 0

"""The state of a home as text: cells stay apart, and what has ended says how."""

from __future__ import annotations

from typing import Any

import pytest

from hpcretrain.records import Outcome, Stage
from hpcretrain.report.text import show_cycle

CYCLE: dict[str, Any] = {
    "id": "request-0123456789abcdef", "requested_at": "2024-03-01T00:00:00Z", "triggers": ["performance"],
    "class": "background", "score": 1000, "decision": "hold", "window": {"name": "decayed"}, "stage": None,
    "verdict": None, "released": False, "rolled_back": False, "closing": None,
}  # fmt: skip


@pytest.mark.parametrize("rolled_back", [False, True])
def test_what_came_of_a_cycle_does_not_run_into_its_triggers(rolled_back: bool) -> None:
    line = show_cycle({**CYCLE, "released": True, "rolled_back": rolled_back})
    assert ": decayed  " in line
    assert len(line) <= 100


@pytest.mark.parametrize("stage", [Stage.SELECTION, Stage.GATE])
@pytest.mark.parametrize("verdict", list(Outcome))
def test_no_verdict_runs_into_the_triggers(stage: Stage, verdict: Outcome) -> None:
    assert f": {verdict.value} " in show_cycle({**CYCLE, "stage": stage.value, "verdict": verdict.value})


@pytest.mark.parametrize("closing", ["canceled", "superseded"])
def test_a_request_that_was_ended_does_not_look_as_if_it_waited(closing: str) -> None:
    line = show_cycle({**CYCLE, "closing": closing})
    assert closing in line
    assert "hold" not in line

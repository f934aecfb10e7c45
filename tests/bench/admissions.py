"""Decisions on a backlog of 10,000 requests, with every rule of admission on."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta

from hpcretrain.backlog import Running, Waiting
from hpcretrain.evidence import Finding, Outcome
from hpcretrain.policy.admit import State, admit
from hpcretrain.policy.expect import Turn, starts
from hpcretrain.policy.types import Admission
from hpcretrain.priority import BUILT_IN

REQUESTS, RUNNING, TEAMS, REPEATS = 10_000, 80, 50, 7
NOW, HOUR = datetime(2026, 11, 2, 12, tzinfo=UTC), timedelta(hours=1)


def decide_10000_s() -> list[float]:
    """CPU seconds for what may begin, every finding, and when the rest is expected to."""
    rules, backlog, state = _rules(), _backlog(), _state()
    taken = []
    for _ in range(REPEATS):
        before = time.process_time()
        decided = admit(backlog, state, rules, NOW)
        turns = [
            Turn(each.request, {f.check: f.outcome for f in each.findings if f.outcome is not Outcome.PASS})
            for each in decided
        ]
        expected = starts(turns, state.running, rules, NOW, rules.next_month(NOW))
        taken.append(time.process_time() - before)
        assert sum(each.runs for each in decided) == rules.most_running - RUNNING
        assert sum(begins is not None for begins in expected) > REQUESTS / 2
    return taken


def _rules() -> Admission:
    why = {"reason": "a benchmark"}
    classes = {
        each.value: {"most_running": 60, "delay_hours": delay, "risk_points": 1, **why}
        for each, delay in zip(BUILT_IN, (0, 24, 72), strict=True)
    }
    budgets = {
        "hours": {"model": 100, "team": 10_000, "all": 1_000_000, **why},
        "risk": {"days": 30, "model": 10, "team": 1_000, "rollback_points": 2, **why},
    }
    return Admission.model_validate({"most_running": 100, "silent_hours": 24, **classes, **budgets})


def _backlog() -> list[Waiting]:
    chance, classes = random.Random(1), list(BUILT_IN)
    return [
        Waiting(
            request=f"request-{number}",
            model=f"model-{number}",
            team=f"team-{number % TEAMS}",
            priority_class=chance.choice(classes),
            asked_at=NOW - chance.uniform(0, 100) * HOUR,
            hours=chance.uniform(0.5, 6),
            cpu_hours=chance.uniform(1, 20),
            deadline=NOW + chance.uniform(1, 200) * HOUR if number % 3 == 0 else None,
            after=("upstream",) if number % 5 == 0 else (),
        )
        for number in range(REQUESTS)
    ]


def _state() -> State:
    classes = list(BUILT_IN)
    running = [
        Running(f"run-{n}", f"busy-{n}", f"team-{n % TEAMS}", classes[n % 3], NOW - HOUR, 5.0, NOW + (n + 1) * HOUR)
        for n in range(RUNNING)
    ]
    cluster = Finding(check="cluster", outcome=Outcome.PASS, reason="what trains answers")
    site = dict.fromkeys(classes, (cluster,))
    return State(running=running, site=site, refreshed={"upstream": NOW})

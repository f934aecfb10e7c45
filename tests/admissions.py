"""Rules of admission and requests, for tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hpcretrain.backlog import Running, Waiting
from hpcretrain.evidence import PriorityClass
from hpcretrain.policy.types import Admission

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DELAYS = {"urgent": 0.0, "standard": 24.0, "background": 72.0}


def rules(most_running: int = 10, **changes: Any) -> Admission:
    """Rules; a table that is named in `changes` is added to what its class has."""
    content: dict[str, Any] = {"most_running": most_running, "silent_hours": 24.0}
    for name, delay in DELAYS.items():
        content[name] = {"most_running": 10, "delay_hours": delay, "risk_points": 1, "reason": "a test"}
    for name, value in changes.items():
        content[name] = {**content[name], **value} if name in DELAYS else value
    return Admission.model_validate(content)


def waits(name: str, wanted: str = "standard", asked: float = 0.0, **more: Any) -> Waiting:
    """A request of a model of that name that was asked so many hours from `NOW`."""
    values: dict[str, Any] = {"team": None, "hours": 2.0, "cpu_hours": 3.0, **more}
    return Waiting(
        request=values.pop("request", f"request-{name}"), model=values.pop("model", name),
        priority_class=PriorityClass(wanted), asked_at=NOW + asked * HOUR, **values,
    )  # fmt: skip


def runs(name: str, wanted: str = "standard", ends: float | None = 1.0, **more: Any) -> Running:
    """A training of a model of that name that ends so many hours from `NOW`."""
    values: dict[str, Any] = {"team": None, "cpu_hours": 3.0, "since": NOW - HOUR, **more}
    return Running(
        request=f"request-{name}", model=name, priority_class=PriorityClass(wanted),
        ends=None if ends is None else NOW + ends * HOUR, **values,
    )  # fmt: skip

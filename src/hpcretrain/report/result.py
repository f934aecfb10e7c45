"""The result of a backtest as one JSON object; docs/reference/json.md describes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpcretrain.canonical import plain
from hpcretrain.cycle import Cycle
from hpcretrain.history import History
from hpcretrain.records import Action, ReleaseKind

Numbers = Mapping[str, float | None]


def result(
    history: History,
    *,
    model: str,
    task: str,
    primary: str,
    ledger_head: str,
    periods: Sequence[Mapping[str, Any]],
    cpu_s: Callable[[str], float],
    ungated_train_cpu_s: float,
    cluster: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The result of a backtest.

    Args:
        history: All records.
        model: Name of the model.
        task: "binary" or "regression".
        primary: The primary metric.
        ledger_head: Head of the chain of decisions.
        periods: Each with `start`, `end`, `rows` and the metrics of `served`, `frozen` and `ungated`.
        cpu_s: CPU seconds of a job's fits, by the job's identifier.
        ungated_train_cpu_s: CPU seconds of the fits of the ungated arm.
        cluster: What training on a cluster took; left out of the result where there was none.
    """
    cycles = [describe_cycle(cycle, cpu_s) for cycle in history.cycles]
    return {
        "model": model,
        "task": task,
        "primary_metric": primary,
        "ledger_head": ledger_head,
        "periods": [plain(period) for period in periods],
        "cycles": cycles,
        "summary": {
            **{arm: _mean([period[arm].get(primary) for period in periods]) for arm in ("served", "frozen", "ungated")},
            "retrains": sum(cycle.run is not None for cycle in history.cycles),
            "releases": sum(release.release_kind is ReleaseKind.PROMOTION for release in history.releases),
            "rollbacks": sum(release.release_kind is ReleaseKind.ROLLBACK for release in history.releases),
            "train_cpu_s": round(math.fsum(cycle["train_cpu_s"] for cycle in cycles), 3),
            "ungated_train_cpu_s": round(ungated_train_cpu_s, 3),
        },
        **({"cluster": cluster} if cluster else {}),
    }


def describe_cycle(cycle: Cycle, cpu_s: Callable[[str], float]) -> dict[str, Any]:
    """One cycle as the result shows it."""
    request = cycle.request
    chosen, judged = cycle.chosen, cycle.judged
    return {
        "id": request.id,
        "requested_at": plain(request.at),
        "triggers": list(request.triggers),
        "class": request.priority_class.value,
        "score": request.score,
        "contributions": dict(request.contributions),
        "decision": cycle.decisions[-1].action.value if cycle.decisions else Action.WAIT.value,
        "decided_at": plain(cycle.decisions[-1].at) if cycle.decisions else None,
        "window": plain(chosen.window) if chosen else None,
        "averaged": len(chosen.members) if chosen else 0,
        "stage": judged.stage.value if judged else None,
        "verdict": judged.outcome.value if judged else None,
        "released": cycle.release is not None,
        "rolled_back": cycle.rollback is not None,
        "closing": cycle.review.closing.value if cycle.review else None,
        "train_cpu_s": round(math.fsum(cpu_s(job.id) for job in cycle.jobs), 3),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None

"""What the page is made of, for tests: a small replay with its arms, and variations of it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from replays import desk

from hpcretrain import backtest
from hpcretrain.report.page import Source
from hpcretrain.report.result import result

HOSTILE = "<script>alert('x')</script>&\"<img src=//evil.example/x>"
LONG = "a_feature_whose_name_is_as_long_as_the_names_in_a_feature_store_are"

CPU_S = 1.5
"""What each training is said to have taken; trainings in this process are not measured."""


def source(config: Path, home: Path, *, compare: bool = True, **changes: Any) -> Source:
    """The source of the page about a replay; without `compare`, as if it had been cut short before the end."""
    with desk(config, home) as (at, clock, last):
        backtest.replay(at, clock, last, lambda *_: None)
        outcome, model, ungated = None, at.terms.config.model, ()
        if compare:
            arms = backtest.compare_arms(at, clock, last, lambda *_: None)
            ungated = (CPU_S,) * (len(arms.periods) - 1)
            outcome = result(
                at.history,
                model=model.name,
                task=model.task,
                primary=model.primary_metric,
                ledger_head=at.ledger.head(),
                periods=[dataclasses.asdict(period) for period in arms.periods],
                cpu_s=lambda job: CPU_S,
                ungated_train_cpu_s=sum(ungated),
            )
        made = Source(
            history=at.history,
            policy=at.terms.policy,
            primary_metric=model.primary_metric,
            timezone=at.terms.config.data.timezone,
            result=outcome,
            cpu_s=lambda job: CPU_S,
            ungated_cpu_s=ungated,
            ledger_head=at.ledger.head(),
            worked=(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC)),
            version="0.0.0",
        )
        return dataclasses.replace(made, **changes)

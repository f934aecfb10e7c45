"""Where nothing changes, nothing is retrained because of drift or decline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from replays import replay
from tables import REGRESSION, configure, demand, orders

from hpcretrain.adapters import nycflights
from hpcretrain.records import Family


@pytest.mark.parametrize("seed", range(6))
def test_a_table_without_drift_asks_for_nothing_but_more_rows(seed: int, tmp_path: Path) -> None:
    table = orders(rows=12_000, change_at=None, seed=seed)
    history = replay(configure(tmp_path, table), tmp_path / "home")
    assert len(history.slots) >= 10
    assert {trigger for cycle in history.cycles for trigger in cycle.request.triggers} <= {Family.FRESHNESS.value}


@pytest.mark.parametrize("seed", range(3))
def test_a_regression_table_without_drift_asks_for_nothing_but_more_rows(seed: int, tmp_path: Path) -> None:
    table = demand(rows=9_000, change_at=None, seed=seed)
    history = replay(configure(tmp_path, table, **REGRESSION), tmp_path / "home")
    assert len(history.slots) >= 10
    assert {trigger for cycle in history.cycles for trigger in cycle.request.triggers} <= {Family.FRESHNESS.value}


def test_a_request_because_of_more_rows_says_so(tmp_path: Path) -> None:
    history = replay(configure(tmp_path, orders(rows=16_000, minutes=10, change_at=None)), tmp_path / "home")
    requests = [cycle.request for cycle in history.cycles]
    assert requests
    assert all(request.priority_class.value == "background" for request in requests)
    assert "new labeled rows" in requests[0].reason
    assert "decline 0, below it" in requests[0].reason


def test_flights_with_shuffled_times_are_not_retrained_for_drift_or_decline(tmp_path: Path) -> None:
    config = nycflights.write(tmp_path)
    flights = pd.read_parquet(tmp_path / "flights.parquet").sample(frac=0.2, random_state=1)
    flights["time"] = flights["time"].sample(frac=1, random_state=2).to_numpy()
    flights.sort_values("time", kind="stable").to_parquet(tmp_path / "flights.parquet", index=False)
    history = replay(config, tmp_path / "home")
    assert len(history.slots) == 43
    assert {trigger for cycle in history.cycles for trigger in cycle.request.triggers} <= {Family.FRESHNESS.value}


def test_a_rare_class_is_not_mistaken_for_decline(tmp_path: Path) -> None:
    table = orders(rows=12_000, change_at=None)
    table["late"] = (np.random.default_rng(0).random(len(table)) < 0.004).astype("int64")
    history = replay(configure(tmp_path, table), tmp_path / "home")
    assert {trigger for cycle in history.cycles for trigger in cycle.request.triggers} <= {Family.FRESHNESS.value}

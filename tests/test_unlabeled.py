"""What a home makes of rows whose labels have not come, or never do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from replays import replay
from tables import configure, orders

from hpcretrain.evidence import Family
from hpcretrain.history import History
from hpcretrain.records import Signal


def named(history: History, name: str) -> list[Signal]:
    return [each for each in history.known.values() if isinstance(each, Signal) and each.name == name]


def test_rows_without_labels_are_estimated_and_raise_nothing_where_nothing_changes(tmp_path: Path) -> None:
    config = configure(
        tmp_path, orders(rows=6_000, minutes=15, change_at=None), data__label_delay='label_delay = "14d"'
    )
    found = named(replay(config, tmp_path / "home"), "estimated_auc")
    measured = [each for each in found if each.effect is not None]
    assert measured
    assert {each.family for each in found} == {Family.PERFORMANCE}
    assert {each.lower_bound for each in measured} == {0.0}


def test_where_all_labels_are_there_nothing_is_said_of_loops(tmp_path: Path) -> None:
    history = replay(configure(tmp_path, orders(rows=4_000, minutes=20, change_at=None)), tmp_path / "home")
    assert not named(history, "labels_by_prediction")


@pytest.mark.parametrize(("by_prediction", "loop"), [(True, True), (False, False)])
def test_labels_that_come_only_where_the_model_lets_them_are_told_from_labels_that_are_lost(
    tmp_path: Path, by_prediction: bool, loop: bool
) -> None:
    table = orders(rows=6_000, minutes=15, change_at=None)
    # The model learns that long times are late; from the reference's end on those get no label, or others at random.
    chosen = table["days"] >= 8 if by_prediction else np.random.default_rng(0).random(len(table)) < 0.2
    later = table["time"] >= "2024-02-01"
    table["late"] = table["late"].astype("float64").mask(chosen & later)
    history = replay(configure(tmp_path, table), tmp_path / "home")
    found = [each for each in named(history, "labels_by_prediction") if each.effect is not None]
    assert found
    assert {each.family for each in found} == {Family.BLIND}
    assert (max(each.lower_bound or 0 for each in found) > 0.5) is loop
    assert loop or max(each.lower_bound or 0 for each in found) == 0

"""What a home says of a model whose features come to mean something else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from replays import replay
from tables import REGRESSION, configure, demand, orders

from hpcretrain.evidence import Family
from hpcretrain.history import History
from hpcretrain.records import Signal

CHANGED = datetime(2024, 2, 16, 21, tzinfo=UTC)


@pytest.fixture(scope="module", params=["binary", "regression"])
def history(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("homes")
    binary = request.param == "binary"
    config = configure(folder, orders(rows=9_000)) if binary else configure(folder, demand(rows=6_750), **REGRESSION)
    return replay(config, folder / "home", datetime(2024, 3, 8, tzinfo=UTC))


def measured(history: History, name: str) -> list[Signal]:
    signals = (each for each in history.known.values() if isinstance(each, Signal) and each.name == name)
    return [each for each in signals if each.effect is not None]


def test_the_feature_whose_meaning_changed_is_named_once_a_batch_and_nothing_counts_before(history: History) -> None:
    found = measured(history, "relevance")
    assert {each.family for each in found} == {Family.PREDICTION_SHIFT}
    assert len({each.at for each in found}) == len(found)
    before, after = ([each for each in found if (each.at < CHANGED) is early] for early in (True, False))
    assert before
    assert max(each.lower_bound or 0 for each in before) < 0.005
    loudest = max(after, key=lambda each: each.lower_bound or 0)
    assert (loudest.lower_bound or 0) > 0.1
    assert f"what {'heat' if history.releases[0].model == 'demand' else 'amount'} tells" in loudest.finding.reason


def test_calibration_in_parts_of_the_range_is_compared_with_what_it_was_when_judged(history: History) -> None:
    found = measured(history, "miscalibration")
    assert {each.family for each in found} == {Family.CALIBRATION}
    judged = next(reading for reading in history.releases[0].readings if reading.metric == "miscalibration")
    assert (found[0].reference, found[0].lower_bound) == (judged.value, 0.0)
    assert max(each.lower_bound or 0 for each in found) > 0.1

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from records_for_tests import START, WEEK, signal

from hpcretrain.history import History
from hpcretrain.records import Family, Finding, Outcome, Signal, Slice
from hpcretrain.report.decline import worse_since
from hpcretrain.report.explain import status, status_text

SCALE, ERROR = 0.2, 0.1


def measured(week: int, effect: float, bound: float | None = None) -> Signal:
    """A performance signal of the rows of the week before `week`."""
    bound = max(effect - ERROR, 0.0) if bound is None else bound
    finding = Finding(check="auc", outcome=Outcome.PASS, reason="fine", observed=bound, limit=SCALE)
    about = signal(Family.PERFORMANCE, week, bound, "auc")
    return dataclasses.replace(about, effect=effect, finding=finding)


def history(effects: Sequence[float]) -> History:
    return History(signals=[measured(week, max(effect, 0.0)) for week, effect in enumerate(effects)])


def test_a_decline_is_dated_by_the_first_rows_that_show_it() -> None:
    assert worse_since(history([0, 0.05, 0, 0.3, 0.25, 0.3])) == START + 2 * WEEK
    assert worse_since(history([0.3, 0.3])) == START - WEEK


@pytest.mark.parametrize("effects", [[], [0], [0, 0.1, 0.05, 0.1, 0.1, 0.1, 0.1], [0, 0, 0.15]])
def test_as_much_as_half_of_the_scale_or_too_little_of_it_is_no_decline(effects: list[float]) -> None:
    assert worse_since(history(effects)) is None


def test_one_odd_batch_is_no_decline_and_two_are() -> None:
    assert worse_since(history([0, 0.9])) is None
    assert worse_since(history([0, 0.9, 0])) is None
    assert worse_since(history([0, 0.9, 0.2])) == START


def test_batches_that_are_not_worse_beyond_their_error_are_no_decline() -> None:
    assert worse_since(History(signals=[measured(week, 0.3, bound=0.0) for week in range(5)])) is None


def test_a_decline_that_was_made_up_for_is_over() -> None:
    assert worse_since(history([0, 0.3, 0.3, 0.3, 0, 0])) is not None
    assert worse_since(history([0, 0.3, 0.3, 0.3, 0, 0, 0, 0, 0])) is None


def test_batches_that_could_not_be_measured_and_other_families_say_nothing() -> None:
    signals = [signal(Family.PERFORMANCE, 0, None), signal(Family.INPUT_DRIFT, 0, 0.9), *history([0.3, 0.3]).signals]
    assert worse_since(History(signals=signals[:2])) is None
    assert worse_since(History(signals=signals)) == START - WEEK


def test_rows_that_were_measured_before_do_not_date_a_decline() -> None:
    signals = history([0, 0, 0.3, 0.3]).signals
    pooled = dataclasses.replace(signals[2], slot=Slice(START - 5 * WEEK, START + 2 * WEEK, 100, "d"))
    assert worse_since(History(signals=[*signals[:2], pooled, signals[3]])) == START + WEEK


def test_a_release_as_good_as_judged_is_hardly_ever_called_worse_and_a_lasting_decline_nearly_always() -> None:
    # Ten batches with an error of 0.06 each, and of 0.05 of what was measured when it was judged.
    rng = np.random.default_rng(4)

    def called(decline: float) -> float:
        noise = 0.06 * rng.normal(size=(300, 10)) - 0.05 * rng.normal(size=(300, 1))
        return float(np.mean([worse_since(history(row)) is not None for row in decline + noise]))

    assert called(0.0) < 0.04
    assert called(0.3) > 0.97


def test_status_says_since_when_the_release_is_worse() -> None:
    state = status(history([0, 0.3, 0.3]), "head", lambda _: 0.0)
    assert state["worse_since"] == "2024-01-01T00:00:00Z"
    serving = {**state, "champion": {"release_kind": "first", "at": "2024-01-01T00:00:00Z", "id": "release-1"}}
    line = "worse than when it was judged, on rows since 2024-01-01T00:00:00Z"
    assert line in status_text(serving, str).splitlines()
    assert line not in status_text({**serving, "worse_since": None}, str)

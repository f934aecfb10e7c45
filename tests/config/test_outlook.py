"""What the data gate is foreseen to stop."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pytest

from hpcretrain.config.load import shipped_policy
from hpcretrain.config.outlook import Calendar, Stops, foresee

GATE = shipped_policy().data_gate
DAY = 86_400 * 10**9
ROWS = 100
"""A day."""


def foreseen(kind: str, *shares: float, reference: int = 4, novel: float = 0.0) -> Stops | None:
    """What is stopped where days have these shares of odd cells; the first ones are the reference."""
    count = len(shares) * ROWS
    within = np.arange(count) % ROWS
    cells: npt.NDArray[np.bool_] = within < np.repeat(np.round(np.array(shares) * ROWS), ROWS)
    nothing = np.zeros(count, dtype=np.bool_)
    odd = {**dict.fromkeys(("missing", "category", "range", "type", "infinite"), nothing), kind: cells}
    begin = round(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 10**9
    # One row at the very end, so that the last day is over.
    stamps = begin + np.arange(count, dtype=np.int64) * (DAY // ROWS)
    stamps[-1] = begin + len(shares) * DAY
    known = stamps < begin + reference * DAY
    return foresee(odd, known & (within < novel * ROWS), Calendar(stamps, begin + reference * DAY, DAY), GATE)


@pytest.mark.parametrize("kind", ["missing", "category", "range", "type", "infinite"])
def test_an_outage_of_two_batches_is_foreseen_with_its_time(kind: str) -> None:
    stops = foreseen(kind, *[0] * 6, 0.5, 0.5, *[0] * 4)
    assert stops is not None
    assert (stops.stopped, stops.batches, stops.share) == (2, 8, pytest.approx(0.25, abs=0.001))
    assert (f"{stops.first:%m-%d}", f"{stops.last:%m-%d}") == ("01-07", "01-08")


def test_what_the_reference_shows_is_usual() -> None:
    assert foreseen("missing", 0, 0.5, 0, 0, *[0.5] * 4) is None


def test_gradual_change_passes_as_the_gate_learns() -> None:
    assert foreseen("missing", 0, 0, 0, 0, 0.05, 0.1, 0.15, 0.2, 0.25) is None


def test_categories_that_come_and_go_in_the_reference_are_usual() -> None:
    assert foreseen("category", 0, 0, 0, 0, 0.3, novel=0.3) is None
    assert foreseen("category", 0, 0, 0, 0, 0.3, novel=0.1) is not None


def test_text_among_numbers_needs_only_one_cell() -> None:
    stops = foreseen("type", 0, 0, 0, 0, 0.01, 0)
    assert stops is not None
    assert (stops.stopped, stops.rule) == (1, "")


def test_a_day_that_is_not_over_is_not_counted() -> None:
    stamps = np.arange(150, dtype=np.int64)
    none = np.zeros(150, dtype=np.bool_)
    odd = dict.fromkeys(("missing", "category", "range", "type", "infinite"), none) | {"missing": stamps >= 140}
    assert foresee(odd, none, Calendar(stamps, 100, 20), GATE) is None

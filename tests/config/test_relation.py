"""Columns that give the target away, and columns that only tell the time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.config.relation import follows, relation

N = 400
RANDOM = np.random.default_rng(5)
NOISE = RANDOM.integers(0, 50, N)
CLASSES = RANDOM.integers(0, 2, N).astype(float)
AMOUNTS = RANDOM.normal(size=N)


def codes(values: np.ndarray) -> np.ndarray:
    _, places = np.unique(values, return_inverse=True)
    return np.where(np.isnan(values.astype(float)), -1, places)


def shuffled(values: np.ndarray) -> np.ndarray:
    """The same values by other names, in no order."""
    return RANDOM.permutation(int(values.max()) + 1)[values]


LEAKS = {
    "a copy of 0 and 1": (codes(CLASSES), True, CLASSES, True),
    "1 for 0 and 0 for 1": (codes(1 - CLASSES), True, CLASSES, True),
    "a word for each class": (codes(CLASSES), False, CLASSES, True),
    "a number with a limit": (codes(CLASSES * 10 + NOISE / 100), True, CLASSES, True),
    "a code list of one class each": (shuffled(codes(CLASSES * 5 + RANDOM.integers(0, 5, N))), True, CLASSES, True),
    "there for one class only": (np.where(CLASSES == 1, NOISE, -1), True, CLASSES, True),
    "absent for one class only": (np.where(CLASSES == 0, NOISE, -1), False, CLASSES, True),
    "a copy of amounts": (codes(AMOUNTS), True, AMOUNTS, False),
    "amounts in another unit": (codes(-2.5 * AMOUNTS + 7), True, AMOUNTS, False),
    "a curve of amounts": (codes(np.exp(AMOUNTS)), True, AMOUNTS, False),
    "a code list of one amount each": (shuffled(NOISE), False, (NOISE // 5).astype(float), False),
    "a code for each amount": (shuffled(NOISE // 5), False, (NOISE // 5).astype(float), False),
}

HONEST = {
    "noise for classes": (NOISE, True, CLASSES, True),
    "noise for amounts": (NOISE, True, AMOUNTS, False),
    "a text in each row": (np.arange(N), False, CLASSES, True),
    "a strong number": (codes(CLASSES + AMOUNTS), True, CLASSES, True),
    "a rounded amount is no copy": (codes(np.round(AMOUNTS)), True, AMOUNTS, False),
    "missing at random": (np.where(NOISE < 10, -1, NOISE), True, CLASSES, True),
    "one value": (np.zeros(N, dtype=int), True, CLASSES, True),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_column_that_gives_the_target_away_is_found(name: str) -> None:
    column, ordered, labels, binary = LEAKS[name]
    assert relation(column, ordered=ordered, labels=labels, binary=binary).leak


@pytest.mark.parametrize("name", LEAKS)
def test_missing_labels_do_not_hide_a_leak(name: str) -> None:
    column, ordered, labels, binary = LEAKS[name]
    gaps = np.where(np.arange(N) % 7 == 0, np.nan, labels)
    assert relation(column, ordered=ordered, labels=gaps, binary=binary).leak


@pytest.mark.parametrize("name", HONEST)
def test_a_column_that_does_not_is_kept(name: str) -> None:
    column, ordered, labels, binary = HONEST[name]
    assert relation(column, ordered=ordered, labels=labels, binary=binary).leak is None


def test_few_rows_and_few_labels_of_a_class_say_nothing() -> None:
    assert relation(codes(CLASSES[:90]), ordered=True, labels=CLASSES[:90], binary=True).leak is None
    rare = np.zeros(N)
    rare[:9] = 1
    assert relation(codes(rare), ordered=True, labels=rare, binary=True).leak is None


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_chance_alone_is_never_a_leak(seed: int, ordered: bool) -> None:
    random = np.random.default_rng(seed)
    labels = (random.random(N) < random.uniform(0.05, 0.95)).astype(float)
    found = relation(random.integers(0, 60, N), ordered=ordered, labels=labels, binary=True)
    assert found.leak is None
    assert not found.nearly


@pytest.mark.parametrize(("noise", "nearly"), [(0.3, True), (1.0, False)])
def test_a_column_that_alone_nearly_tells_classes_is_suspicious_either_way_round(noise: float, nearly: bool) -> None:
    for sign in (1, -1):
        column = codes(sign * (CLASSES + noise * AMOUNTS))
        assert relation(column, ordered=True, labels=CLASSES, binary=True).nearly is nearly
    assert not relation(column, ordered=False, labels=CLASSES, binary=True).nearly


@pytest.mark.parametrize(("noise", "nearly"), [(0.1, True), (0.5, False)])
def test_a_column_that_alone_nearly_tells_amounts_is_suspicious(noise: float, nearly: bool) -> None:
    column = codes(AMOUNTS + noise * RANDOM.normal(size=N))
    assert relation(column, ordered=True, labels=AMOUNTS, binary=False).nearly is nearly


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (np.arange(N), True),
        (np.arange(N)[::-1], True),
        (np.arange(N) // 100, True),
        (np.where(np.arange(N) % 3 == 0, -1, np.arange(N)), True),
        (np.arange(N) ^ 1, True),
        (np.zeros(N, dtype=int), False),
        (NOISE, False),
        (np.arange(N) % 24, False),
        (codes(np.arange(N) + 30 * AMOUNTS), False),
    ],
    ids=[
        "row numbers",
        "countdown",
        "years",
        "with gaps",
        "nearly in order",
        "constant",
        "noise",
        "hours",
        "a trend",
    ],
)
def test_a_column_that_only_grows_or_falls_with_time_is_found_in_any_order_of_rows(
    column: np.ndarray, expected: bool
) -> None:
    stamps = np.arange(N, dtype=np.int64) * 10**9
    order = RANDOM.permutation(N)
    assert follows(column, stamps) is follows(column[order], stamps[order]) is expected

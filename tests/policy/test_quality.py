from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records_for_tests import POLICY

from hpcretrain.counts import BatchCounts, ColumnCounts
from hpcretrain.policy.quality import inspect, inspect_labels
from hpcretrain.records import Outcome

GATE = POLICY.data_gate
NUMBER = ColumnCounts(
    rows=1000, missing=10, infinite=0, wrong_type=0, unseen=0, bins=(0, 500, 490, 0), minimum=0.0, maximum=1.0,
    constant=False,
)  # fmt: skip
WORD = ColumnCounts(
    rows=1000,
    missing=0,
    infinite=0,
    wrong_type=0,
    unseen=0,
    bins=(900, 100),
    minimum=None,
    maximum=None,
    constant=False,
)
BATCH = BatchCounts(rows=1000, duplicates=0, columns={"x": NUMBER, "c": WORD}, digest="d")


def outcomes(batch: BatchCounts, *accepted: BatchCounts) -> dict[str, Outcome]:
    return {finding.check: finding.outcome for finding in inspect(batch, accepted or (BATCH, BATCH), GATE)}


def with_column(name: str, **changes: object) -> BatchCounts:
    columns = dict(BATCH.columns)
    columns[name] = replace(columns[name], **changes)  # type: ignore[arg-type]
    return replace(BATCH, columns=columns)


def test_a_batch_like_the_reference_passes_every_check() -> None:
    seen = outcomes(BATCH)
    assert set(seen) == {"volume", "duplicates", "missing", "type", "infinite", "range", "category", "constant"}
    assert set(seen.values()) == {Outcome.PASS}


@pytest.mark.parametrize(
    ("batch", "check"),
    [
        (with_column("x", missing=1000), "missing:x"),
        (with_column("c", missing=200), "missing:c"),
        (with_column("x", wrong_type=1), "type:x"),
        (with_column("x", infinite=1), "infinite:x"),
        (with_column("x", bins=(0, 400, 400, 200)), "range:x"),
        (with_column("x", bins=(200, 400, 400, 0)), "range:x"),
        (with_column("c", unseen=100), "category:c"),
        (with_column("x", constant=True), "constant:x"),
        (replace(BATCH, duplicates=500), "duplicates"),
        (replace(BATCH, rows=300, columns={}), "volume"),
        (replace(BATCH, rows=3001, columns={}), "volume"),
    ],
)
def test_each_kind_of_damage_fails_its_own_check_and_names_the_column(batch: BatchCounts, check: str) -> None:
    assert outcomes(batch)[check] is Outcome.FAIL


def test_an_empty_batch_is_blind_and_not_fine() -> None:
    assert outcomes(BatchCounts(0, 0, {}, "d")) == {"rows": Outcome.INSUFFICIENT}


def test_what_was_usual_before_is_no_damage_now() -> None:
    often_missing = with_column("x", missing=600)
    assert outcomes(with_column("x", missing=650), BATCH, often_missing)["missing"] is Outcome.PASS
    once_constant = with_column("x", constant=True)
    assert outcomes(once_constant, BATCH, once_constant)["constant"] is Outcome.PASS
    rain = with_column("x", bins=(0, 950, 40, 0))
    assert outcomes(with_column("x", constant=True), BATCH, rain)["constant"] is Outcome.PASS
    assert outcomes(replace(BATCH, rows=6000), BATCH, replace(BATCH, rows=2500))["volume"] is Outcome.PASS


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(deadline=None)
def test_more_missing_cells_never_look_better(one: int, other: int) -> None:
    few, many = sorted((one, other))
    passed = [all(o is Outcome.PASS for o in outcomes(with_column("x", missing=n)).values()) for n in (few, many)]
    assert passed[0] or not passed[1]


USUAL = np.asarray([0.0, 1.0, 0.0] * 100)


def check_labels(labels: list[float], usual: np.ndarray = USUAL) -> dict[str, Outcome]:
    findings = inspect_labels(np.asarray(labels, dtype=np.float64), usual, GATE)
    return {finding.check: finding.outcome for finding in findings}


def test_labels_of_both_classes_pass() -> None:
    assert set(check_labels([0.0, 1.0] * 20).values()) == {Outcome.PASS}


def test_labels_of_one_class_fail_unless_chance_would_do_it() -> None:
    assert check_labels([1.0] * 30)["label_constant"] is Outcome.FAIL
    assert check_labels([0.0] * 5)["label_constant"] is Outcome.PASS
    assert check_labels([0.0] * 100, np.asarray([0.0] * 999 + [1.0]))["label_constant"] is Outcome.PASS
    assert check_labels([2.5] * 5, np.linspace(0, 1, 50))["label_constant"] is Outcome.FAIL


def test_missing_labels_are_counted_and_no_labels_are_not_fine() -> None:
    assert check_labels([0.0, 1.0] * 10 + [float("nan")] * 5)["label_missing"] is Outcome.FAIL
    assert set(check_labels([float("nan")] * 5).values()) == {Outcome.FAIL}
    assert check_labels([])["label_rows"] is Outcome.INSUFFICIENT


def test_a_column_whose_categories_come_with_time_is_judged_by_that_habit() -> None:
    # Names of months: in the reference each batch had categories that the one before did not have.
    january, february = with_column("c", bins=(1000, 0)), with_column("c", bins=(100, 900))
    march = with_column("c", unseen=900, bins=(100, 0))
    assert outcomes(march, january, february)["category"] is Outcome.PASS
    # The same share of unknown cells in a column that had all its categories from the start.
    assert outcomes(march, BATCH, BATCH)["category:c"] is Outcome.FAIL
    # What had never been all new must not become so.
    assert outcomes(with_column("c", unseen=1000, bins=(0, 0)), january, february)["category:c"] is Outcome.FAIL

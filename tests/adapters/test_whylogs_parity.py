"""Profiles that are filled a column at a time are those that whylogs itself makes."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whylogs_schema import standard_schema, whylogs_fill

# isort: split
import whylogs as why
from whylogs.core import DatasetProfileView

AT = datetime(2024, 1, 1, tzinfo=UTC)
RANKS = [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0]
ROWS = 20_000
SQUARABLE = 1e150
"""Squares of larger numbers overflow; then moments are infinite or NaN by the order of cells."""


def ours(frame: pd.DataFrame) -> DatasetProfileView:
    return whylogs_fill.fill(frame, standard_schema(), AT)


def theirs(frame: pd.DataFrame) -> DatasetProfileView:
    with np.errstate(invalid="ignore", over="ignore"):
        return why.log(pandas=frame, schema=standard_schema(), dataset_timestamp=AT).view()


def numbers_of(cells: pd.Series) -> Any:
    """The numbers that a distribution holds, ascending; whylogs wraps integers around at 64 bits."""
    kept = cells.astype(np.int64) if cells.dtype.kind == "u" else cells.dropna()
    numeric = (int, float, np.number, np.bool_, Decimal)
    present = [cell for cell in kept if isinstance(cell, numeric) and not isinstance(cell, np.timedelta64)]
    return np.sort(np.array(present, dtype=np.float64))


def assert_same(frame: pd.DataFrame) -> None:
    """Our profile of a frame and whylogs' agree, column by column and metric by metric."""
    mine, peer = ours(frame), theirs(frame)
    assert list(mine.get_columns()) == list(peer.get_columns())
    assert mine.metadata.keys() == peer.metadata.keys()
    assert mine.dataset_timestamp == peer.dataset_timestamp
    for name, column in mine.get_columns().items():
        other = peer.get_column(name)
        assert column.get_metric_names() == other.get_metric_names()
        for namespace in column.get_metric_names():
            one, two = column.get_metric(namespace), other.get_metric(namespace)
            if namespace == "distribution":
                assert_same_distribution(one, two, numbers_of(frame[name]))
            elif namespace == "cardinality":
                assert one.hll.value.serialize_compact() == two.hll.value.serialize_compact()
            elif namespace == "frequent_items":
                assert_same_items(one, two)
            else:
                assert one.to_summary_dict() == two.to_summary_dict()


def assert_same_distribution(one: Any, two: Any, numbers: Any) -> None:
    assert one.n == two.n == len(numbers)
    assert one.kll.value.get_k() == two.kll.value.get_k()
    if not len(numbers):
        assert (one.avg, one.variance) == (two.avg, two.variance)
        return
    assert (one.min, one.max) == (two.min, two.max) == (numbers[0], numbers[-1])
    scale = np.abs(numbers).max()
    if scale < SQUARABLE:
        assert one.avg == pytest.approx(two.avg, rel=1e-9, abs=1e-9 * scale)
        assert one.variance == pytest.approx(two.variance, rel=1e-6, abs=1e-9 * scale**2)
    elif math.isinf(scale):
        assert not math.isfinite(one.avg)
    # The sketch's stated error holds for 99 in 100 sketches; the test runs many.
    error = 3 * one.kll.value.normalized_rank_error(False) + 1 / len(numbers)
    for rank, value in zip(RANKS, one.kll.value.get_quantiles(RANKS), strict=True):
        below, upto = (np.searchsorted(numbers, value, side) / len(numbers) for side in ("left", "right"))
        assert below - error <= rank <= upto + error


def assert_same_items(one: Any, two: Any) -> None:
    """Equal while whylogs' sketch counts exactly; else each contains the other's count within the bounds of both."""
    weights = [metric.frequent_strings.value.get_total_weight() for metric in (one, two)]
    assert weights[0] == weights[1]
    items = [{item.value: item for item in metric.strings} for metric in (one, two)]
    if all(item.lower == item.upper for item in items[1].values()) and len(items[1]) <= 768:
        assert items[0] == items[1]
    for value in items[0].keys() & items[1].keys():
        assert items[0][value].lower <= items[1][value].upper
        assert items[1][value].lower <= items[0][value].upper


def mixed_frame(rows: int, seed: int = 0) -> pd.DataFrame:
    """One column of each kind that a table may hold."""
    rng = np.random.default_rng(seed)
    holed = np.where(rng.random(rows) < 0.1, math.nan, rng.normal(size=rows))
    words = np.array(["red", "grün", "藍", None, math.nan], dtype=object)
    texty = holed.astype(object)
    texty[::7], texty[::11], texty[::13] = "n/a", None, True
    return pd.DataFrame(
        {
            "float": rng.normal(1e6, 3, rows),
            "holed": holed,
            "float32": rng.normal(size=rows).astype(np.float32),
            "wild": np.where(rng.random(rows) < 0.1, rng.choice([math.inf, -math.inf]), rng.standard_cauchy(rows)),
            "few": rng.integers(-3, 3, rows),
            "many": rng.integers(0, 10**15, rows),
            "small": rng.integers(0, 200, rows).astype(np.uint8),
            "bool": rng.random(rows) < 0.3,
            "word": pd.Series(words[rng.integers(0, len(words), rows)], dtype=object),
            "name": pd.Series([f"name {number}" for number in rng.integers(0, rows, rows)], dtype=object),
            "texty": pd.Series(texty, dtype=object),
            "time": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 10**6, rows), unit="s"),
            "zoned": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(rng.integers(0, 10**6, rows), unit="s"),
        }
    )


@pytest.mark.parametrize("rows", [0, 1, 2, 1000, ROWS])
def test_a_mixed_frame_has_the_profile_that_whylogs_makes(rows: int) -> None:
    assert_same(mixed_frame(rows))


COLUMNS = {
    "no cell": pd.Series([], dtype=np.float64),
    "no object": pd.Series([], dtype=object),
    "only None": pd.Series([None, None], dtype=object),
    "only NaN": pd.Series([math.nan, math.nan]),
    "NaN objects": pd.Series([math.nan, None], dtype=object),
    "missing in every way": pd.Series(["a", math.nan, None, pd.NA, pd.NaT, Decimal("NaN")], dtype=object),
    "one number": pd.Series([1.5]),
    "one infinite": pd.Series([math.inf]),
    "infinities": pd.Series([math.inf, -math.inf, math.nan, 1.0]),
    "constant": pd.Series([3.25] * 500),
    "constant text": pd.Series(["x"] * 500, dtype=object),
    "largest floats": pd.Series([1.7e308, -1.7e308, 5e-324, -0.0]),
    "largest ints": pd.Series([2**63 - 1, -(2**63), 0]),
    "unsigned past int64": pd.Series([2**63 + 5, 1], dtype=np.uint64),
    "integer objects": pd.Series([1, 2, -7, 2**53 + 1], dtype=object),
    "decimals": pd.Series([Decimal("1.5"), Decimal("NaN"), Decimal("Infinity"), None], dtype=object),
    "every type": pd.Series(
        [1, 2.5, "x", True, None, math.nan, False, np.int64(4), np.float32(0.5), np.bool_(True), pd.NA, pd.NaT],
        dtype=object,
    ),
    "bool objects": pd.Series([True, None, False, True], dtype=object),
    "long and empty text": pd.Series(["é" * 200, "é" * 150, "é" * 128, "", "\x00", "a\x00b"], dtype=object),
    "pandas text": pd.Series(["a", None, "b", "a"], dtype="str"),
    "nullable text": pd.Series(["a", None, "b", "a"], dtype="string"),
    "categories": pd.Series(["a", "b", "a"], dtype="category"),
    "nullable ints": pd.Series([1, None, 3], dtype="Int64"),
    "nullable bools": pd.Series([True, None, False], dtype="boolean"),
    "times": pd.Series(pd.to_datetime(["2024-01-01", None])),
    "durations": pd.Series(pd.to_timedelta([1, None], unit="s")),
    "numpy durations": pd.Series([np.timedelta64(1, "s"), 3], dtype=object),
    "dates among text": pd.Series([datetime(2024, 1, 1), None, "x"], dtype=object),
    "tensors": pd.Series([[1, 2], np.array([3.0]), ["a"], None], dtype=object),
    "bytes": pd.Series([b"a", b"b"], dtype=object),
    "anything": pd.Series([{"a": 1}, (1, 2), 1j, "a", 1], dtype=object),
}


@pytest.mark.parametrize("cells", COLUMNS.values(), ids=COLUMNS.keys())
def test_a_strange_column_has_the_profile_that_whylogs_makes(cells: pd.Series) -> None:
    assert_same(pd.DataFrame({"x": cells}))


@pytest.mark.parametrize(
    ("cells", "error"),
    [
        (pd.Series([2**70, 1], dtype=object), OverflowError),
        (pd.Series(["a", None], dtype="category"), ValueError),
    ],
    ids=["integers past 64 bits", "categories with gaps"],
)
def test_what_fails_in_whylogs_fails_in_the_same_way(cells: pd.Series, error: type[Exception]) -> None:
    for profile in (ours, theirs):
        with pytest.raises(error):
            profile(pd.DataFrame({"x": cells}))


text = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5)
cells = st.one_of(
    st.none(),
    st.just(pd.NA),
    st.floats(),
    st.integers(-(2**62), 2**62),
    st.booleans(),
    text,
    st.sampled_from(["red", "green", "blue"]),
)


@given(st.lists(cells, max_size=80))
@settings(deadline=None)
def test_any_column_of_objects_has_the_profile_that_whylogs_makes(column: list[Any]) -> None:
    assert_same(pd.DataFrame({"x": pd.Series(column, dtype=object)}))


@given(st.lists(st.floats(), max_size=80))
@settings(deadline=None)
def test_any_column_of_numbers_has_the_profile_that_whylogs_makes(column: list[float]) -> None:
    assert_same(pd.DataFrame({"x": pd.Series(column, dtype=np.float64)}))


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("distinct", [767, 768, 769, 3000])
def test_frequent_items_are_exact_up_to_what_the_sketch_holds_and_bounded_beyond(distinct: int, text: bool) -> None:
    rng = np.random.default_rng(distinct)
    cells = np.concatenate([np.arange(distinct), np.repeat([3, 5], 5000), rng.integers(0, distinct, 5000)])
    column = pd.Series([f"w{cell}" for cell in cells], dtype=object) if text else pd.Series(cells)
    frame = pd.DataFrame({"x": column})
    assert_same(frame)
    truth = column.astype(str).value_counts()
    metric = ours(frame).get_column("x").get_metric("frequent_items")
    items = {item.value: item for item in metric.strings}
    assert {"w3", "w5"} <= items.keys() if text else {"3", "5"} <= items.keys()
    assert all(item.lower <= truth[value] <= item.upper for value, item in items.items())
    if distinct <= 768:
        assert {value: item.est for value, item in items.items()} == truth.to_dict()


def test_a_profile_merges_with_one_of_whylogs_into_the_profile_of_all_rows() -> None:
    frame = mixed_frame(4000).drop(columns=["name", "many", "wild"])
    merged = ours(frame[:1500]).merge(theirs(frame[1500:]))
    whole = theirs(frame)
    for name, column in whole.get_columns().items():
        for namespace in ("counts", "types", "ints", "frequent_items"):
            metric = column.get_metric(namespace)
            if metric is None:
                continue
            expected, found = metric.to_summary_dict(), merged.get_column(name).get_metric(namespace).to_summary_dict()
            if namespace == "frequent_items":
                expected, found = (
                    {item.value: item.est for item in kind["frequent_strings"]} for kind in (expected, found)
                )
            assert found == expected
        if (distribution := column.get_metric("distribution")) is not None:
            other = merged.get_column(name).get_metric("distribution")
            assert other.n == distribution.n
            assert (other.avg, other.variance) == pytest.approx((distribution.avg, distribution.variance), rel=1e-6)


def test_plain_whylogs_reads_merges_views_and_writes_a_profile(tmp_path: Path) -> None:
    frame = mixed_frame(500)
    for name, rows in {"one": frame[:200], "two": frame[200:]}.items():
        (tmp_path / name).write_bytes(ours(rows).serialize())
    program = """
import sys
import whylogs as why
from whylogs.core import DatasetProfileView
one, two = (DatasetProfileView.read(f"{sys.argv[1]}/{name}") for name in ("one", "two"))
table = one.merge(two).to_pandas()
assert "hpcretrain" not in sys.modules
print(*table["counts/n"].unique(), table.loc["bool", "counts/true"])
one.merge(two).write(f"{sys.argv[1]}/three")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"HOME": str(tmp_path), "PYTHONPATH": ":".join(filter(None, sys.path)), "WHYLOGS_NO_ANALYTICS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, f"500 {frame['bool'].sum()}\n"), done.stderr
    assert DatasetProfileView.read(str(tmp_path / "three")).get_column("few").get_metric("counts").n.value == 500


def test_facts_of_the_schema_and_the_time_of_the_data_are_in_the_profile() -> None:
    later = AT + timedelta(days=3)
    profile = whylogs_fill.fill(pd.DataFrame({"x": [1.0]}), standard_schema(city="Ulm"), later)
    stored = DatasetProfileView.deserialize(profile.serialize())
    assert stored.metadata["city"] == "Ulm"
    assert stored.dataset_timestamp == later


def test_only_the_columns_that_a_schema_names_are_profiled_whether_or_not_they_are_there() -> None:
    schema = standard_schema()
    schema.resolve(pandas=pd.DataFrame({"x": [1.0], "gone": [1.0]}))
    profile = whylogs_fill.fill(pd.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]}), schema, AT)
    counts = {name: column.get_metric("counts").n.value for name, column in profile.get_columns().items()}
    assert counts == {"x": 2, "gone": 0}

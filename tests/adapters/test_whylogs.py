from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from list_ledger import ListLedger, ledger_with
from listed_table import MemoryTable

from hpcretrain.adapters.whylogs import WhylogsProfiles
from hpcretrain.adapters.whylogs_rules import KEPT_CATEGORIES, CategoryRule, Contract, NumberRule
from hpcretrain.counts import distribution
from hpcretrain.errors import LedgerError, LifeCycleError
from hpcretrain.ports import BatchCounts

START = datetime(2024, 1, 1, tzinfo=UTC)
SLACK = 0.5


def profiles_of(table: MemoryTable, folder: Path, ledger: ListLedger | None = None) -> WhylogsProfiles:
    return WhylogsProfiles(table, folder / "profiles", ledger or ListLedger(), "m", SLACK)


def count(folder: Path, reference: MemoryTable, batch: MemoryTable) -> BatchCounts:
    """Counts of a batch under the contract of a reference."""
    contract = profiles_of(reference, folder).freeze(reference.rows())
    return profiles_of(batch, folder, ledger_with(contract)).counts(batch.rows())


class Place:
    """A folder with a frozen contract, and rows to count; every count is by another life of the controller."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.table = folder, mixed_table(900, 1)
        self.contract = profiles_of(self.table, folder).freeze(self.table.rows(0, 300))
        self.ledger = ledger_with(self.contract)

    def counts(self, start: int = 300, end: int = 400) -> BatchCounts:
        return profiles_of(self.table, self.folder, self.ledger).counts(self.table.rows(start, end))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def stored_file(folder: Path) -> Path:
    (path,) = (folder / "profiles").glob("*.bin")
    return path


def view_of(path: Path) -> Any:
    from whylogs.core import DatasetProfileView

    return DatasetProfileView.read(str(path))


def mixed_table(rows: int, seed: int) -> MemoryTable:
    """Numbers, categories, gaps, infinities, text among numbers."""
    rng = np.random.default_rng(seed)
    holed = [None if rng.random() < 0.1 else float(rng.normal()) for _ in range(rows)]
    wild = rng.standard_t(1, rows)
    wild = np.where(rng.random(rows) < 0.3, rng.choice([math.inf, -math.inf, math.nan], rows), wild)
    texty: list[Any] = ["n/a" if rng.random() < 0.1 else float(rng.normal()) for _ in range(rows)]
    texty[0], texty[1], texty[2] = None, math.inf, "n/a"
    colors = [str(rng.choice(["red", "green", "blue"])) if rng.random() < 0.9 else None for _ in range(rows)]
    return MemoryTable(holed=holed, wild=wild.tolist(), texty=texty, color=colors)


def test_counts_of_numbers_equal_those_made_with_numpy(tmp_path: Path) -> None:
    reference, batch = mixed_table(400, 1), mixed_table(300, 2)
    counts = count(tmp_path, reference, batch)

    for name in ("holed", "wild", "texty"):
        cells = batch.data[name].to_list()
        numbers = np.array([cell for cell in cells if isinstance(cell, float) and not math.isnan(cell)])
        finite = numbers[np.isfinite(numbers)]
        known = np.array([c for c in reference.data[name] if isinstance(c, float) and math.isfinite(c)])
        slack = SLACK * (known.max() - known.min())
        low, high = known.min() - slack, known.max() + slack
        edges = np.quantile(known, np.arange(1, 10) / 10, method="inverted_cdf")
        inside = np.bincount([np.sum(edges <= x) for x in finite if low <= x <= high], minlength=10)
        expected = [int(np.sum(finite < low)), *inside.tolist(), int(np.sum(finite > high))]

        column = counts.columns[name]
        assert column.bins == tuple(expected)
        assert column.rows == counts.rows == 300
        assert column.missing == sum(cell is None or cell != cell for cell in cells)
        assert column.infinite == int(np.isinf(numbers).sum())
        assert column.wrong_type == sum(isinstance(cell, str) for cell in cells)
        assert (column.minimum, column.maximum) == (finite.min(), finite.max())
        assert not column.unseen
        assert not column.constant
        assert sum(column.bins) + column.missing + column.infinite + column.wrong_type == 300
    assert counts.columns["wild"].infinite > 0
    assert counts.columns["texty"].wrong_type > 1


def test_counts_of_categories_tell_kept_other_known_and_unseen_apart(tmp_path: Path) -> None:
    names = [f"k{number:03}" for number in range(60)]
    reference = MemoryTable(c=[name for place, name in enumerate(names) for _ in range(100 - place)])
    batch = MemoryTable(c=["k001", "k001", "k049", "k050", "k059", "new", "newer", None])
    column = count(tmp_path, reference, batch).columns["c"]

    bins = [0] * (KEPT_CATEGORIES + 1)
    bins[1], bins[49], bins[50] = 2, 1, 2
    assert column.bins == tuple(bins)
    assert (column.unseen, column.missing, column.wrong_type) == (2, 1, 0)
    assert (column.minimum, column.maximum) == (None, None)


@pytest.mark.parametrize("seed", [2, 3])
def test_each_cell_has_the_place_in_which_it_is_counted(tmp_path: Path, seed: int) -> None:
    many = [f"k{number % 60:02}" for number in range(400)]
    reference = MemoryTable(**{**mixed_table(400, 1).data, "nothing": [None] * 400, "cmany": many})
    odd: list[Any] = [1.0, None, math.inf, -1e308, *[0.0] * 296]
    table = mixed_table(300, seed)
    names: list[Any] = [None if place % 7 == 0 else f"k{place % 80:02}" for place in range(300)]
    batch = MemoryTable(**{**table.data, "nothing": odd, "cmany": names})
    contract = profiles_of(reference, tmp_path).freeze(reference.rows())
    profiles = profiles_of(batch, tmp_path, ledger_with(contract))
    counts, places = profiles.counts(batch.rows()), profiles.places(batch.rows())
    assert places.keys() == counts.columns.keys()
    for name, column in counts.columns.items():
        expected = distribution(column)
        assert np.bincount(places[name], minlength=len(expected)).tolist() == list(expected), name
    assert {name: len(place) for name, place in profiles.places(batch.rows(0, 0)).items()} == dict.fromkeys(places, 0)


def test_whylogs_own_counts_agree_and_strings_have_frequent_items(tmp_path: Path) -> None:
    batch = mixed_table(300, 2)
    counts = count(tmp_path, mixed_table(400, 1), batch)
    view = view_of(stored_file(tmp_path))

    for name, ours in counts.columns.items():
        column = view.get_column(name)
        own = column.get_metric("counts")
        assert (own.n.value, own.null.value, own.inf.value) == (ours.rows, ours.missing, ours.infinite)
        assert {"counts", "types", "distribution", "cardinality"} <= set(column.get_metric_names())
    assert view.get_column("texty").get_metric("types").string.value == counts.columns["texty"].wrong_type
    items = view.get_column("color").get_metric("frequent_items").strings
    expected = batch.data["color"].value_counts().to_dict()
    assert {item.value: item.est for item in items} == expected


@pytest.mark.parametrize("cells", [[3.0, 3.0], [0.0, -0.0], [math.inf, math.inf], ["x", "x"]])
def test_a_number_is_constant_if_all_rows_hold_one_value(tmp_path: Path, cells: list[Any]) -> None:
    assert count(tmp_path, MemoryTable(x=[1.0, 2.0]), MemoryTable(x=cells)).columns["x"].constant


@pytest.mark.parametrize(
    "cells",
    [[3.0], [3.0, 4.0], [3.0, None], [None, None], [math.inf, -math.inf], [3.0, math.inf], ["x", "y"], ["x", 3.0]],
)
def test_a_number_is_not_constant_with_one_row_two_values_or_gaps(tmp_path: Path, cells: list[Any]) -> None:
    assert not count(tmp_path, MemoryTable(x=[1.0, 2.0]), MemoryTable(x=cells)).columns["x"].constant


@pytest.mark.parametrize(
    ("cells", "constant"),
    [(["a", "a"], True), (["new", "new"], True), (["new", "newer"], False), (["a", "b"], False), (["a", None], False)],
)
def test_a_category_is_constant_if_all_rows_hold_one_value(tmp_path: Path, cells: list[Any], constant: bool) -> None:
    assert count(tmp_path, MemoryTable(c=["a", "b"]), MemoryTable(c=cells)).columns["c"].constant is constant


def test_a_row_is_a_duplicate_if_an_earlier_one_has_its_time_and_cells(tmp_path: Path) -> None:
    reference = MemoryTable(x=[1.0, 2.0])
    batch = MemoryTable(times=[0, 0, 0, 1, 1, 2], x=[1.0, 1.0, 1.0, 1.0, 2.0, 2.0])
    assert count(tmp_path, reference, batch).duplicates == 2


def test_an_empty_batch_counts_nothing_and_is_stored(tmp_path: Path) -> None:
    counts = count(tmp_path, MemoryTable(x=[1.0, 2.0], c=["a", "b"]), MemoryTable(x=[], c=[]))
    assert (counts.rows, counts.duplicates) == (0, 0)
    assert counts.columns["x"].bins == (0, 0, 0, 0)
    assert counts.columns["c"].bins == (0, 0, 0)
    assert counts.columns["x"].minimum is None
    assert not counts.columns["x"].constant
    assert stored_file(tmp_path).exists()


def test_the_same_batch_gives_other_sketches_and_the_same_digest(tmp_path: Path) -> None:
    reference, batch = mixed_table(400, 1), mixed_table(9000, 2)
    first, second = tmp_path / "first", tmp_path / "second"
    one, two = (count(folder, reference, batch) for folder in (first, second))
    assert one == two
    assert stored_file(first).name == stored_file(second).name
    views = [view_of(stored_file(folder)) for folder in (first, second)]
    sketches = [
        [view.get_column(name).get_metric("distribution").kll.value.serialize() for name in ("holed", "wild", "texty")]
        for view in views
    ]
    # Each sketch of so many rows comes out in one of some 500 ways.
    assert sketches[0] != sketches[1]
    assert one.digest != count(tmp_path / "third", reference, mixed_table(9000, 3)).digest


def test_a_stored_profile_is_noted_private_and_not_made_again(place: Place) -> None:
    counts = place.counts()
    path, framed = stored_file(place.folder), place.table.framed
    before = path.stat()
    (note,) = place.ledger.notes("profile_stored")
    assert (note["serves"], note["path"], note["rows"]) == (path.stem, path.name, 100)
    assert before.st_mode & 0o777 == 0o600

    assert place.counts() == counts
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert place.table.framed == framed
    assert len(place.ledger.noted) == 1


def test_a_profile_that_was_altered_is_refused(place: Place) -> None:
    place.counts()
    path = stored_file(place.folder)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=path.name):
        place.counts()


def test_a_profile_without_a_note_is_made_again(place: Place) -> None:
    counts = place.counts()
    stored_file(place.folder).write_bytes(b"half")
    place.ledger.noted.clear()
    assert place.counts() == counts
    assert len(place.ledger.notes("profile_stored")) == 1


def test_a_deleted_profile_is_made_again_with_the_same_counts(place: Place) -> None:
    counts = place.counts()
    stored_file(place.folder).unlink()
    assert place.counts() == counts
    assert place.counts() == counts


def test_batches_with_other_rows_or_another_contract_are_stored_apart(place: Place) -> None:
    place.counts(500, 600)
    place.counts(500, 650)
    contract = profiles_of(place.table, place.folder).freeze(place.table.rows(0, 200))
    assert contract != place.contract
    place.ledger = ledger_with(contract)
    place.counts(500, 600)
    assert len(list((place.folder / "profiles").glob("*.bin"))) == 3


def test_freezing_again_gives_the_same_digest_and_file(place: Place) -> None:
    (path,) = (place.folder / "profiles").iterdir()
    before = path.stat()
    assert profiles_of(place.table, place.folder).freeze(place.table.rows(0, 300)) == place.contract
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert before.st_mode & 0o777 == 0o600
    assert Contract.parse(path.read_text()).digest == place.contract


def test_a_contract_that_was_altered_or_lost_is_refused(place: Place) -> None:
    (path,) = (place.folder / "profiles").iterdir()
    path.write_text(path.read_text().replace('"range_slack":0.5', '"range_slack":7.5'))
    with pytest.raises(LedgerError, match="altered"):
        place.counts()
    with pytest.raises(LedgerError, match="altered"):
        profiles_of(place.table, place.folder).freeze(place.table.rows(0, 300))
    path.unlink()
    with pytest.raises(LedgerError, match="missing"):
        place.counts()


def test_nothing_is_counted_before_a_contract_is_frozen(tmp_path: Path) -> None:
    table = mixed_table(10, 1)
    with pytest.raises(LifeCycleError, match="m has no baseline"):
        profiles_of(table, tmp_path).counts(table.rows())


def test_merged_profiles_hold_the_counts_of_all_their_rows(place: Place) -> None:
    from hpcretrain.adapters import whylogs_bins

    views = []
    for start, end in ((300, 500), (500, 900), (300, 900)):
        known = set((place.folder / "profiles").glob("*.bin"))
        place.counts(start, end)
        (path,) = set((place.folder / "profiles").glob("*.bin")) - known
        views.append(view_of(path))
    merged = whylogs_bins.read(views[0].merge(views[1]).serialize())
    assert merged.columns == whylogs_bins.read(views[2].serialize()).columns
    assert merged.columns["holed"]["rows"] == 600


def test_profiles_under_different_contracts_do_not_merge(tmp_path: Path) -> None:
    views = []
    for name, reference in {"one": [1.0, 2.0], "two": [1.0, 3.0]}.items():
        count(tmp_path / name, MemoryTable(x=reference), MemoryTable(x=[1.0, 2.0]))
        views.append(view_of(stored_file(tmp_path / name)))
    with pytest.raises(ValueError, match="different frozen contracts"):
        views[0].merge(views[1])


def test_a_column_without_numbers_in_the_reference_has_no_plausible_range(tmp_path: Path) -> None:
    column = count(tmp_path, MemoryTable(x=[None, math.inf]), MemoryTable(x=[1.0, -1e308, None])).columns["x"]
    assert column.bins == (0, 0, 2)
    assert column.missing == 1


def test_cells_of_any_other_type_are_wrong_and_give_a_category_no_range(tmp_path: Path) -> None:
    reference = MemoryTable(x=[1.0, 2.0], c=["a", "b"])
    columns = count(tmp_path, reference, MemoryTable(x=[True, "n/a", 1.0], c=[True, 5.0, "a"])).columns
    assert (columns["x"].wrong_type, columns["x"].bins) == (2, (0, 1, 0, 0))
    assert (columns["c"].wrong_type, columns["c"].bins) == (2, (1, 0, 0))
    assert (columns["c"].minimum, columns["c"].maximum) == (None, None)


def test_the_plausible_range_of_a_constant_is_as_wide_as_its_size() -> None:
    rule = NumberRule.freeze(np.array([-10.0, -10.0]), SLACK)
    assert (rule.low, rule.inner, rule.high) == (-15.0, (), -5.0)
    assert NumberRule.freeze(np.array([0.0]), SLACK).high == SLACK


def bins_of(rule: NumberRule, values: list[float]) -> list[int]:
    tally = rule.tally(np.sort(np.array(values) + 0.0), {})
    return [count for name, count in tally.items() if name.startswith("bin:")]


def test_no_bin_is_empty_where_the_least_number_is_a_heap() -> None:
    values = [0.0] * 50 + [float(number) for number in range(1, 21)]
    assert bins_of(NumberRule.freeze(np.array(values), SLACK), values)[1] >= 50


def test_neighboring_floats_have_a_bin_each() -> None:
    values = [1.0, math.nextafter(1.0, 2.0), math.nextafter(math.nextafter(1.0, 2.0), 2.0)]
    assert bins_of(NumberRule.freeze(np.array(values), SLACK), values) == [0, 1, 1, 1, 0]


numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(numbers, min_size=1, max_size=60), st.sampled_from([0.0, 0.5, 3.0]))
@settings(deadline=None)
def test_every_number_of_the_reference_is_in_one_of_at_most_ten_plausible_bins(
    values: list[float], slack: float
) -> None:
    rule = NumberRule.freeze(np.array(values), slack)
    bins = bins_of(rule, values)
    assert bins[0] == bins[-1] == 0
    assert sum(bins) == len(values)
    assert len(bins) - 2 <= 10
    assert all(bins[1:-1])
    assert Contract.parse(Contract(slack, {"x": rule}).body).rules["x"] == rule


@given(st.lists(numbers, min_size=1, max_size=10, unique=True))
@settings(deadline=None)
def test_up_to_ten_distinct_numbers_have_a_bin_each(values: list[float]) -> None:
    assert bins_of(NumberRule.freeze(np.array(values), SLACK), values) == [0, *[1] * len(values), 0]


def test_categories_are_kept_by_frequency_then_name() -> None:
    assert CategoryRule.freeze(["b", "c", "a", "c"]).known == ("c", "a", "b")


def test_profiling_says_nothing_starts_nothing_and_leaves_the_root_logger_alone(tmp_path: Path) -> None:
    program = """
import sys, logging, threading, warnings
warnings.simplefilter("error", RuntimeWarning)
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import hpcretrain.adapters.whylogs as adapter
assert "whylogs" not in sys.modules, "importing the adapter imports whylogs"
import test_whylogs as t
t.count(Path(sys.argv[2]) / "a", t.mixed_table(50, 1), t.mixed_table(50, 2))
t.count(Path(sys.argv[2]) / "b", t.MemoryTable(x=[1.0]), t.MemoryTable(x=[]))
assert "whylogs" in sys.modules
assert not logging.getLogger().handlers and logging.getLogger().level == logging.WARNING
assert threading.active_count() == 1, threading.enumerate()
"""
    home = tmp_path / "home"
    home.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=home,
        env={"HOME": str(home), "PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(home.iterdir()) == []

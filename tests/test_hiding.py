"""What is dropped or masked is found nowhere in a home, and what is masked is of use still."""

from __future__ import annotations

import json
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from tables import configure, orders
from test_controller import run

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.hiding import KEY, Hiding, home_key
from hpcretrain.adapters.tablefile import load
from hpcretrain.config.load import load as load_terms
from hpcretrain.desks import open_table
from hpcretrain.errors import InputError

NAMES = ("Canary-Alice", "Canary-Bob", "Canary-Cleo", "Canary-Dan")
NUMBERS = (987_654_321_001, 987_654_321_002, 987_654_321_003)
HIDDEN = {"data__drop": 'drop = ["notes"]', "data__mask": 'mask = ["customer", "number"]'}


def sensitive(rows: int = 3_000) -> pd.DataFrame:
    random = np.random.default_rng(3)
    table = orders(rows=rows, minutes=40, change_at=None)
    table["customer"] = random.choice(NAMES, rows)
    table["number"] = random.choice(NUMBERS, rows)
    table["notes"] = [f"Canary note {row}" for row in range(rows)]
    # The masked name is worth knowing.
    table["late"] = np.where(random.random(rows) < 0.7, (table["customer"] == NAMES[0]).astype(int), table["late"])
    return table


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hidden")
    config = configure(folder, sensitive(), **HIDDEN)
    run("backtest", config, "--home", folder / "home")
    return folder / "home"


def test_nothing_that_is_hidden_is_in_any_file_of_a_finished_home(home: Path) -> None:
    key = home_key(home)
    known = Hiding(key=key).masked("customer", NAMES[0]).encode()
    looked, found = 0, 0
    binary = [struct.pack(form, number) for number in NUMBERS for form in ("<q", ">q", "<d", ">d")]
    for path in (each for each in home.rglob("*") if each.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = pq.read_table(path).to_pandas().to_csv().encode()
        for canary in (b"Canary", b"canary", b"987654321", b"987,654,321", b"9.87654321", *binary):
            assert canary not in content, (path, canary)
        looked += 1
        found += known in content
    assert looked > 20
    assert found > 2, "what is masked is there, under another name"


def test_the_key_is_the_owners_alone_and_a_home_without_it_is_refused(home: Path, tmp_path: Path) -> None:
    assert (home / KEY).stat().st_mode & 0o777 == 0o600
    copy = tmp_path / "home"
    shutil.copytree(home, copy)
    assert home_key(copy) == home_key(home)
    (copy / KEY).chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        home_key(copy)
    (copy / KEY).unlink()
    said = run("backtest", home.parent / "config.toml", "--home", copy, code=2)
    assert "without it masked columns mean something else" in said
    assert not os.path.lexists(copy / KEY)


def test_equal_cells_stay_equal_within_a_column_and_a_home_and_nowhere_else(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x", "y", None, "x"], "b": ["x", "x", "1.0", "1"], "n": [1.0, 2.0, np.nan, 1.0]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    hiding = Hiding(mask=frozenset({"a", "b", "n"}), key=b"k")
    sheets = [load(tmp_path / name, None, hiding) for name in ("t.csv", "t.parquet")]
    cells = [{name: sheet.columns[name].to_pylist() for name in "abn"} for sheet in sheets]
    first, second = cells
    assert first["a"] == second["a"] == [hiding.masked("a", "x"), hiding.masked("a", "y"), None, first["a"][0]]
    assert first["n"] == second["n"] == [hiding.masked("n", "1"), hiding.masked("n", "2"), None, first["n"][0]]
    assert first["a"][0] != first["b"][0], "columns tell nothing of each other"
    assert Hiding(mask=hiding.mask, key=b"l").masked("a", "x") != first["a"][0]


def test_an_error_quotes_no_cell_where_something_is_hidden(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\nCanary,2,3\n")
    with pytest.raises(InputError, match="Canary"):
        load(path, None)
    with pytest.raises(InputError, match=r"Expected 2 columns, got 3$") as raised:
        load(path, None, Hiding(drop=frozenset({"a"})))
    assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ({"data__mask": 'mask = ["custmer"]'}, 'data.mask: no file has a column "custmer"'),
        ({"data__drop": 'drop = ["late"]'}, 'data.drop: "late" is the target'),
        ({"data__mask": 'mask = ["time"]'}, 'data.mask: "time" is the time column'),
        ({"data__drop": 'drop = ["notes"]', "model__features": 'features = ["notes"]'}, '"notes" is in data.drop'),
        ({"data__drop": 'drop = ["notes"]', "data__mask": 'mask = ["notes"]'}, '"notes" is in data.drop too'),
    ],
)
def test_what_cannot_be_hidden_is_refused(tmp_path: Path, lines: dict[str, str], words: str) -> None:
    terms = load_terms(
        configure(tmp_path, sensitive(400), **{"backtest__reference_until": 'reference_until = "2024-01-08"', **lines})
    )
    with pytest.raises(InputError, match=words):
        open_table(terms, VirtualClock(terms.reference_until))


def test_a_configuration_that_hides_nothing_keeps_its_digest(tmp_path: Path) -> None:
    terms = load_terms(configure(tmp_path, sensitive(400)))
    assert not {"drop", "mask"} & set(json.loads(terms.config_text)["data"])

"""At virtual time t nothing is read that was not known at t: garbling what comes after changes no decision before."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from replays import bodies, replay
from tables import configure, orders

from hpcretrain.records import Release

TABLE = orders(rows=8_000, minutes=20)
DELAY = pd.Timedelta(days=1)
UNTIL = pd.Timestamp("2024-02-01", tz="UTC")
MOMENTS = np.random.default_rng(3).uniform(0, 1, 20)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[datetime, str]]:
    """Times and bytes of all records of a replay of the whole table."""
    folder = tmp_path_factory.mktemp("whole")
    history = replay(configure(folder, TABLE), folder / "home")
    assert sum(isinstance(record, Release) for record in history.known.values()) >= 2, (
        "the table should force a release"
    )
    return [(record.at, record.body) for record in history.known.values()]


def garbled(table: pd.DataFrame, moment: pd.Timestamp, seed: int) -> pd.DataFrame:
    """The table with all that is not known at a moment made nonsense: text in numbers, new categories, other rows."""
    random = np.random.default_rng(seed)
    known = table[table["time"] < moment].astype(object)
    unmatured = known["time"] + DELAY > moment
    known.loc[unmatured, "late"] = random.choice(["7", "maybe", "", "0"], int(unmatured.sum()))
    later = table[table["time"] >= moment].astype(object).sample(frac=0.7, replace=True, random_state=seed)
    later["amount"] = random.choice(["-1e300", "abc", "", "inf", "3"], len(later))
    later["days"] = "2024-13-45"
    later["noise"] = ""
    later["country"] = [f"new-{value}" for value in random.integers(0, 500, len(later))]
    later["late"] = random.choice(["1", "x", ""], len(later))
    later["extra"] = "column"
    return pd.concat([known, later.sort_values("time", kind="stable")])


@pytest.mark.parametrize("number", range(len(MOMENTS)))
def test_garbling_what_comes_after_a_moment_changes_no_decision_up_to_it(
    number: int, whole: list[tuple[datetime, str]], tmp_path: Path
) -> None:
    last = TABLE["time"].iloc[-1]
    moment = (UNTIL + (last - UNTIL) * MOMENTS[number]).floor("min")
    history = replay(configure(tmp_path, garbled(TABLE, moment, number)), tmp_path / "home", moment.to_pydatetime())
    expected = [body for at, body in whole if at <= moment]
    assert len(expected) > 5
    assert bodies(history, moment.to_pydatetime()) == expected


def test_a_parquet_table_whose_later_rows_change_its_types_decides_the_same(
    whole: list[tuple[datetime, str]], tmp_path: Path
) -> None:
    # Missing values later on turn whole numbers into floats in the file, for all of its rows.
    moment = UNTIL + timedelta(days=30)
    table = TABLE.copy()
    later = table["time"] >= moment
    table.loc[later, ["days", "late"]] = np.nan
    table["country"] = table["country"].where(~later, "zz").astype("category")
    path = configure(tmp_path, None, data__path='path = "table.parquet"')
    table.to_parquet(tmp_path / "table.parquet", index=False)
    history = replay(path, tmp_path / "home", moment.to_pydatetime())
    assert bodies(history, moment.to_pydatetime()) == [body for at, body in whole if at <= moment]

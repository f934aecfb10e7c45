"""`hpcretrain init` as a user runs it, and what a backtest says to the configurations that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import demand, orders

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.config.load import load, shipped_policy
from hpcretrain.config.template import shipped_policy_text
from hpcretrain.desks import open_table
from hpcretrain.errors import InputError
from hpcretrain.start import init
from hpcretrain.wiring import read_status

Change = Callable[[pd.DataFrame], pd.DataFrame]


def hpcretrain(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    paths = os.pathsep.join(str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return subprocess.run(
        [sys.executable, "-m", "hpcretrain", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )


def written(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "hpcretrain.toml").read_text(encoding="utf-8"))


def started(folder: Path, table: pd.DataFrame, target: str, name: str = "table.csv") -> dict[str, Any]:
    """What is written for a table, after checking that the table can be read by it."""
    path = folder / name
    table.to_csv(path, index=False) if name.endswith(".csv") else table.to_parquet(path, index=False)
    init(folder / "own", path, target)
    terms = load(folder / "own" / "hpcretrain.toml")
    open_table(terms, VirtualClock(terms.reference_until))
    return written(folder / "own")


def as_text(form: str) -> Change:
    return lambda table: table.assign(time=table["time"].dt.strftime(form))


TIMES: dict[str, tuple[Change, str, str | None]] = {
    "as pandas writes them": (lambda table: table, "UTC", None),
    "ISO 8601 without offset": (as_text("%Y-%m-%dT%H:%M"), "UTC", None),
    "day first": (as_text("%d.%m.%Y %H:%M"), "UTC", "%d.%m.%Y %H:%M"),
    "day first with slashes": (as_text("%d/%m/%Y %H:%M"), "UTC", "%d/%m/%Y %H:%M"),
    "month first with AM and PM": (as_text("%m/%d/%Y %I:%M %p"), "UTC", "%m/%d/%Y %I:%M %p"),
}


@pytest.mark.parametrize("name", TIMES)
def test_times_in_usual_forms_are_read(name: str, tmp_path: Path) -> None:
    change, zone, time_format = TIMES[name]
    data = started(tmp_path, change(orders(4_000, 40)), "late")["data"]
    assert data["time_column"] == "time"
    assert data["timezone"] == zone
    assert data.get("time_format") == time_format


def test_parquet_gives_its_zone_and_its_booleans(tmp_path: Path) -> None:
    table = orders(4_000, 40)
    table["time"] = table["time"].dt.tz_convert("America/New_York")
    table["late"], table["gift"] = table["late"].astype(bool), table["days"] > 5
    content = started(tmp_path, table, "late", "sales.parquet")
    assert content["model"]["name"] == "sales"
    assert content["model"]["task"] == "binary"
    assert "gift" in content["model"]["features"]
    assert content["data"]["timezone"] == "America/New_York"
    assert content["data"]["path"] == "../sales.parquet"


def test_booleans_in_csv_are_classes_and_categories(tmp_path: Path) -> None:
    table = orders(4_000, 40).assign(gift=lambda table: table["days"] > 5)
    table["late"] = table["late"] == 1
    content = started(tmp_path, table, "late")
    assert content["model"]["task"] == "binary"
    assert "gift" in content["model"]["features"]


def test_an_hourly_series_is_a_regression(tmp_path: Path) -> None:
    content = started(tmp_path, demand(6_000, 60), "value", "demand.csv")
    assert content["model"]["task"] == "regression"
    assert content["model"]["primary_metric"] == "rmse"
    assert content["model"]["features"] == ["hour", "heat"]
    assert content["backtest"]["observe_every"] == "14d"


def test_flights_lose_what_gives_the_target_away_and_what_identifies(tmp_path: Path) -> None:
    random, count = np.random.default_rng(3), 6_000
    delay = np.round(random.normal(5, 20, count))
    start = pd.Timestamp("2013-01-01T05:00", tz="America/New_York")
    time = start + pd.to_timedelta(np.sort(random.integers(0, 200 * 86_400, count)), unit="s")
    table = pd.DataFrame(
        {
            "year": 2013,
            "month": time.month,
            "dep_time": time.astype(str),
            "arr_time": (time + pd.to_timedelta(120 + delay, unit="min")).astype(str),
            "arr_delay": delay,
            "status": np.where(delay > 15, "late", "fine"),
            "carrier": random.choice(["AA", "UA", "B6"], count),
            "tailnum": [f"N{number}" for number in random.integers(0, 10**6, count)],
            "flight_id": random.permutation(count),
            "row": np.arange(count),
            "gate": None,
            "distance": random.integers(80, 3_000, count),
            "seats": random.choice(["150", "180", "unknown"], count, p=[0.6, 0.39, 0.01]),
            "new": np.where(np.arange(count) < 4_000, np.nan, random.normal(size=count)),
            "late": (delay > 15).astype(int),
        }
    )
    table.to_csv(tmp_path / "flights.csv", index=False)
    found = init(tmp_path / "own", tmp_path / "flights.csv", "late")
    assert written(tmp_path / "own")["model"]["features"] == ["carrier", "distance", "seats"]
    assert written(tmp_path / "own")["model"]["categorical"] == ["seats"]
    assert found["guesses"]["data.time_column"]["value"] == "dep_time"
    left_out = {out["column"]: out for out in found["left_out"]}
    assert {name for name, out in left_out.items() if out["leak"]} == {"arr_delay", "status"}
    assert set(left_out) == {
        *("year", "month", "arr_time", "arr_delay", "status", "tailnum", "flight_id", "row", "gate", "new"),
    }
    warnings = "\n".join(found["warnings"])
    assert '"arr_delay" was left out: it GIVES THE TARGET AWAY' in warnings
    assert '"arr_time"' in warnings
    text = (tmp_path / "own" / "hpcretrain.toml").read_text()
    assert "# LOOK: model.features:" in text
    assert '# left out: "tailnum": it looks like an identifier' in text


@pytest.mark.parametrize("event", ["an outage", "a new category"])
def test_a_column_with_an_event_is_kept_and_what_the_replay_will_stop_is_said(event: str, tmp_path: Path) -> None:
    table = orders(4_000, 40, change_at=None)
    later = (np.arange(4_000) >= 2_500) & (np.arange(4_000) < 3_200)
    if event == "an outage":
        table["amount"] = table["amount"].where(~later)
    else:
        table["country"] = table["country"].where(~later, "ES")
    table.to_csv(tmp_path / "table.csv", index=False)
    found = init(tmp_path / "own", tmp_path / "table.csv", "late")
    assert written(tmp_path / "own")["model"]["features"] == ["amount", "days", "noise", "country"]
    (warning,) = found["warnings"]
    done = hpcretrain("backtest", "own/hpcretrain.toml", "--home", "home", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    stopped = read_status(tmp_path / "home")["quarantined"]
    assert f"would stop {len(stopped)} of 11 batches, from {stopped[0][0][:10]} to {stopped[-1][0][:10]}" in warning


N = 1_500
RANDOM = np.random.default_rng(9)
CODES = RANDOM.integers(0, 5, N)
JUNK: dict[str, Any] = {
    "empty": [None] * N,
    "constant": ["x"] * N,
    "constant with gaps": [None, "x", "x"] * (N // 3),
    "late": [np.nan] * (N - 300) + list(RANDOM.normal(size=300)),
    "early": list(RANDOM.normal(size=300)) + [np.nan] * (N - 300),
    "text": RANDOM.choice(["a", "b"], N),
    "unique text": [f"{number:x}" for number in RANDOM.permutation(10**6)[:N]],
    "mixed": [str(code) if code else "?" for code in CODES],
    "mixed and many": [
        str(value) if code else "n/a?" for code, value in zip(CODES, RANDOM.normal(size=N), strict=True)
    ],
    "mostly text": [str(code) if not code else "word" for code in CODES],
    "text later only": ["1", "2"] * (N // 2 - 100) + ["x"] * 200,
    "infinite": [np.inf, 1.0, -2.0] * (N // 3),
    "infinite later only": list(RANDOM.normal(size=N - 3)) + [np.inf] * 3,
    "booleans": CODES > 2,
    "huge": CODES * 1e300,
    "integers beyond floats": (CODES + 2**60).astype("int64"),
    "epoch": 1_700_000_000 + np.arange(N),
    "times": pd.date_range("2020-01-01", periods=N, freq="D", tz="Asia/Kathmandu"),
    "dates with gaps": [None, "2024-01-01", "2024-02-01"] * (N // 3),
    "nearly times": ["2024-01-01"] * (N - 700) + ["soon"] * 700,
    "clock times": ["10:30", "11:45", "23:59"] * (N // 3),
    "spaces": [" a ", "b", " "] * (N // 3),
    "lines": ["a\nb", 'c"d', "e,f"] * (N // 3),
    "new words": [f"week {number // 50}" for number in range(N)],
    "comments # = [": CODES,
    "__index_level_0__": CODES,
    "": CODES,
}
TYPED: dict[str, Any] = {
    "lists": [[1], [2, 3], []] * (N // 3),
    "bytes": [b"a", b"b", b"c"] * (N // 3),
    "spans": pd.to_timedelta(CODES, unit="h"),
    "clocks": [pd.Timestamp("2024-01-01 10:30").time()] * N,
    "categories": pd.Categorical.from_codes(CODES, list("abcde")),
    "decimals": [Decimal(int(code)) / 4 for code in CODES],
    "days": [pd.Timestamp("2024-01-01").date()] * N,
}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_else_a_table_holds_a_backtest_takes_what_is_written(
    kind: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    columns = {**JUNK, **TYPED} if kind == "parquet" else JUNK
    names = data.draw(st.lists(st.sampled_from(list(columns)), unique=True, max_size=8))
    sane = {"time": pd.date_range("2024-01-01", periods=N, freq="h"), "x": RANDOM.normal(size=N), "y": CODES // 3}
    table = pd.DataFrame({**{name: columns[name] for name in names}, **sane})
    content = started(tmp_path_factory.mktemp("t"), table, "y", f"t.{kind}")
    assert content["data"]["time_column"] in ("time", "times")
    assert "x" in content["model"]["features"]


def test_what_is_written_runs_without_editing(tmp_path: Path) -> None:
    orders(2_000, 60, change_at=None).to_csv(tmp_path / "orders.csv", index=False)
    done = hpcretrain("init", "own", "--data", "orders.csv", "--target", "late", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 100
    command = done.stdout.splitlines()[-1].split()
    assert command == ["hpcretrain", "backtest", "own/hpcretrain.toml", "--home", "own/home"]
    replayed = hpcretrain(*command[1:], "--json", cwd=tmp_path)
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)["model"] == "orders"
    assert len(json.loads(replayed.stdout)["periods"]) >= 2


def test_the_json_says_all_that_was_guessed(tmp_path: Path) -> None:
    orders(4_000, 40).to_csv(tmp_path / "orders.csv", index=False)
    done = hpcretrain("init", "own", "--data", "orders.csv", "--target", "late", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert set(found) == {"config", "policy", "rows", "guesses", "left_out", "warnings", "next"}
    assert found["rows"] == 4_000
    content = written(tmp_path / "own")
    for key, guess in found["guesses"].items():
        section, name = key.split(".")
        assert content[section][name] == guess["value"]
        assert guess["why"]


def test_without_a_table_a_template_is_written(tmp_path: Path) -> None:
    done = hpcretrain("init", "own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fill in path, time_column, target" in done.stdout
    assert (tmp_path / "own" / "policy.toml").read_text() == shipped_policy_text()
    told = hpcretrain("backtest", "own/hpcretrain.toml", cwd=tmp_path)
    assert told.returncode == 2
    assert 'data.path: no file matches "table.csv"' in told.stderr
    orders(4_000, 40).rename(columns={"late": "target"}).to_csv(tmp_path / "own" / "table.csv", index=False)
    terms = load(tmp_path / "own" / "hpcretrain.toml")
    assert terms.policy == shipped_policy()
    open_table(terms, VirtualClock(terms.reference_until))


BAD: dict[str, tuple[Change, dict[str, Any], str]] = {
    "no such file": (lambda table: table, {"data": "none.csv"}, "there is no file"),
    "a folder for a file": (lambda table: table, {"data": "."}, "there is no file"),
    "a pattern": (lambda table: table, {"data": "*.csv"}, "name one file, and make data.path a pattern afterwards"),
    "no target": (lambda table: table, {"target": None}, "which column is to be predicted? "),
    "a target that is not there": (lambda table: table, {"target": "Late"}, 'did you mean "late"?'),
    "no rows": (lambda table: table[:0], {}, "has no rows"),
    "few rows": (lambda table: table[:500], {}, "500 rows; a backtest needs at least 1,000"),
    "no time": (lambda table: table.drop(columns="time"), {}, "no column can be the time"),
    "a time that is missing": (lambda table: table.assign(time=table["time"].where(table["days"] > 1)), {}, "missing"),
    "one class": (lambda table: table.assign(late=1), {}, "there is nothing to learn"),
    "classes in words": (lambda table: table.assign(late=np.where(table["late"], "y", "n")), {}, "written 0 and 1"),
    "one bad time": (
        lambda table: table.assign(time=table["time"].astype(str).where(table.index != 20, "soon")),
        {},
        'row 21: the time in "time" "soon"',
    ),
    "nothing to learn from": (lambda table: table[["time", "late"]], {}, "target and time; there is no other"),
    "one time": (lambda table: table.assign(time="2024-01-01"), {}, "too short to replay"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_guessed_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    change, asked, words = BAD[name]
    change(orders(4_000, 40)).to_csv(tmp_path / "table.csv", index=False)
    target = asked.get("target", "late")
    with pytest.raises(InputError) as caught:
        init(tmp_path / "own", tmp_path / asked.get("data", "table.csv"), target)
    assert words in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv"]


def test_a_target_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name the table with --data"):
        init(tmp_path / "own", None, "late")


@pytest.mark.parametrize("name", ["hpcretrain.toml", "policy.toml"])
def test_what_is_there_is_never_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    told = hpcretrain("init", ".", cwd=tmp_path)
    assert told.returncode == 2
    assert f"has {name} already" in told.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_file_that_appears_meanwhile_is_not_overwritten_and_the_other_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hpcretrain.start._require_free", lambda place: None)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "hpcretrain.toml").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        init(tmp_path / "own")
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["hpcretrain.toml"]
    assert (tmp_path / "own" / "hpcretrain.toml").read_text() == "mine"


def test_a_folder_that_is_a_file_or_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file; name a folder"):
        init(tmp_path / "file")
    with pytest.raises(InputError, match="cannot be written"):
        init(tmp_path / "file" / "own")
    # Not even root makes a folder there.
    with pytest.raises(InputError, match="cannot be written"):
        init("/proc/own")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_folders_are_made_and_taken_back_when_a_file_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    init(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / "hpcretrain.toml").is_file()
    # The second file's name is longer than a file system takes.
    monkeypatch.setattr("hpcretrain.start.CONFIG_FILE", "x" * 300)
    with pytest.raises(InputError, match="nothing was left there"):
        init(tmp_path / "c" / "d")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("table", "folder", "relative"),
    [
        ("own/orders.csv", "own", "orders.csv"),
        ("orders.csv", "own", "../orders.csv"),
        ("data/orders.csv", "own", "../data/orders.csv"),
        ("data [1]/or*ders.csv", "own [2]", "../data [[]1]/or[*]ders.csv"),
        ("orders.csv", "a/b/c", None),
    ],
)
def test_the_path_of_a_table_that_is_near_is_relative(
    table: str, folder: str, relative: str | None, tmp_path: Path
) -> None:
    path = tmp_path / table
    path.parent.mkdir(exist_ok=True)
    orders(4_000, 40).to_csv(path, index=False)
    init(tmp_path / folder, path, "late")
    assert written(tmp_path / folder)["data"]["path"] == (relative or str(path))
    assert [found.resolve() for found in load(tmp_path / folder / "hpcretrain.toml").paths] == [path]


def test_a_path_through_a_link_to_the_folder_leads_to_the_table(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    orders(4_000, 40).to_csv(tmp_path / "orders.csv", index=False)
    init(tmp_path / "link", tmp_path / "orders.csv", "late")
    assert [found.resolve() for found in load(tmp_path / "link" / "hpcretrain.toml").paths] == [tmp_path / "orders.csv"]


def test_a_column_of_any_name_can_be_predicted_and_learned_from(tmp_path: Path) -> None:
    names = {"late": 'la"te\\', "amount": "a,b\n[c]", "days": "Tage über = #", "country": "'x'"}
    content = started(tmp_path, orders(4_000, 40).rename(columns=names), names["late"])
    assert content["model"]["target"] == names["late"]
    assert content["model"]["features"] == [names["amount"], names["days"], "noise", names["country"]]

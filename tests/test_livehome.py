"""A home that lives, by command."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tables import configure, orders


def run(*arguments: object, code: int = 0) -> str:
    command = [sys.executable, "-m", "hpcretrain", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return configure(tmp_path_factory.mktemp("config"), orders(rows=4_000, minutes=32))


def tick(home: Path) -> dict[str, Any]:
    stand: dict[str, Any] = json.loads(run("tick", "--home", home, "--json"))
    return stand


def test_the_past_passes_as_if_live(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    # Two weeks and a bit after the reference; a week passes in a second.
    run("live", config, "--home", home, "--from", "2024-02-16", "--speed", 7 * 86_400)
    first = tick(home)
    assert first["model"] == "orders"
    assert first["serves"].startswith("release-")
    assert len(first["ticks"]) >= 2
    time.sleep(1.1)
    second = tick(home)
    assert second["ticks"]
    assert second["ticks"][0] == first["next"]
    assert "intact" in run("audit", "verify", "--home", home, "--json")
    assert first["serves"] in run("served", "--home", home)


def test_of_two_ticks_at_once_one_waits_for_the_other(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    run("live", config, "--home", home, "--from", "2024-03-20")
    command = [sys.executable, "-m", "hpcretrain", "tick", "--home", str(home), "--json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    stands = [json.loads(process.communicate(timeout=300)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(len(stand["ticks"]) > 0 for stand in stands) == [False, True], "what one did the other found done"
    assert len({stand["ledger_head"] for stand in stands}) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["tick"], "is no home that lives; `hpcretrain live CONFIG.toml` makes one"),
        (["live", "CONFIG", "--from", "soon"], '"soon" is no time'),
        (["live", "CONFIG", "--arrival", "late"], "--arrival: 'late' is no duration"),
        (["live", "CONFIG", "--speed", "5"], "--speed 5: give --from too"),
        (["live", "CONFIG", "--from", "2024-03-01", "--speed", "-1"], "--speed -1: give --from too, and a number"),
        (["live", "CONFIG", "--from", "2024-03-01", "--speed", "nan"], "--speed nan: give --from too, and a number"),
        (["live", "CONFIG", "--cluster", "none.toml"], "none.toml"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_made(
    config: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    home = tmp_path / "home"
    told = run(*[config if each == "CONFIG" else each for each in arguments], "--home", home, code=2)
    assert words in told
    assert not home.exists()


def test_a_home_lives_once(config: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    run("live", config, "--home", home)
    assert "lives already" in run("live", config, "--home", home, code=2)

"""Whatever happens to its lives, a job comes to the one model, and only the newest life's result counts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).parents[1]
MEMORY = Path("/dev/shm")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: on a disk most of the time would go into bringing files there."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def play(place: Path, first: int, last: int, recipe: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What came of an undisturbed job, and of those of the seeds."""
    command = [sys.executable, str(TESTS / "kills.py"), str(place), str(first), str(last), recipe]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    calm, *played = map(json.loads, done.stdout.splitlines())
    return calm, played


def require_one_model(calm: dict[str, Any], played: list[dict[str, Any]]) -> None:
    assert [game for game in played if game["problems"]] == []
    assert {game["result"]["model_digest"] for game in played} == {calm["result"]["model_digest"]}
    assert {game["result"]["segments"] for game in played} == {calm["result"]["segments"]}


@pytest.mark.parametrize("first", range(0, 200, 50))
def test_lives_killed_warned_stopped_and_overtaken_at_random_moments_make_the_same_model(
    place: Path, first: int
) -> None:
    calm, played = play(place, first, first + 50, "chain")
    assert len(played) == 50
    require_one_model(calm, played)
    acts = Counter(act for game in played for act in game["acts"])
    assert min(acts.values()) > 3
    assert len(acts) == 5
    assert sum(game["resumed"] for game in played) > 2


def test_lightgbm_makes_the_same_model_too(place: Path) -> None:
    require_one_model(*play(place, 0, 6, "lightgbm"))

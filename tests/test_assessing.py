"""`hpcretrain assess`, as a user runs it."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tables import write_policy


def assess(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpcretrain", "assess", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def line(day: int, family: str, bound: float | None, name: str = "auc", model: str = "m", n: int = 5000) -> str:
    effect = None if bound is None else bound + 0.01
    return json.dumps(
        {"model": model, "family": family, "name": name, "at": f"2026-03-{day:02}T12:00:00Z", "effect": effect,
         "lower_bound": bound, "n": n, "reference": None}
    )  # fmt: skip


@pytest.fixture
def signals(tmp_path: Path) -> Path:
    rows = [line(day, "performance", 0.2) for day in range(1, 7)]
    rows += [line(day, "input_drift", 0.05, f"x{number}") for day in range(1, 7) for number in range(20)]
    rows += [line(6, "performance", 0.0, model="quiet")]
    (tmp_path / "signals.jsonl").write_text("\n".join(rows) + "\n")
    return tmp_path / "signals.jsonl"


NOW = ("--now", "2026-03-06T18:00:00Z")


def told(run: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert run.returncode == 0, run.stderr
    return [json.loads(each) for each in run.stdout.splitlines()]


def test_each_model_is_scored_with_contributions_class_action_and_findings(signals: Path) -> None:
    first, second = told(assess(signals, *NOW, "--json"))
    assert (first["model"], second["model"]) == ("m", "quiet")
    assert sum(first["contributions"].values()) == first["score"] > 700
    assert (first["class"], first["action"]) == ("urgent", "retrain")
    assert (second["score"], second["action"], second["class"]) == (0, "nothing", "background")
    checks = {each["check"] for each in first["findings"]}
    assert {"performance", "input_drift", "action", "class"} <= checks
    assert "m: retrain" in assess(signals, *NOW).stdout


def test_the_order_of_lines_and_lines_that_come_twice_change_no_byte(signals: Path, tmp_path: Path) -> None:
    lines = signals.read_text().splitlines()
    mixed = lines + lines[:30]
    random.Random(1).shuffle(mixed)
    (tmp_path / "mixed.jsonl").write_text("\n".join(mixed))
    assert assess(tmp_path / "mixed.jsonl", *NOW, "--json").stdout == assess(signals, *NOW, "--json").stdout


def test_what_was_measured_before_the_release_is_left_out(signals: Path) -> None:
    first, _ = told(assess(signals, *NOW, "--json", "--released", "2026-03-06"))
    assert 0 < first["score"] < 300


def test_a_policy_of_ones_own_counts(signals: Path, tmp_path: Path) -> None:
    write_policy(tmp_path, slot_hours="1.0")
    first, _ = told(assess(signals, *NOW, "--json", "--policy", tmp_path / "policy.toml"))
    assert first["contributions"]["blind"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--now", "tomorrow"), '"tomorrow" is no time'),
        (("--released", "2027-01-01"), "is after --now"),
        (("--policy", "none.toml"), "none.toml: there is no such file"),
    ],
)
def test_what_cannot_be_used_is_refused_with_exit_code_2(signals: Path, arguments: tuple[str, ...], words: str) -> None:
    run = assess(signals, *NOW, *arguments)
    assert run.returncode == 2
    assert words in run.stderr
    assert run.stdout == ""


def test_a_line_that_cannot_be_read_is_refused_and_nothing_is_scored(signals: Path) -> None:
    with signals.open("a") as file:
        file.write('{"model": 1}\n')
    run = assess(signals, *NOW, "--json")
    assert run.returncode == 2
    assert f"{signals}: line 128: " in run.stderr
    assert run.stdout == ""

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


def run(*arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hpcretrain", *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def assess(*arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    return run("assess", *arguments, given=given)


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


def told(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(each) for each in done.stdout.splitlines()]


def finding(content: dict[str, Any], check: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in content["findings"] if each["check"] == check)
    return found


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


@pytest.mark.parametrize(("name", "action"), [("estimated_auc", "collect_labels"), ("auc", "retrain")])
def test_an_estimate_without_labels_asks_for_labels_and_takes_the_place_of_none(name: str, action: str) -> None:
    (only,) = told(
        assess("-", *NOW, "--json", given="\n".join(line(day, "performance", 0.5, name) for day in range(1, 7)))
    )
    assert only["action"] == action
    assert only["score"] > 300


def test_each_model_has_its_own_release_and_what_came_before_is_left_out_and_counted(signals: Path) -> None:
    first, second = told(
        assess(signals, *NOW, "--json", "--released", "m=2026-03-06", "--released", "quiet=2026-03-01")
    )
    assert 0 < first["score"] < 300
    assert finding(first, "before_release")["observed"] == 5 * 21
    assert "105 signals of before the release, 2026-03-06 00:00Z" in finding(first, "before_release")["reason"]
    assert finding(second, "before_release")["observed"] == 0


def test_a_bare_time_is_that_of_the_only_model(signals: Path) -> None:
    lines = "".join(each for each in signals.read_text().splitlines(keepends=True) if '"quiet"' not in each)
    (bare,) = told(assess("-", *NOW, "--json", "--released", "2026-03-06", given=lines))
    assert [bare] == told(assess("-", *NOW, "--json", "--released", "m=2026-03-06", given=lines))
    assert bare["score"] < 300


def test_a_release_after_all_signals_leaves_nothing_that_is_known(signals: Path) -> None:
    first, second = told(assess(signals, *NOW, "--json", "--released", "quiet=2026-03-06T13:00Z"))
    assert finding(second, "before_release")["outcome"] == "insufficient"
    assert all(each["check"] != "before_release" for each in first["findings"])


def test_hours_of_a_retraining_press_on_the_error_budget_and_a_deadline(signals: Path, tmp_path: Path) -> None:
    write_policy(tmp_path)
    policy = tmp_path / "policy.toml"
    business = "[score.business]\nerror_budget_hours = 1000.0\nmost_pressure = 3.0\nreason = 'agreed'\n"
    policy.write_text(f"{policy.read_text()}\n{business}")
    scores = []
    for hours in (0, 100, 10_000):
        first, _ = told(assess(signals, *NOW, "--json", "--policy", policy, "--retrain-hours", hours))
        scores.append(first["score"])
    assert scores[0] < scores[1] < scores[2]


def test_standard_input_is_read_as_a_file_is(signals: Path) -> None:
    lines = signals.read_text()
    assert assess("-", *NOW, "--json", given=lines).stdout == assess(signals, *NOW, "--json").stdout
    observed = run("observe", "-", "--from", "signals", "--json", given=lines)
    assert observed.stdout == run("observe", signals, "--json").stdout != ""
    refused = assess("-", *NOW, given="{}")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "standard input: line 1: model is missing" in refused.stderr


def test_what_is_no_stream_of_lines_is_not_read_from_standard_input() -> None:
    refused = run("observe", "-", "--from", "serving", "--map", "map.toml")
    assert refused.returncode == 2
    assert "--from serving reads files, not standard input" in refused.stderr


def test_a_policy_of_ones_own_counts(signals: Path, tmp_path: Path) -> None:
    write_policy(tmp_path, slot_hours="1.0")
    first, _ = told(assess(signals, *NOW, "--json", "--policy", tmp_path / "policy.toml"))
    assert first["contributions"]["blind"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--now", "tomorrow"), '"tomorrow" is no time'),
        (("--released", "m=2027-01-01"), "--released m=2027-01-01 is after --now"),
        (("--released", "2026-03-06"), "2 models have signals; say whose it is: MODEL=2026-03-06"),
        (("--released", "n=2026-03-06"), 'no signal is about "n"; they are about m, quiet'),
        (("--released", "m=2026-03-05", "--released", "m=2026-03-06"), "the release of m is given twice"),
        (("--released", "m=soon", "--released", "n=2026-03-06"), '"soon" is no time'),
        (("--retrain-hours", "nan"), "--retrain-hours nan: must be a number of hours, 0 or more"),
        (("--retrain-hours", "-1"), "--retrain-hours -1: must be a number of hours, 0 or more"),
        (("--policy", "none.toml"), "none.toml: there is no such file"),
    ],
)
def test_what_cannot_be_used_is_refused_with_exit_code_2(signals: Path, arguments: tuple[str, ...], words: str) -> None:
    refused = assess(signals, *NOW, *arguments)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert refused.stdout == ""


def test_a_line_that_cannot_be_read_is_refused_and_nothing_is_scored(signals: Path) -> None:
    with signals.open("a") as file:
        file.write('{"model": 1}\n')
    refused = assess(signals, *NOW, "--json")
    assert refused.returncode == 2
    assert f"{signals}: line 128: " in refused.stderr
    assert refused.stdout == ""

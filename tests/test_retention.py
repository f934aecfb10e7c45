"""What is kept no longer is removed, is not called damaged, and what serves is not touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from test_controller import run, told
from test_telling import routed

RULES = "\n[retention]\njob_folders_days = 0.000001\nmodels_days = 0.000001\n"


def files(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in (home / "spool" / "jobs").iterdir()}


def test_job_folders_go_once_a_day_and_by_hand_and_the_model_that_serves_stays(
    governed_folder: Path, tmp_path: Path
) -> None:
    home = routed(governed_folder, tmp_path, RULES)
    before = files(home)
    assert len(before) == 2
    planned: list[dict[str, Any]] = told("prune", "--home", home, "--dry-run")  # type: ignore[assignment]
    assert {each["payload"] for each in planned} == {"job_folder"}, "both models are the champion's"
    assert files(home) == before
    run("tick", "--home", home)
    assert not files(home), "the tick of a day removes them"
    assert told("prune", "--home", home) == []
    assert told("audit", "verify", "--home", home)["intact"]
    assert "removed by retention" in run("explain", planned[0]["id"], "--home", home)
    run("tick", "--home", home)


def test_a_model_that_was_removed_is_not_called_damaged_and_another_that_is_missing_is(
    governed_folder: Path, tmp_path: Path
) -> None:
    home = routed(governed_folder, tmp_path, RULES)
    from hpcretrain.adapters.ledger import FileLedger

    models = sorted((home / "models").iterdir())
    ledger = FileLedger(home / "ledger.jsonl")
    ledger.note("payload_removed", models[0].name, payload="model", days=30)
    ledger.close()
    models[0].rename(tmp_path / "gone")
    verified = told("audit", "verify", "--home", home)
    assert verified["intact"]
    assert "1 more was removed by retention" in json.dumps(verified)
    models[1].rename(tmp_path / "stolen")
    assert not told("audit", "verify", "--home", home, code=1)["intact"]


def test_a_home_that_keeps_everything_says_so(governed_folder: Path, tmp_path: Path) -> None:
    assert "keeps everything" in run("prune", "--home", routed(governed_folder, tmp_path, ""), code=2)


@pytest.mark.parametrize("days", ["0", "-1", "inf", "nan"])
def test_a_retention_that_is_no_time_is_refused(governed_folder: Path, tmp_path: Path, days: str) -> None:
    home = routed(governed_folder, tmp_path, f"\n[retention]\nmodels_days = {days}\n")
    assert "retention.models_days" in run("prune", "--home", home, code=2)

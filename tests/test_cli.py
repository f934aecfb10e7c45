"""The command line on small tables, as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from tables import REGRESSION, configure, demand, orders

ARMS = ("served", "frozen", "ungated")


def hpcretrain(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "hpcretrain", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict]:
    """A configuration, its home after a backtest, and what was printed with --json."""
    folder = tmp_path_factory.mktemp("finished")
    config = configure(folder, orders(rows=8_000, minutes=20))
    done = hpcretrain("backtest", config, "--home", folder / "home", "--json")
    assert done.returncode == 0, done.stderr
    return config, folder / "home", json.loads(done.stdout)


def test_the_result_has_every_documented_part(finished: tuple[Path, Path, dict]) -> None:
    result = finished[2]
    assert (result["model"], result["task"], result["primary_metric"]) == ("orders", "binary", "auc")
    assert len(result["ledger_head"]) == 64
    for period in result["periods"]:
        assert period["rows"] > 0
        assert all(set(period[arm]) == {"auc", "log_loss"} for arm in ARMS)
    assert result["periods"][0]["served"] == result["periods"][0]["frozen"] == result["periods"][0]["ungated"]
    for cycle in result["cycles"]:
        assert sum(cycle["contributions"].values()) == cycle["score"]
        assert cycle["decision"] in ("run", "wait", "hold", "drop")
        assert (cycle["window"] is not None) == (cycle["train_cpu_s"] > 0)
        assert not cycle["released"] or cycle["verdict"] == "pass"


def test_the_summary_adds_up(finished: tuple[Path, Path, dict]) -> None:
    result = finished[2]
    summary = result["summary"]
    for arm in ARMS:
        values = [period[arm]["auc"] for period in result["periods"]]
        assert summary[arm] == pytest.approx(sum(values) / len(values))
    assert summary["releases"] == sum(cycle["released"] for cycle in result["cycles"]) >= 1
    assert summary["rollbacks"] == sum(cycle["rolled_back"] for cycle in result["cycles"])
    assert summary["train_cpu_s"] == pytest.approx(sum(cycle["train_cpu_s"] for cycle in result["cycles"]), abs=0.01)
    assert summary["ungated_train_cpu_s"] > 0


def test_what_was_served_beats_the_frozen_model_when_the_world_changes(finished: tuple[Path, Path, dict]) -> None:
    summary = finished[2]["summary"]
    assert summary["served"] > summary["frozen"] + 0.05


def test_a_finished_home_gives_the_same_answer_again(finished: tuple[Path, Path, dict]) -> None:
    config, home, result = finished
    again = hpcretrain("backtest", config, "--home", home, "--json")
    assert json.loads(again.stdout) == result
    assert json.loads((home / "result.json").read_text()) == result


def test_without_json_there_is_progress_and_a_table_readable_in_100_columns(finished: tuple[Path, Path, dict]) -> None:
    config, home, result = finished
    shown = hpcretrain("backtest", config, "--home", home)
    compared = [line for line in shown.stderr.splitlines() if "comparing with ungated retraining" in line]
    assert compared
    assert any("retraining without gates" in line for line in shown.stderr.splitlines())
    assert not any("last request" in line for line in compared)
    assert result["ledger_head"] in shown.stdout
    assert all(cycle["id"][:16] in shown.stdout for cycle in result["cycles"])
    assert max(map(len, shown.stdout.splitlines())) <= 100


def test_status_and_explain_answer_from_the_home(finished: tuple[Path, Path, dict]) -> None:
    _, home, result = finished
    status = json.loads(hpcretrain("status", "--json", HPCRETRAIN_HOME=str(home)).stdout)
    assert status["ledger_head"] == result["ledger_head"]
    assert status["cycles"] == result["cycles"]
    assert "serves" in hpcretrain("status", "--home", home).stdout
    released = next(cycle for cycle in result["cycles"] if cycle["released"])
    whole = json.loads(hpcretrain("explain", released["id"], "--home", home, "--json").stdout)
    assert whole["record"]["score"] == released["score"]
    assert {"assessment", "signal"} <= {each["kind"] for each in whole["because"]}
    assert {"decision", "job", "candidate", "verdict", "release", "watch"} <= {each["kind"] for each in whole["then"]}
    words = hpcretrain("explain", released["id"][:16], "--home", home).stdout
    assert "because of" in words
    assert "and then" in words


def test_audit_passes_and_finds_a_change(finished: tuple[Path, Path, dict], tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(finished[1], copy)
    whole = hpcretrain("audit", "verify", "--home", copy)
    assert whole.returncode == 0
    assert "pass   models" in whole.stdout
    champion = json.loads(hpcretrain("status", "--home", copy, "--json").stdout)["champion"]["model_digest"]
    model = next((copy / "models" / champion).rglob("model.txt"))
    kept = model.read_text()
    model.write_text(kept.replace("0.", "1.", 1))
    seen = hpcretrain("audit", "verify", "--home", copy)
    assert seen.returncode == 1
    assert "the files were altered" in seen.stdout
    model.write_text(kept)
    ledger = copy / "ledger.jsonl"
    lines = ledger.read_text().splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if '"chain":"decisions"' in line and '"seq":20}' in line)
    lines[number] = lines[number].replace('"outcome":"pass"', '"outcome":"fail"', 1)
    ledger.write_text("".join(lines))
    seen = hpcretrain("audit", "verify", "--home", copy, "--json")
    assert seen.returncode == 1
    assert not json.loads(seen.stdout)["intact"]
    assert "row 20 of decisions" in seen.stdout


def test_a_candidate_is_a_run_a_version_and_the_champion_an_alias(finished: tuple[Path, Path, dict]) -> None:
    from mlflow import MlflowClient

    _, home, _ = finished
    status = json.loads(hpcretrain("status", "--home", home, "--json").stdout)
    client = MlflowClient(f"sqlite:///{home}/mlflow/mlflow.db")
    champion = client.get_model_version_by_alias("orders", "champion")
    assert champion.tags["hpcretrain.id"] == status["champion"]["candidate"]
    assert client.get_model_version_by_alias("orders", "challenger")
    run = client.get_run(champion.run_id)
    assert run.data.tags["hpcretrain.model_digest"] == status["champion"]["model_digest"]
    assert run.data.metrics["train_cpu_s"] > 0


def test_served_answers_for_every_time_and_agrees_with_mlflow(finished: tuple[Path, Path, dict]) -> None:
    from mlflow import MlflowClient

    _, home, _ = finished
    whole = json.loads(hpcretrain("served", "--home", home, "--json").stdout)
    client = MlflowClient(f"sqlite:///{home}/mlflow/mlflow.db")
    assert len(whole["served"]) >= 2
    for stint in whole["served"]:
        at = json.loads(hpcretrain("served", "--at", stint["from"], "--home", home, "--json").stdout)
        assert at.items() >= stint.items()
        version = client.get_model_version("orders", stint["version"])
        assert (version.run_id, version.tags["hpcretrain.digest"]) == (stint["run"], stint["model_digest"])
        assert stint["from"] in version.tags["hpcretrain.champion"]
    assert [move["at"] for move in whole["aliases"] if move["alias"] == "champion"] == [
        stint["from"] for stint in whole["served"]
    ]
    promoted = hpcretrain("served", "--at", "2024-12-31", "--home", home).stdout
    assert whole["served"][-1]["release"] in promoted
    assert "asked by" in promoted


def test_served_says_no_before_the_first_release_and_refuses_what_is_no_time(
    finished: tuple[Path, Path, dict],
) -> None:
    told = hpcretrain("served", "--at", "2024-01-31T23:59:59", "--home", finished[1])
    assert told.returncode == 1
    assert "nothing served at 2024-01-31 23:59 UTC" in told.stdout
    told = hpcretrain("served", "--at", "soon", "--home", finished[1])
    assert told.returncode == 2
    assert '"soon" is no time' in told.stderr


def test_judged_candidates_have_intervals_and_a_picture_and_cycles_an_outcome(
    finished: tuple[Path, Path, dict],
) -> None:
    from mlflow import MlflowClient

    _, home, result = finished
    client = MlflowClient(f"sqlite:///{home}/mlflow/mlflow.db")
    cycles = {
        run.data.tags["hpcretrain.id"]: run for run in client.search_runs(["1"], "tags.`hpcretrain.kind` = 'cycle'")
    }
    judged = [cycle for cycle in result["cycles"] if cycle["verdict"]]
    assert judged
    for cycle in judged:
        run = cycles[cycle["id"]]
        numbers, tags = run.data.metrics, run.data.tags
        assert numbers["auc_lower"] < numbers["auc"] < numbers["auc_upper"]
        assert numbers["auc_gain_lower"] <= numbers["auc_gain"] <= numbers["auc_gain_upper"]
        assert (tags["hpcretrain.outcome"] == "rejected") == (not cycle["released"])
        assert tags["mlflow.note.content"]
        assert client.list_artifacts(run.info.run_id, "plots")


def test_a_regression_with_a_recipe_of_ones_own_from_many_files(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import json\n"
        "import numpy as np\n"
        "class Mean:\n"
        "    passes = 1\n"
        "    def __init__(self, shift=0.0):\n"
        "        self.shift = shift\n"
        "    def train(self, data, *, seed, threads, resume):\n"
        "        x = np.c_[np.ones(len(data.target)), data.features.to_numpy(float)]\n"
        "        yield np.linalg.lstsq(x, data.target, rcond=None)[0].tolist()\n"
        "    def save(self, model, folder):\n"
        "        (folder / 'mean.json').write_text(json.dumps(model))\n"
        "    def load(self, folder):\n"
        "        return json.loads((folder / 'mean.json').read_text())\n"
        "    def predict(self, model, features):\n"
        "        return np.c_[np.ones(len(features)), features.to_numpy(float)] @ np.asarray(model) + self.shift\n"
    )
    table = demand()
    config = configure(
        tmp_path,
        None,
        **REGRESSION,
        model__recipe='recipe = "own:Mean"',
        model__params="params = { shift = 0.5 }",
        data__path='path = "part-*.parquet"',
    )
    for number, part in enumerate((table.iloc[:4000], table.iloc[4000:])):
        part.to_parquet(tmp_path / f"part-{number}.parquet", index=False)
    done = hpcretrain("backtest", config, "--home", tmp_path / "home", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["primary_metric"] == "rmse"
    assert result["summary"]["releases"] >= 1
    assert result["summary"]["served"] < result["summary"]["frozen"]


def edited(change: Callable[[pd.DataFrame], pd.DataFrame]) -> pd.DataFrame:
    return change(orders(rows=4_000, minutes=20).astype(object))


def with_cell(column: str, value: object, row: int = 100) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return change


def same(table: pd.DataFrame) -> pd.DataFrame:
    return table


BAD: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], dict[str, str], str]] = {
    "missing file": (same, {"data__path": 'path = "none.csv"'}, "no file matches"),
    "missing column": (same, {"model__features": 'features = ["amount", "size_"]'}, "size_"),
    "missing target": (same, {"model__target": 'target = "lateness"'}, "lateness"),
    "unknown key": (same, {"model__traget": 'traget = "late"'}, "model.traget: unknown key"),
    "no rows before the reference": (
        same,
        {"backtest__reference_until": 'reference_until = "2023-01-01"'},
        "reference",
    ),
    "unparsable time": (with_cell("time", "yesterday"), {}, "yesterday"),
    "text in a number of the reference": (with_cell("amount", "twelve"), {}, "twelve"),
    "infinite in the reference": (with_cell("amount", "inf"), {}, "infinite"),
    "a task that does not fit": (same, {"model__target": 'target = "amount"'}, "amount"),
    "a regression of two values": (same, {"model__task": 'task = "regression"'}, "late"),
    "a metric that does not fit": (same, {"model__primary_metric": 'primary_metric = "rmse"'}, "does not fit task"),
    "an unknown recipe": (same, {"model__recipe": 'recipe = "nowhere:nothing"'}, "nowhere"),
    "a bad parameter": (same, {"model__params": "params = { num_leafs = 3 }"}, "num_leafs"),
    "too small a reference": (same, {"backtest__reference_until": 'reference_until = "2024-01-03"'}, "set it later"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told_with_exit_code_2_and_leaves_no_home(name: str, tmp_path: Path) -> None:
    change, keys, words = BAD[name]
    config = configure(tmp_path, edited(change), **keys)
    told = hpcretrain("backtest", config, "--home", tmp_path / "home", "--json")
    assert told.returncode == 2, told.stderr
    assert words in told.stderr
    assert "Traceback" not in told.stderr
    assert told.stdout == ""
    assert not (tmp_path / "home").exists()


def test_a_home_of_another_configuration_is_refused_and_left_as_it_was(
    finished: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    _, home, _ = finished
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    other = configure(tmp_path, orders(rows=4_000, minutes=20), model__seed="seed = 2")
    told = hpcretrain("backtest", other, "--home", home)
    assert told.returncode == 2
    assert "belongs to another configuration and data" in told.stderr
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize("command", [["status"], ["explain", "x"], ["served"], ["audit", "verify"], ["report"]])
def test_without_a_home_there_is_a_clear_answer(command: list[str], tmp_path: Path) -> None:
    told = hpcretrain(*command, "--home", tmp_path / "none")
    assert told.returncode == 2
    assert "is no home" in told.stderr


def test_an_unknown_identifier_is_told(finished: tuple[Path, Path, dict]) -> None:
    told = hpcretrain("explain", "request-zzz", "--home", finished[1])
    assert told.returncode == 2
    assert "no record request-zzz" in told.stderr


def test_backtest_leaves_a_page_in_the_home_and_says_where(finished: tuple[Path, Path, dict]) -> None:
    config, home, result = finished
    shown = hpcretrain("backtest", config, "--home", home)
    assert shown.stdout.splitlines()[-1] == str(home / "report.html")
    assert result["ledger_head"] in (home / "report.html").read_text(encoding="utf-8")
    assert (home / "report.html").stat().st_mode & 0o077 == 0


def test_report_writes_the_page_of_a_home_where_it_is_told_to(
    finished: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    _, home, result = finished
    told = json.loads(hpcretrain("report", home, "-o", tmp_path / "page.html", "--json").stdout)
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert told == {"page": str(tmp_path / "page.html"), "bytes": len(text.encode())}
    assert f"{result['summary']['served']:.3f}" in text
    assert "about the same training CPU" in text or "times as much training CPU" in text
    assert "ungated" in text[text.index('id="cost-desc"') :][:200]
    assert all(cycle["id"] in text for cycle in result["cycles"])
    again = hpcretrain("report", "--home", home, "-o", tmp_path / "again.html")
    assert again.stdout.strip() == str(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_a_home_without_a_result_has_a_page_of_what_there_is(finished: tuple[Path, Path, dict], tmp_path: Path) -> None:
    copy = tmp_path / "home"
    shutil.copytree(finished[1], copy)
    (copy / "result.json").unlink()
    told = hpcretrain("report", copy)
    assert told.returncode == 0, told.stderr
    assert "This backtest is not finished" in (copy / "report.html").read_text(encoding="utf-8")


def test_the_page_is_not_made_of_terms_or_a_result_that_are_not_the_ledgers(
    finished: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    copy = tmp_path / "home"
    shutil.copytree(finished[1], copy)
    terms = (copy / "configuration.json").read_text()
    (copy / "configuration.json").write_text(terms.replace('"seed":1', '"seed":2'))
    told = hpcretrain("report", copy, "-o", tmp_path / "page.html")
    assert told.returncode == 2
    assert "configuration.json is not what the ledger was made under" in told.stderr
    (copy / "configuration.json").unlink()
    assert "run again, writes it" in hpcretrain("report", copy).stderr
    (copy / "configuration.json").write_text(terms)
    (copy / "result.json").write_text("{")
    assert "result.json cannot be read" in hpcretrain("report", copy).stderr
    assert not (tmp_path / "page.html").exists()


def test_a_page_that_cannot_be_written_is_refused_and_leaves_nothing(
    finished: tuple[Path, Path, dict], tmp_path: Path
) -> None:
    _, home, _ = finished
    for target in (tmp_path / "none" / "page.html", tmp_path, home / "home.json" / "page.html"):
        before = sorted(tmp_path.rglob("*"))
        told = hpcretrain("report", home, "-o", target)
        assert told.returncode == 2
        assert f"{target} cannot be written" in told.stderr
        assert sorted(tmp_path.rglob("*")) == before
    assert "two homes are named" in hpcretrain("report", home, "--home", tmp_path).stderr


def test_a_reader_that_has_enough_is_no_error(finished: tuple[Path, Path, dict]) -> None:
    command = [sys.executable, "-m", "hpcretrain", "status", "--home", str(finished[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from bench import evidently_environment, mlflow_store
from bench.catalog import BENCHMARKS, GROUPS
from bench.report import wilson
from bench.run import BAD_INPUT, DONE, FAILED, finished, main
from bench.samples import Aside, Measured, PeerMissing, Samples

KEYS = {"name", "value", "unit", "better", "goal", "ours", "peer", "runs"}


def measured(group: str) -> Measured:
    """Five samples of everything: ours 1 to 5, the peer's ten times that; rates of three in five."""
    benchmarks = next(each.benchmarks for each in GROUPS if each.name == group)
    return Measured(
        {
            each.name: Samples([1.0, 0.0, 1.0, 1.0, 0.0])
            if each.rate
            else Samples([5.0, 1.0, 4.0, 3.0, 2.0], [30.0] * 5)
            for each in benchmarks
        },
        [Aside("another world", {each.name: 0.5 for each in benchmarks}, 10)] if benchmarks[0].rate else [],
    )


def results(root: Path) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in json.loads((root / "bench.json").read_text())["results"]}


def test_a_full_run_reports_every_benchmark_in_one_form(tmp_path: Path) -> None:
    assert main([], tmp_path, measured) == DONE
    found = json.loads((tmp_path / "bench.json").read_text())
    assert set(found) == {"commit", "machine", "python", "results"}
    assert [line["name"] for line in found["results"]] == list(BENCHMARKS)
    assert all(set(line) == KEYS for line in found["results"])
    assert {line["better"] for line in found["results"]} == {"lower", "higher"}


def test_a_figure_comes_from_medians_of_ours_and_of_the_peer(tmp_path: Path) -> None:
    main([], tmp_path, measured)
    found = results(tmp_path)
    assert (
        found["profile_cpu_vs_whylogs"] | {"value": 10.0, "ours": 3.0, "peer": 30.0, "runs": 5}
        == (found["profile_cpu_vs_whylogs"])
    )
    assert found["log_model_s"]["value"] == 3.0
    assert found["backtest_served_vs_ungated"]["value"] == -27.0
    assert found["backtest_cpu_ratio"]["value"] == 0.1


def test_a_rate_is_a_mean_and_stands_beside_its_power(tmp_path: Path) -> None:
    assert main(["--only", "false_alarm_rate"], tmp_path, measured) == DONE
    found = results(tmp_path)
    assert set(found) == {"false_alarm_rate", "drift_power"}
    assert found["false_alarm_rate"]["value"] == 0.6


def test_only_what_was_asked_for_is_run_and_reported(tmp_path: Path) -> None:
    asked = []

    def noted(group: str) -> Measured:
        asked.append(group)
        return measured(group)

    main(["--only", "log_model_s, profile_cpu_vs_whylogs"], tmp_path, noted)
    assert asked == ["whylogs", "mlflow"]
    assert set(results(tmp_path)) == {"log_model_s", "profile_cpu_vs_whylogs"}


def test_an_unknown_name_is_bad_input_and_the_names_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--only", "log_model_s,speed"], tmp_path, measured) == BAD_INPUT
    message = capsys.readouterr().err
    assert "no benchmark speed" in message
    assert all(name in message for name in BENCHMARKS)
    assert not (tmp_path / "bench.json").exists()


def test_a_missing_peer_is_reported_and_is_no_failure(tmp_path: Path) -> None:
    assert main(["--only", "profile_cpu_vs_evidently"], tmp_path, lambda _: Measured(why="it does not install")) == DONE
    line = results(tmp_path)["profile_cpu_vs_evidently"]
    assert line | {"value": None, "ours": None, "peer": None, "runs": 0, "why": "it does not install"} == line


def test_a_peer_without_samples_gives_no_figure_and_keeps_ours(tmp_path: Path) -> None:
    main(["--only", "backtest_cpu_ratio"], tmp_path, lambda _: Measured({"backtest_cpu_ratio": Samples([2.0])}))
    line = results(tmp_path)["backtest_cpu_ratio"]
    assert line | {"value": None, "ours": 2.0, "peer": None, "runs": 1, "why": "no samples of the peer"} == line


def test_a_failing_benchmark_is_reported_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    def one_fails(group: str) -> Measured:
        return Measured(why="it broke", failed=True) if group == "whylogs" else measured(group)

    assert main([], tmp_path, one_fails) == FAILED
    found = results(tmp_path)
    assert found["profile_cpu_vs_whylogs"]["why"] == "it broke"
    assert set(found) == set(BENCHMARKS)
    assert found["promotion_power"]["value"] == 0.6


def test_raw_samples_are_kept_apart_with_command_and_date(tmp_path: Path) -> None:
    main(["--only", "log_model_s"], tmp_path, measured)
    raw = json.loads((tmp_path / "bench-samples.json").read_text())
    assert raw["mlflow"]["samples"]["log_model_s"]["ours"] == [5.0, 1.0, 4.0, 3.0, 2.0]
    assert raw["mlflow"]["run"]["command"] == "make bench ONLY=log_model_s"
    assert len(raw["mlflow"]["run"]["date"]) == 10


def test_groups_that_were_not_run_keep_their_samples_and_the_page_says_how_each_was_run(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    main([], tmp_path, measured)
    main(["--only", "log_model_s"], tmp_path, lambda _: Measured({"log_model_s": Samples([9.0])}))
    assert set(results(tmp_path)) == {"log_model_s"}
    assert main(["--docs"], tmp_path, measured) == DONE
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert "`make bench` on" in page
    assert "`make bench ONLY=log_model_s` on" in page
    assert "| 9 s |" in page


def test_a_process_that_fails_says_why_by_its_last_line(tmp_path: Path) -> None:
    done = finished([sys.executable, "-c", "print(1); raise RuntimeError('the disk is full')"], tmp_path / "none")
    assert done == Measured(why="RuntimeError: the disk is full", failed=True)


def test_a_process_that_dies_without_a_word_has_failed(tmp_path: Path) -> None:
    assert finished([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], tmp_path / "none") == Measured(
        why="it ended with exit code -9", failed=True
    )


def test_samples_come_whole_through_the_file_of_a_process(tmp_path: Path) -> None:
    for group in GROUPS:
        file = tmp_path / group.name
        file.write_text(json.dumps(measured(group.name).plain()))
        assert finished([sys.executable, "-c", ""], file) == measured(group.name)


def test_the_page_holds_every_figure_with_its_goal_and_intervals_of_rates(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    main([], tmp_path, measured)
    assert main(["--docs"], tmp_path, measured) == DONE
    page = (tmp_path / "docs" / "benchmarks.md").read_text()
    assert all(f"| `{name}` |" in page for name in BENCHMARKS)
    assert "| 10 | ≥ 10 | 3 | 30 | 5 |" in page
    assert "| 0.6 (0.231 to 0.882) | ≥ 0.9 |" in page
    assert "| another world | 0.5 (0.237 to 0.763) | 0.5 (0.237 to 0.763) | 10 |" in page


def test_the_page_is_not_written_when_nothing_was_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--docs"], tmp_path, measured) == BAD_INPUT
    assert "there are no figures of" in capsys.readouterr().err


def test_the_page_is_not_written_when_a_benchmark_was_left_out_or_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--only", "log_model_s"], tmp_path, measured)
    assert main(["--docs"], tmp_path, measured) == BAD_INPUT
    assert "no figures of profile_cpu_vs_whylogs, " in capsys.readouterr().err
    main([], tmp_path, lambda group: Measured(failed=True) if group == "mlflow" else measured(group))
    assert main(["--docs"], tmp_path, measured) == BAD_INPUT
    assert "no figures of log_model_s: run" in capsys.readouterr().err


def test_the_page_names_a_missing_peer(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    main([], tmp_path, lambda group: Measured(why="no wheel") if group == "evidently" else measured(group))
    assert main(["--docs"], tmp_path, measured) == DONE
    assert "| missing: no wheel | ≥ 40 |" in (tmp_path / "docs" / "benchmarks.md").read_text()


def test_wilson_interval_agrees_with_scipy() -> None:
    from scipy.stats import binomtest

    for hits, runs in ((0, 500), (7, 500), (500, 500)):
        expected = binomtest(hits, runs).proportion_ci(method="wilson")
        assert wilson(hits / runs, runs) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_an_environment_that_cannot_be_made_is_a_missing_peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("no-such-thing==1\n")
    with pytest.raises(PeerMissing, match=r"evidently cannot be installed: .*no-such-thing"):
        evidently_environment.interpreter(tmp_path / "environment", requirements)
    assert not (tmp_path / "environment" / "ready").exists()


def test_an_environment_that_is_there_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("")
    python = evidently_environment.interpreter(tmp_path / "environment", requirements)
    made = python.lstat().st_mtime_ns
    assert evidently_environment.interpreter(tmp_path / "environment", requirements).lstat().st_mtime_ns == made


def test_logging_a_model_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_store, "WARM_RUNS", 1)
    (seconds,) = mlflow_store.log_model_s()
    assert seconds > 0

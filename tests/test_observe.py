from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpcretrain.adapters.loopback import LOOPBACK, any_port
from hpcretrain.adapters.signalfile import read_signals
from hpcretrain.cli import main
from hpcretrain.servinglog import ServingLog

RECORDED = Path(__file__).parent / "adapters" / "signals_recorded"
NOW = "2026-03-12T00:00Z"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*options: object) -> tuple[int, str, str]:
        code = main([str(option) for option in options])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, its configuration, and batches."""
    folder, chance, rows = tmp_path_factory.mktemp("table"), np.random.default_rng(0), 6000
    times = pd.date_range("2026-01-01", periods=rows, freq="10min", tz="UTC")
    frame = pd.DataFrame({"time": times, "x": chance.normal(size=rows), "c": chance.choice(list("abc"), rows)})
    frame["y"] = (frame["x"] + chance.normal(size=rows) > 0).astype(int)
    frame.to_csv(folder / "table.csv", index=False)
    frame.tail(1000).to_csv(folder / "same.csv", index=False)
    frame.head(0).to_csv(folder / "empty.csv", index=False)
    frame.tail(1000).assign(x=lambda each: each["x"] + 2).drop(columns="c").to_parquet(folder / "moved.parquet")
    (folder / "config.toml").write_text(
        '[model]\nname = "flights"\ntask = "binary"\ntarget = "y"\n'
        '[data]\npath = "table.csv"\ntime_column = "time"\n'
        '[backtest]\nreference_until = "2026-02-01"\nobserve_every = "7d"\n'
    )
    return folder


def signals(text: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in map(json.loads, text.splitlines())}


def test_a_batch_like_the_reference_is_well(run: Any, table: Path) -> None:
    code, out, _ = run("observe", table / "same.csv", "--against", table / "config.toml", "--json")
    found = signals(out)
    assert code == 0
    assert {each["lower_bound"] for each in found.values()} == {0.0}
    assert {"x", "c", "missing", "volume"} <= set(found)


def test_a_batch_that_moved_and_lacks_a_column_says_so_and_changes_nothing(run: Any, table: Path) -> None:
    before = sorted(table.iterdir())
    code, out, _ = run("observe", table / "moved.parquet", "--against", table / "config.toml", "--json")
    found = signals(out)
    assert code == 0
    assert found["x"]["family"] == "input_drift"
    assert found["x"]["lower_bound"] > 1
    assert (found["missing:c"]["family"], found["missing:c"]["effect"]) == ("data_quality", 1.0)
    assert sorted(table.iterdir()) == before


def test_an_empty_batch_is_blind(run: Any, table: Path) -> None:
    _, out, _ = run("observe", table / "empty.csv", "--against", table / "config.toml", "--json", "--now", NOW)
    assert [(each["family"], each["at"]) for each in signals(out).values()] == [("blind", "2026-03-12T00:00:00Z")]


def test_a_file_that_is_no_batch_of_the_table_is_refused(run: Any, table: Path, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("time,z\n2026-03-01,1\n")
    code, _, err = run("observe", tmp_path / "other.csv", "--against", table / "config.toml")
    assert code == 2
    assert "none of the columns of the reference: x, c" in err


def test_the_lines_that_are_printed_are_a_file_of_signals(run: Any, table: Path, tmp_path: Path) -> None:
    _, out, _ = run("observe", table / "same.csv", "--against", table / "config.toml", "--json")
    (tmp_path / "signals.jsonl").write_text(out)
    assert len(read_signals(tmp_path / "signals.jsonl")) == len(out.splitlines())
    _, again, _ = run("observe", tmp_path / "signals.jsonl", "--json", "--now", NOW)
    assert sorted(again.splitlines()) == sorted(out.splitlines())
    _, told, _ = run("observe", tmp_path / "signals.jsonl", "--now", NOW)
    assert told.startswith("flights: 10 signals, 10 not worse\n")


def test_signals_that_are_later_than_now_are_told_and_not_heeded(run: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, range(1, 49))
    _, out, _ = run("observe", path, "--from", "csv", "--map", tmp_path / "map.toml", "--now", NOW, "--json")
    (tmp_path / "signals.jsonl").write_text(out)
    code, out, err = run("observe", tmp_path / "signals.jsonl", "--now", "2026-03-11T06:00Z", "--json")
    assert [each["at"] for each in map(json.loads, out.splitlines())] == ["2026-03-11T00:00:00Z"]
    assert code == 0
    assert "1 of 2 signals not heeded: later than 2026-03-11T06:00:00Z, at 2026-03-12T00:00:00Z" in err


def test_a_line_of_signals_that_cannot_be_read_is_refused_with_its_number(run: Any, tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text("\n{}\n")
    code, _, err = run("observe", tmp_path / "s.jsonl")
    assert code == 2
    assert "line 2" in err


CSV = """
model = "flights"
form = "wide"
every = "1d"
[[metric]]
name = "latency"
family = "serving"
column = "p95"
worse = "higher"
effect = "relative"
reference = 100.0
expect_every = "2h"
"""


def csv(folder: Path, hours: Iterator[int] | range, value: float = 150.0) -> Path:
    lines = [f"2026-03-{10 + hour // 24}T{hour % 24:02}:00Z,{value}" for hour in hours]
    (folder / "m.csv").write_text("\n".join(["timestamp,p95", *lines]) + "\n")
    (folder / "map.toml").write_text(CSV)
    return folder / "m.csv"


def test_a_csv_gives_a_signal_a_slot(run: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, range(1, 49))
    _, out, _ = run("observe", path, "--from", "csv", "--map", tmp_path / "map.toml", "--now", NOW, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [(each["at"], each["effect"], each["n"]) for each in found] == [
        ("2026-03-11T00:00:00Z", 0.5, 24),
        ("2026-03-12T00:00:00Z", 0.5, 24),
    ]


def test_what_comes_after_now_is_not_heeded(run: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, range(1, 49))
    options = ("--from", "csv", "--map", tmp_path / "map.toml", "--now", "2026-03-11T06:00Z", "--json")
    _, out, _ = run("observe", path, *options)
    assert [each["at"] for each in map(json.loads, out.splitlines())] == ["2026-03-11T00:00:00Z"]


def test_a_csv_that_stopped_is_blind_in_every_slot_since(run: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, range(1, 25))
    _, out, _ = run("observe", path, "--from", "csv", "--map", tmp_path / "map.toml", "--now", NOW, "--json")
    assert [each["family"] for each in map(json.loads, out.splitlines())] == ["serving", "blind"]


def test_before_the_first_sample_nothing_is_missed(run: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, range(13, 49))
    _, out, _ = run("observe", path, "--from", "csv", "--map", tmp_path / "map.toml", "--now", NOW, "--json")
    assert [(each["family"], each["n"]) for each in map(json.loads, out.splitlines())] == [
        ("serving", 12),
        ("serving", 24),
    ]


def test_a_csv_without_a_sample_needs_a_beginning(run: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, range(0))
    options = ("--from", "csv", "--map", tmp_path / "map.toml", "--now", NOW)
    code, _, err = run("observe", path, *options)
    assert (code, "--since" in err) == (2, True)
    assert "2 blind" in run("observe", path, *options, "--since", "2026-03-10")[1]


def test_all_that_is_wrong_with_a_map_is_told_at_once(run: Any, tmp_path: Path) -> None:
    path = csv(tmp_path, range(2))
    (tmp_path / "map.toml").write_text(CSV.replace("1d", "0h").replace("wide", "tall") + "surprise = 1\n")
    code, _, err = run("observe", path, "--from", "csv", "--map", tmp_path / "map.toml")
    assert code == 2
    assert [word for word in ("every", "form", "surprise") if word not in err] == []


def test_a_server_that_does_not_answer_is_blindness_and_a_failure(run: Any, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(
        f'url = "http://{LOOPBACK}:{any_port()}"\nmodels = ["a", "b"]\nmodel_label = "model"\n'
        '[[metric]]\nname = "m"\nfamily = "serving"\nquery = "q"\nworse = "higher"\neffect = "absolute"\n'
        "reference = 1.0\n"
    )
    code, out, err = run("observe", "--from", "prometheus", "--map", tmp_path / "map.toml", "--now", NOW, "--json")
    assert code == 3
    assert [(each["model"], each["family"], each["effect"]) for each in map(json.loads, out.splitlines())] == [
        ("a", "blind", 1.0),
        ("b", "blind", 1.0),
    ]
    assert "does not answer" in err


def test_a_report_of_evidently_is_signals_of_now(run: Any, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text(
        'model = "flights"\nrows = 1500\nreference_rows = 2000\nprediction = ["prediction"]\n'
    )
    path = RECORDED / "evidently-0.7-psi.json"
    _, out, _ = run("observe", path, "--from", "evidently", "--map", tmp_path / "map.toml", "--now", NOW, "--json")
    found = signals(out)
    assert found["prediction:psi"]["family"] == "prediction_shift"
    assert {each["at"] for each in found.values()} == {"2026-03-12T00:00:00Z"}


def test_reports_of_sources_and_outside_events_are_signals(run: Any, tmp_path: Path) -> None:
    (tmp_path / "map.toml").write_text('models = ["flights"]\n')
    (tmp_path / "health").write_text('{"source": "weather", "ok": false, "at": "2026-03-11T00:00Z"}\n')
    _, out, _ = run("observe", tmp_path / "health", "--from", "upstream", "--map", tmp_path / "map.toml", "--now", NOW)
    assert "worse            weather 1, at least 1, n 1: weather is broken" in out
    (tmp_path / "map.toml").write_text('models = ["flights"]\nevents = ["regulator.*"]\n')
    path = RECORDED / "prefect-3.8.8.jsonl"
    _, out, _ = run("observe", path, "--from", "events", "--map", tmp_path / "map.toml", "--now", NOW)
    assert "regulator.deadline 0.5, at least 0.5, n 1, until 2026-03-31 00:00Z" in out


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """Six hours of predictions, a minute apart; the last hour slow, the one before silent, and some dropped in it."""
    folder = tmp_path / "spool"
    folder.mkdir()
    with (folder / "0.jsonl").open("w") as file:
        for minute in range(360):
            hour, at = minute // 60, f"2026-03-11T{18 + minute // 60}:{minute % 60:02}:30Z"
            row = {"at": at, "id": str(minute), "model_version": "1", "score": 1, "inputs": {"x": minute}}
            if hour != 4:
                file.write(json.dumps({**row, "latency_ms": 20 if hour == 5 else 10}) + "\n")
        file.write('{"at": "2026-03-11T23:30:00Z", "dropped": {"ENOSPC": 60}}\n')
    reference = '{ from = "2026-03-11T18:00Z", until = "2026-03-11T21:00Z" }'
    (tmp_path / "map.toml").write_text(f'model = "flights"\nreference = {reference}\n')
    return folder


def test_what_was_spooled_tells_how_serving_does(run: Any, spool: Path) -> None:
    options = ("--from", "serving", "--map", spool.parent / "map.toml", "--now", NOW, "--json")
    _, out, _ = run("observe", spool, *options)
    found = signals(out)
    assert (found["latency_p95_ms"]["effect"], found["latency_p95_ms"]["reference"]) == (1.0, 10.0)
    assert (found["error_share"]["effect"], found["per_second"]["effect"]) == (0.0, 0.0)
    assert (found["dropped_predictions"]["family"], found["dropped_predictions"]["effect"]) == ("blind", 0.5)
    _, out, _ = run("observe", spool, *options, "--since", "2026-03-11T22:00Z")
    silent = [each for each in map(json.loads, out.splitlines()) if each["name"] == "predictions"]
    assert [each["at"] for each in silent] == ["2026-03-11T23:00:00Z"]


def test_a_spool_without_a_prediction_is_blind_and_not_well(run: Any, spool: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _, out, _ = run("observe", tmp_path / "empty", "--from", "serving", "--map", tmp_path / "map.toml", "--json")
    assert [each["family"] for each in map(json.loads, out.splitlines())] == ["blind"]


def test_what_is_no_segment_is_refused_with_its_lines(run: Any, spool: Path, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text("{}\n")
    code, _, err = run("observe", tmp_path / "other.jsonl", "--from", "serving", "--map", tmp_path / "map.toml")
    assert (code, "other.jsonl, line 1: at is missing" in err) == (2, True)


def test_a_table_that_is_not_called_parquet_is_refused(run: Any, spool: Path, tmp_path: Path) -> None:
    code, _, err = run("serving", "table", spool, "-o", tmp_path / "t.csv")
    assert (code, "name it *.parquet" in err) == (2, True)


def test_spooled_predictions_and_labels_are_a_table_that_a_home_reads(run: Any, tmp_path: Path) -> None:
    log = ServingLog(tmp_path / "spool", least_free_mb=0)
    threads = [threading.Thread(target=log.log, args=(str(k), {"x": k}, 0.5)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.log("broken", {"x": 9}, None, error="timeout")
    log.close()
    (tmp_path / "labels.csv").write_text("id,label\n0,1\n1,0\n7,1\n")
    output = tmp_path / "served.parquet"
    code, out, _ = run(
        "serving", "table", tmp_path / "spool", "--labels", tmp_path / "labels.csv", "-o", output, "--json"
    )
    made = json.loads(out)
    assert (code, made["rows"], made["labeled"]) == (0, 4, 2)
    assert {why: count for why, count in made["left_out"].items() if count} == {
        "failed_predictions": 1,
        "unknown_labels": 1,
    }
    frame = pd.read_parquet(output)
    assert dict(zip(frame["x"], frame["label"].fillna(-1), strict=True)) == {0: 1, 1: 0, 2: -1, 3: -1}


def test_nothing_is_written_of_nothing(run: Any, tmp_path: Path) -> None:
    code, _, err = run("serving", "table", tmp_path, "-o", tmp_path / "t.parquet")
    assert (code, "nothing was written" in err) == (2, True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "say what is observed"),
        (("m.csv",), "say what is observed"),
        (("m.csv", "--from", "csv"), "needs --map"),
        (("m.csv", "--from", "batch"), "needs --against"),
        (("m.csv", "--from", "prometheus", "--map", "m"), "does not go with FILE"),
        (("s.jsonl", "--since", "2026-01-01"), "does not go with --since"),
        (("m.csv", "--from", "csv", "--map", "none.toml"), "no such file"),
        (("m.csv", "--from", "csv", "--map", "none.toml", "--now", "noon"), "is no time"),
    ],
)
def test_options_that_do_not_fit_are_refused(run: Any, options: tuple[str, ...], why: str) -> None:
    code, _, err = run("observe", *options)
    assert code == 2
    assert why in err


def test_a_metric_that_nobody_has_a_reference_for_is_compared_with_its_own_past(run: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(0.71, 0.005, 200) - np.where(np.arange(200) < 100, 0.0, 0.06)
    days = pd.date_range("2025-08-20", periods=200, freq="1D", tz="UTC")
    pd.DataFrame({"timestamp": days, "auc": values}).to_csv(tmp_path / "metrics.csv", index=False)
    text = (
        'model = "flights"\nform = "wide"\nevery = "10d"\n[[metric]]\nname = "auc"\nfamily = "performance"\n'
        'column = "auc"\nworse = "lower"\neffect = "absolute"\nreference = { adwin_span = 0.1 }\n'
    )
    (tmp_path / "map.toml").write_text(text)
    observed = ("observe", tmp_path / "metrics.csv", "--from", "csv", "--map", tmp_path / "map.toml", "--now", NOW)
    code, out, _ = run(*observed, "--json")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert found[0]["effect"] is None, "too few samples to tell"
    assert {each["effect"] for each in found[4:9]} == {0.0}
    assert found[-1]["effect"] == pytest.approx(0.06, abs=0.004)
    assert 0 < found[-1]["lower_bound"] < found[-1]["effect"]
    for wrong, said in (
        ("adwin_span = 0.01", "the samples of auc lie"),
        ("adwin_spam = 1", "change.adwin_spam: unknown key; known here are: adwin_span, delta"),
        ('from = "2026-01-01"', "stretch.until: is missing"),
    ):
        (tmp_path / "map.toml").write_text(text.replace("adwin_span = 0.1", wrong))
        code, _, err = run(*observed)
        assert code == 2
        assert said in err
        assert "at least 1 item" not in err

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from weekly_traffic import BERLIN, noise, weekly
from whole_cycle import whole_cycle

from hpcretrain.cli import main
from hpcretrain.history import History
from hpcretrain.lowtraffic import past_runs
from hpcretrain.report.windows import _clock, _turns
from hpcretrain.stats.traffic import Series

POLICY = resources.files("hpcretrain.config").joinpath("standard.toml").read_text(encoding="utf-8")


def written(path: Path, series: Series) -> Path:
    times = [datetime.fromtimestamp(start, UTC).replace(tzinfo=None) for start in series.starts_s.tolist()]
    rows = [f"{time},{value}" for time, value in zip(times, series.values.tolist(), strict=True)]
    path.write_text("\n".join(["timestamp,value", *rows]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("traffic") / "traffic.csv", weekly(5))


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["windows", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_command_prints_windows_as_documented(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, str(file), "--hours", "3")
    assert code == 0
    assert set(found) == {"now", "time_zone", "hours", "windows", "history", "needs", "findings"}
    assert found["now"] == "2026-03-09T00:00:00Z"
    assert len(found["windows"]) == 7
    assert found["windows"][0] | {"expected_share": 0, "high_share": 0} == {
        "start": "2026-03-09T02:00:00Z",
        "end": "2026-03-09T05:00:00Z",
        "expected_share": 0,
        "high_share": 0,
    }
    assert found["history"] == {
        "start": "2026-02-02T00:00:00Z",
        "end": "2026-03-09T00:00:00Z",
        "slot_minutes": 60,
        "slots": 840,
        "gaps": 0,
    }


def test_an_earlier_now_uses_only_what_came_before(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, str(file), "--hours", "3", "--now", "2026-02-15T12:00")
    assert code == 1
    assert found["windows"] == []
    assert "13.5 days of history were seen and 28 are needed" in found["insufficient_history"]
    assert found["history"]["end"] == "2026-02-15T12:00:00Z"


@pytest.mark.parametrize("now", ["2020-01-01", "2026-02-02T00:00", "2026-02-02T00:59"])
def test_a_now_before_all_history_is_answered_by_no(file: Path, capsys: pytest.CaptureFixture[str], now: str) -> None:
    code, found = told(capsys, str(file), "--hours", "3", "--now", now)
    assert (code, found["windows"], found["history"]["slots"]) == (1, [], 0)
    assert found["insufficient_history"] == (
        "no history was over by then: it begins at 2026-02-02 00:00Z; plan from a later time"
    )
    assert main(["windows", str(file), "--hours", "3", "--now", now]) == 1


def test_offsets_are_told_on_a_day_on_which_clocks_are_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    traffic = written(tmp_path / "spring.csv", weekly(6, start=datetime(2026, 2, 14, tzinfo=UTC)))
    arguments = [str(traffic), "--hours", "3", "--time-zone", "Europe/Berlin", "--now", "2026-03-28T00:00+01:00"]
    assert main(["windows", *arguments]) == 0
    lines = {line[:3]: line.split() for line in capsys.readouterr().out.splitlines() if " of mean" in line}
    assert lines["Sun"][1:4] == ["2026-03-29", "05:00+02:00", "08:00+02:00"]
    assert lines["Mon"][1:4] == ["2026-03-30", "02:00", "05:00"]
    night = datetime(2026, 3, 29, tzinfo=UTC)
    span = [(night + timedelta(hours=hour)).astimezone(BERLIN) for hour in (0, 3)]
    assert [_clock(at, offset=_turns(span[0], span[1])) for at in span] == ["01:00+01:00", "05:00+02:00"]


def test_people_get_a_table_in_local_time(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["windows", str(file), "--hours", "3", "--time-zone", "Europe/Berlin"]) == 0
    said = capsys.readouterr().out
    assert "planned from 2026-03-09 00:00, times are those of Europe/Berlin" in said
    assert "Mon 2026-03-09  02:00   05:00" in said
    assert main(["windows", str(file), "--hours", "3", "--now", "2026-02-15"]) == 1
    assert "insufficient history: 13 days" in capsys.readouterr().out


def test_standard_input_is_read(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert told(capsys, "-", "--hours", "3") == told(capsys, str(file), "--hours", "3")


def test_the_policys_table_rules(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.toml"
    table = 'horizon_days = 3\nblackouts = [{first = 2026-03-10, last = 2026-03-10, reason = "launch"}]'
    policy.write_text(f"{POLICY}\n[windows]\n{table}\n", encoding="utf-8")
    _, found = told(capsys, str(file), "--hours", "3", "--policy", str(policy))
    assert [window["start"] for window in found["windows"]] == ["2026-03-09T02:00:00Z", "2026-03-11T02:00:00Z"]


def test_a_window_without_room_for_what_must_fit_ends_with_no(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, str(file), "--hours", "1")
    assert code == 1
    assert found["findings"][-1]["outcome"] == "fail"
    assert "nothing is left for training" in found["findings"][-1]["reason"]


def test_bursts_name_no_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, str(written(tmp_path / "bursts.csv", noise(8))), "--hours", "3")
    assert (code, found["windows"]) == (1, [])
    assert "cannot be foretold" in found["insufficient_history"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hours", "0"), "--hours: 0 is no length of a window"),
        (("--hours", "25"), "--hours: 25 is no length of a window"),
        (("--hours", "nan"), "--hours: nan is no length of a window"),
        (("--hours", "3", "--now", "soon"), '--now: "soon" is no time'),
        (("--hours", "3", "--time-zone", "Mars"), 'hpcretrain: --time-zone: there is no time zone "Mars"; write one'),
        (("--hours", "3", "--home", "nowhere"), "nowhere"),
        (("--hours", "3", "--policy", "nowhere.toml"), "nowhere.toml: there is no such file"),
    ],
)
def test_bad_input_is_told_in_a_line(
    file: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert main(["windows", str(file), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("hpcretrain: ")
    assert len(error.splitlines()) == 1


def test_past_trainings_tell_how_long_one_takes() -> None:
    history = History.fold(whole_cycle())
    jobs = history.cycles[0].jobs
    begin = datetime(2030, 1, 1, tzinfo=UTC)
    notes = [
        note
        for place, job in enumerate(jobs)
        for note in (
            {"event": "job_submitted", "serves": job.id, "at": (begin + place * timedelta(hours=2)).isoformat()},
            {
                "event": "job_finished",
                "serves": job.id,
                "at": (begin + place * timedelta(hours=2) + timedelta(hours=1)).isoformat(),
                "cpu_s": 1_800.0,
            },
        )
    ]
    (run,) = past_runs(history, notes)
    stages = {job.purpose for job in jobs}
    assert run.training_h == pytest.approx(0.5 * len(stages))
    assert run.cost_mrow_passes == pytest.approx(sum(job.cost_mrow_passes for job in jobs))
    assert run.queue_wait_h > 0
    assert past_runs(history, []) == []

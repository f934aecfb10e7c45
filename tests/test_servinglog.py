from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hpcretrain import servinglog
from hpcretrain.servinglog import ServingLog

ROOMY: dict[str, Any] = {"least_free_mb": 0.0, "flush_s": 0.02}


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for path in folder.iterdir() for line in path.read_text().splitlines()]
    return sorted(found, key=lambda line: str(line["at"]))


def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never came true")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ServingLog]:
    made = ServingLog(tmp_path / "spool", "v1", drop=["name"], mask=["email"], **ROOMY)
    yield made
    made.close()


def test_a_prediction_is_a_line_with_all_that_was_told(log: ServingLog, tmp_path: Path) -> None:
    log.log("a", {"x": 1.5, "c": "red"}, 0.25, latency_s=0.0125)
    log.log("b", {}, None, error="timeout", model_version="v2")
    log.close()
    first, second = lines(tmp_path / "spool")
    assert first.pop("at").endswith("Z")
    assert first == {
        "id": "a",
        "model_version": "v1",
        "score": 0.25,
        "latency_ms": 12.5,
        "inputs": {"x": 1.5, "c": "red"},
    }
    assert (second["error"], second["model_version"], second["score"]) == ("timeout", "v2", None)
    assert log.dropped == {}


def test_a_closed_segment_has_its_name_and_only_the_owner_reads_it(log: ServingLog, tmp_path: Path) -> None:
    log.log("a", {}, 1)
    until(lambda: (tmp_path / "spool").is_dir() and any((tmp_path / "spool").glob("*.jsonl.part")))
    log.close()
    (segment,) = (tmp_path / "spool").iterdir()
    assert segment.suffix == ".jsonl"
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700


def test_sensitive_columns_are_dropped_or_masked_before_anything_is_written(log: ServingLog, tmp_path: Path) -> None:
    log.log("a", {"name": "Ann", "email": "a@b", "x": 1}, 1)
    log.log("b", {"name": "Bob", "email": None, "x": 2}, 1)
    log.close()
    assert [line["inputs"] for line in lines(tmp_path / "spool")] == [
        {"email": "masked", "x": 1},
        {"email": None, "x": 2},
    ]


def test_inputs_may_be_changed_once_they_are_logged(log: ServingLog, tmp_path: Path) -> None:
    inputs = {"x": 1}
    log.log("a", inputs, 1)
    inputs["x"] = 2
    log.close()
    assert lines(tmp_path / "spool")[0]["inputs"] == {"x": 1}


def test_a_full_segment_is_closed_and_the_next_begun(tmp_path: Path) -> None:
    log = ServingLog(tmp_path, segment_mb=0.001, **ROOMY)
    for number in range(3):
        log.log(str(number), {"text": "x" * 1000}, 1)
        until(lambda count=number + 1: len(list(tmp_path.glob("*.jsonl"))) == count)  # type: ignore[misc]
    log.close()
    assert sorted(line["id"] for line in lines(tmp_path)) == ["0", "1", "2"]


def test_an_old_segment_is_closed(tmp_path: Path) -> None:
    log = ServingLog(tmp_path, segment_s=0.05, **ROOMY)
    log.log("a", {}, 1)
    until(lambda: len(list(tmp_path.glob("*.jsonl"))) == 1)
    log.close()


def test_what_overflows_the_queue_is_dropped_and_the_count_is_written(tmp_path: Path) -> None:
    log = ServingLog(tmp_path, least_free_mb=0.0, flush_s=3600, most_queued=10)
    log._thread = threading.current_thread()
    for number in range(25):
        log.log(str(number), {}, 1)
    assert log.dropped == {"queue_full": 15}
    log._flush()
    log._end_segment()
    found = lines(tmp_path)
    assert [line["dropped"] for line in found if "dropped" in line] == [{"queue_full": 15}]
    assert len(found) == 11


def test_what_cannot_be_written_is_counted_and_others_are_written(log: ServingLog, tmp_path: Path) -> None:
    circle: dict[str, Any] = {}
    circle["x"] = circle
    log.log("a", circle, 1)
    log.log("b", None, 1)  # type: ignore[arg-type]
    log.log("c", {"text": "x" * servinglog.LONGEST_LINE}, 1)
    log.log("d", {"object": object(), "bytes": b"x"}, 1)
    log.close()
    assert log.dropped == {"unreadable": 2, "too_long": 1}
    assert lines(tmp_path / "spool")[0]["id"] == "d"


def test_numbers_of_numpy_are_numbers(log: ServingLog, tmp_path: Path) -> None:
    import numpy as np

    log.log("a", {"x": np.float32(0.5), "n": np.int64(3), "v": np.arange(2)}, np.float64(0.25))
    log.close()
    (line,) = lines(tmp_path / "spool")
    assert (line["inputs"], line["score"]) == ({"x": 0.5, "n": 3, "v": [0, 1]}, 0.25)


def test_a_folder_that_cannot_be_made_breaks_nothing_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = ServingLog(tmp_path / "file" / "spool", **ROOMY)
    log.log("a", {}, 1)
    until(lambda: log.dropped == {"ENOTDIR": 1})
    log.close()


def test_a_folder_that_goes_away_loses_its_segment_which_is_counted_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setattr(servinglog, "AGAIN_S", 0.0)
    log = ServingLog(tmp_path / "spool", **ROOMY)
    log.log("a", {}, 1)
    until(lambda: (tmp_path / "spool").is_dir() and any(path.stat().st_size for path in (tmp_path / "spool").iterdir()))
    shutil.rmtree(tmp_path / "spool")
    log.log("b", {}, 1)
    until(lambda: sum(log.dropped.values()) == 2)
    log.log("c", {}, 1)
    log.close()
    found = lines(tmp_path / "spool")
    assert sum(sum(line["dropped"].values()) for line in found if "dropped" in line) == 2
    assert [line["id"] for line in found if "id" in line] == ["c"]


def test_a_disk_that_is_nearly_full_is_left_alone(tmp_path: Path) -> None:
    log = ServingLog(tmp_path, least_free_mb=1e12, flush_s=0.02)
    log.log("a", {}, 1)
    until(lambda: log.dropped == {"ENOSPC": 1})
    log.close()
    assert lines(tmp_path) == []


FULL = """
import resource, signal, sys
from hpcretrain import servinglog
servinglog.AGAIN_S = 0.0
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = servinglog.ServingLog(sys.argv[1], least_free_mb=0, flush_s=3600)
log._thread = True
log.log("first", {}, 1)
log._flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
for number in range(20):
    log.log(str(number), {}, 1)
log._flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.log("last", {}, 1)
log._flush()
log._thread = None
"""


def test_a_write_that_is_cut_short_leaves_whole_lines_and_is_counted(tmp_path: Path) -> None:
    # A limit on the size of files fails in mid-write, as a full disk does.
    subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], check=True, timeout=60)
    found = lines(tmp_path)
    assert [line["id"] for line in found if "id" in line] == ["first", "last"]
    assert [line["dropped"] for line in found if "dropped" in line] == [{"EFBIG": 20}]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


KILLED = """
import sys, time
from hpcretrain.servinglog import ServingLog
log = ServingLog(sys.argv[1], least_free_mb=0, flush_s=0.01)
number = 0
while True:
    log.log(str(number), {"x": 1}, 1)
    number += 1
    time.sleep(0.0005)
    if number == 200:
        print("many", flush=True)
"""


def test_a_process_that_is_killed_leaves_whole_lines(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        until(lambda: any(path.stat().st_size > 1000 for path in tmp_path.iterdir()))
        process.send_signal(signal.SIGKILL)
    found = [line["id"] for line in lines(tmp_path)]
    assert found == [str(number) for number in range(len(found))]
    assert found


def test_threads_share_a_log(log: ServingLog, tmp_path: Path) -> None:
    def work(name: str) -> None:
        for number in range(200):
            log.log(f"{name}-{number}", {"x": number}, 1)

    threads = [threading.Thread(target=work, args=(str(each),)) for each in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len({line["id"] for line in lines(tmp_path / "spool")}) == 1600


def test_a_forked_process_goes_on_by_itself_and_repeats_nothing(tmp_path: Path) -> None:
    log = ServingLog(tmp_path, least_free_mb=0.0, flush_s=0.2)
    log.log("before", {}, 1)
    child = os.fork()
    if not child:
        log.log("child", {}, 1)
        log.close()
        os._exit(0)
    log.log("parent", {}, 1)
    log.close()
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(line["id"] for line in lines(tmp_path)) == ["before", "child", "parent"]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_waits_is_written_when_the_process_ends(tmp_path: Path) -> None:
    script = "import sys; from hpcretrain.servinglog import ServingLog as L; "
    script += "L(sys.argv[1], least_free_mb=0, flush_s=3600).log('a', {}, 1)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=60)
    assert [line["id"] for line in lines(tmp_path)] == ["a"]


def test_what_comes_after_the_end_is_dropped(log: ServingLog) -> None:
    log.close()
    log.log("a", {}, 1)
    assert log.dropped == {"closed": 1}


def test_one_column_is_not_taken_for_its_letters(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="name columns"):
        ServingLog(tmp_path, drop="name")


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    source = Path(servinglog.__file__)
    script = f"import runpy; runpy.run_path({str(source)!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", script], check=True, timeout=60)

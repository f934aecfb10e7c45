from __future__ import annotations

import json
import math
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.adapters.servingsegments import Served, Spooled, join, parse, read
from hpcretrain.adapters.servingtable import read_labels, write
from hpcretrain.errors import InputError
from hpcretrain.servinglog import ServingLog

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def line(identifier: str = "a", at: str = "2026-03-01T06:00:00Z", **more: Any) -> str:
    return json.dumps({"at": at, "id": identifier, "model_version": "v1", "score": 1, "inputs": {"x": 1}, **more})


def spool(folder: Path, *segments: str) -> Spooled:
    for number, text in enumerate(segments):
        (folder / f"{number}.jsonl").write_text(text)
    return read([folder])


def served(identifier: str, hour: int = 0, **inputs: Any) -> Served:
    return Served(identifier, DAY + timedelta(hours=hour), "v1", 1, math.nan, "", inputs)


def spooled(*rows: Served) -> Spooled:
    return Spooled(rows, 0, (), (), 0)


def test_what_the_logger_wrote_is_read(tmp_path: Path) -> None:
    log = ServingLog(tmp_path / "spool", "v7", least_free_mb=0)
    log.log("a", {"x": 1.5, "c": None}, 0.5, latency_s=0.002)
    log.log("b", {}, None, error="timeout")
    log.close()
    found = read([tmp_path / "spool"])
    first, second = found.rows
    assert (first.id, first.model_version, first.score, first.latency_ms) == ("a", "v7", 0.5, 2.0)
    assert first.inputs == {"x": 1.5, "c": None}
    assert (second.error, math.isnan(second.latency_ms)) == ("timeout", True)
    assert (found.refused, found.unfinished, found.duplicates) == ((), 0, 0)


def test_the_first_of_an_id_wins(tmp_path: Path) -> None:
    found = spool(tmp_path, line(at="2026-03-01T07:00Z", score=2) + "\n", line(score=3) + "\n")
    assert [row.score for row in found.rows] == [3]
    assert found.duplicates == 1


def test_a_segment_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl.part").write_text(line() + "\n" + line("b")[:20])
    found = read([tmp_path])
    assert [row.id for row in found.rows] == ["a"]
    assert (found.refused, found.unfinished) == ((), 1)


def test_a_line_that_cannot_be_read_is_refused_with_its_number_and_others_count(tmp_path: Path) -> None:
    found = spool(tmp_path, f"{line()}\n{{\n{line('b')}\n")
    assert [row.id for row in found.rows] == ["a", "b"]
    assert found.refused == (f"{tmp_path}/0.jsonl, line 2: is no JSON",)


def test_dropped_predictions_are_counted_with_their_reasons(tmp_path: Path) -> None:
    found = spool(tmp_path, json.dumps({"at": "2026-03-01T06:00Z", "dropped": {"ENOSPC": 3}}) + "\n")
    assert found.dropped == ((DAY + timedelta(hours=6), "ENOSPC", 3),)


def test_only_what_was_asked_for_is_given(tmp_path: Path) -> None:
    (tmp_path / "0.jsonl").write_text(f"{line('a', '2026-03-01T00:00Z')}\n{line('b', '2026-03-02T00:00Z')}\n")
    (tmp_path / "other.txt").write_text("not a segment")
    assert [row.id for row in read([tmp_path], DAY, DAY + timedelta(days=1)).rows] == ["a"]


def test_a_place_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such segment"):
        read([tmp_path / "none"])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 2)), max_size=8), st.randoms())
def test_the_order_of_lines_and_segments_does_not_matter(
    rows: list[tuple[str, int, int]], chance: random.Random
) -> None:
    lines = [line(name, f"2026-03-01T0{hour}:00Z", score=score) + "\n" for name, hour, score in rows]
    mixed = chance.sample(lines, len(lines))
    cut = chance.randint(0, len(lines))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first = spool(Path(one), "".join(lines))
        second = spool(Path(two), "".join(mixed[:cut]), "".join(mixed[cut:]))
    assert repr(first.rows) == repr(second.rows)
    assert first.duplicates == second.duplicates


@given(
    st.binary(max_size=80)
    | st.dictionaries(st.sampled_from(["at", "id", "inputs", "dropped"]), st.text(max_size=3)).map(
        lambda x: json.dumps(x).encode()
    )
)
def test_any_bytes_are_refused_with_a_reason(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"is|are|Invalid"):
        parse(text)


def test_labels_join_by_id_and_others_are_counted() -> None:
    rows = spooled(served("a"), served("b"), served("c"))
    labels = [("a", 1.0, None), ("a", 1.0, None), ("a", 0.0, None), ("z", 1.0, None), ("b", 0.0, None)]
    joined = join(labels, rows, None)
    assert joined.labels == {"a": 1.0, "b": 0.0}
    assert joined.left_out == {"repeated": 1, "contradicting": 1, "unknown": 1}


def test_the_label_that_was_known_first_wins_in_any_order() -> None:
    early, late = ("a", 1.0, DAY + timedelta(hours=1)), ("a", 0.0, DAY + timedelta(hours=2))
    for labels in ([early, late], [late, early]):
        assert join(labels, spooled(served("a")), None).labels == {"a": 1.0}


def test_a_label_that_came_too_late_is_left_out_so_that_matured_rows_stay_as_they_are() -> None:
    rows = spooled(served("a"), served("b", hour=1))
    known = DAY + timedelta(hours=3)
    joined = join([("a", 1.0, known), ("b", 1.0, known)], rows, timedelta(hours=2))
    assert (joined.labels, joined.left_out) == ({"b": 1.0}, {"late": 1})


def test_labels_are_read_from_csv_and_parquet(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": ["007", "b", "c"], "label": [1, 0, None], "known": "2026-03-01T06:00Z"})
    frame.to_csv(tmp_path / "l.csv", index=False)
    frame.to_parquet(tmp_path / "l.parquet", index=False)
    known = DAY + timedelta(hours=6)
    for name in ("l.csv", "l.parquet"):
        assert list(read_labels([tmp_path / name], "id", "label", "known")) == [("007", 1.0, known), ("b", 0.0, known)]
    with pytest.raises(InputError, match="has no column y"):
        list(read_labels([tmp_path / "l.csv"], "id", "y", None))


def test_a_table_has_time_inputs_and_label_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write(path, [served("a", x=1, c="u", m=1), served("b", 1, x=None, c=None, m="one")], {"a": 1.0}, "at", "y")
    frame = pd.read_parquet(path)
    assert list(frame.columns) == ["at", "c", "m", "x", "y"]
    assert frame["at"].tolist() == [pd.Timestamp(DAY), pd.Timestamp(DAY + timedelta(hours=1))]
    assert (frame["x"].tolist()[0], frame["c"].tolist()[0], frame["m"].tolist()) == (1.0, "u", ["1", "one"])
    assert frame.isna().iloc[1].tolist() == [False, True, False, True, True]
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_input_that_has_the_name_of_the_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="y names two columns"):
        write(tmp_path / "t.parquet", [served("a", y=1)], {}, "at", "y")
    assert list(tmp_path.iterdir()) == []

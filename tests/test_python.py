"""What Python programs and notebooks may import, and what it gives them."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
from replays import replay
from tables import configure, orders

import hpcretrain
from hpcretrain import explain, read_notes, read_records
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.cli import main
from hpcretrain.errors import InputError

REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "python.md"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python")
    config = configure(folder, orders(rows=4_000, minutes=32))
    replay(config, folder / "home")
    (folder / "home" / "home.json").write_text("{}")
    FileLedger(folder / "home" / "ledger.jsonl").note("job_finished", "job-1", cpu_s=2.0)
    return folder / "home"


def test_the_reference_tells_every_function_with_its_parameters() -> None:
    told = re.findall(r"`(\w+)\(([^)]*)\)`", REFERENCE.read_text(encoding="utf-8"))
    parameters = {
        name: ", ".join(inspect.signature(getattr(hpcretrain, name)).parameters) for name in hpcretrain.__all__
    }
    assert dict(told) == parameters


def test_records_are_rows_in_the_order_of_the_ledger(home: Path) -> None:
    rows = read_records(home)
    ledger = FileLedger(home / "ledger.jsonl", read_only=True)
    assert [row["id"] for row in rows] == [record.id for record in ledger.records()]
    assert json.loads(json.dumps(rows)) == rows
    assert {row["kind"] for row in rows} >= {"baseline", "signal", "assessment", "decision"}
    decisions = read_records(home, "decision")
    assert decisions == [row for row in rows if row["kind"] == "decision"]
    assert {"check", "outcome", "reason", "observed", "limit"} == decisions[0]["findings"][0].keys()


def test_notes_are_rows_of_what_happened(home: Path) -> None:
    [note] = read_notes(home, "job_finished")
    assert (note["event"], note["serves"], note["cpu_s"]) == ("job_finished", "job-1", 2.0)
    assert note in read_notes(home)
    assert len(read_notes(home)) > 1


def test_a_record_is_explained_as_by_the_command(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [decision, *_] = read_records(home, "decision")
    assert main(["explain", decision["id"], "--home", str(home), "--json"]) == 0
    assert explain(home, decision["id"]) == json.loads(capsys.readouterr().out)


def test_what_is_not_there_is_said(home: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'decisions' is no kind of record; they are baseline, proposal"):
        read_records(home, "decisions")
    for read in (read_records, read_notes):
        with pytest.raises(InputError, match="is no home"):
            read(tmp_path)
    with pytest.raises(InputError, match="no record"):
        explain(home, "decision-x")

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from test_cycle import whole_cycle

from hpcretrain.adapters.ledger import CHAINS, SqliteLedger, anchor_path, link, verify
from hpcretrain.errors import LedgerDamagedError, LedgerError
from hpcretrain.records import Outcome

RECORDS = whole_cycle()


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A ledger of a whole cycle and a few notes."""
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    ledger.append(RECORDS)
    for number in range(5):
        ledger.note("job_submitted", RECORDS[1].id, attempt=number)
    ledger.close()
    return path


def intact(path: Path) -> bool:
    return all(finding.outcome is Outcome.PASS for finding in verify(path))


def execute(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute(statement)
    database.close()


def test_records_come_back_in_order_and_the_same(filled: Path) -> None:
    assert list(SqliteLedger(filled).records()) == RECORDS
    assert intact(filled)


def test_the_head_depends_on_the_records_alone(filled: Path, tmp_path: Path) -> None:
    for name in ("other", "less"):
        (tmp_path / name).mkdir()
    one_by_one = SqliteLedger(tmp_path / "other" / "ledger.db")
    for record in RECORDS:
        one_by_one.append([record])
    assert one_by_one.head() == SqliteLedger(filled).head()
    less = SqliteLedger(tmp_path / "less" / "ledger.db")
    less.append(RECORDS[:-1])
    assert less.head() != one_by_one.head()


def test_a_record_is_written_once(filled: Path) -> None:
    ledger = SqliteLedger(filled)
    head = ledger.head()
    ledger.append(RECORDS[3:6])
    assert ledger.head() == head
    assert len(list(ledger.records())) == len(RECORDS)


def test_notes_are_found_by_event_and_by_what_they_serve(filled: Path) -> None:
    ledger = SqliteLedger(filled)
    ledger.note("job_finished", RECORDS[2].id, cpu_s=1.5)
    assert [note["attempt"] for note in ledger.notes("job_submitted", RECORDS[1].id)] == [0, 1, 2, 3, 4]
    assert ledger.notes(serves=RECORDS[2].id)[0]["cpu_s"] == 1.5
    assert ledger.notes("nothing") == []


def test_only_the_owner_may_read(filled: Path) -> None:
    assert os.stat(filled).st_mode & 0o077 == 0
    assert os.stat(anchor_path(filled)).st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM decisions WHERE seq = 5",
        "DELETE FROM decisions WHERE seq = 1",
        "DELETE FROM decisions WHERE seq > 10",
        "DELETE FROM decisions",
        "DELETE FROM operations WHERE seq = 5",
        "UPDATE decisions SET seq = 100 WHERE seq = 3",
        "UPDATE decisions SET body = (SELECT body FROM decisions WHERE seq = 3) WHERE seq = 4",
        "UPDATE decisions SET name = 'job-0' WHERE seq = 4",
        "UPDATE decisions SET previous = hash WHERE seq = 4",
        "UPDATE operations SET body = replace(body, '\"attempt\":2', '\"attempt\":7')",
        "UPDATE operations SET name = 'job_finished' WHERE seq = 2",
        "INSERT INTO decisions SELECT seq + 100, name, body, previous, hash FROM decisions WHERE seq = 2",
    ],
)
def test_a_record_removed_altered_moved_or_inserted_is_found(filled: Path, statement: str) -> None:
    execute(filled, statement)
    assert not intact(filled)


def test_any_changed_byte_of_a_record_is_found(filled: Path) -> None:
    content = filled.read_bytes()
    with sqlite3.connect(filled) as database:
        cells = [
            cell.encode()
            for table in ("decisions", "operations")
            for row in database.execute(f"SELECT name || body || previous || hash FROM {table}")
            for cell in row
        ]
    database.close()
    places = [start + offset for cell in cells if (start := content.find(cell)) >= 0 for offset in range(len(cell))]
    assert len(places) > 5_000
    chance = random.Random(1)
    for place in chance.sample(places, 200):
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        filled.write_bytes(changed)
        assert not intact(filled), f"byte {place}"


def test_what_is_no_ledger_is_told_and_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database" * 1000)
    assert [finding.outcome for finding in verify(path)] == [Outcome.FAIL]
    assert [finding.outcome for finding in verify(tmp_path / "none.db")] == [Outcome.FAIL]


def test_a_lost_anchor_is_told_since_a_cut_off_end_could_not_be_seen(filled: Path) -> None:
    anchor_path(filled).unlink()
    assert not intact(filled)


def test_an_anchor_one_step_behind_is_fine_after_a_crash(filled: Path) -> None:
    behind = anchor_path(filled).read_text()
    SqliteLedger(filled).note("more", "x")
    anchor_path(filled).write_text(behind)
    assert intact(filled)
    assert json.loads(behind)["operations"][0] == 5


def test_two_processes_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    SqliteLedger(path).close()
    code = (
        "import sys; from pathlib import Path; from hpcretrain.adapters.ledger import SqliteLedger\n"
        "ledger = SqliteLedger(Path(sys.argv[1]))\n"
        "for number in range(40): ledger.note('n', sys.argv[2], number=number)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert intact(path)
    assert len(SqliteLedger(path).notes("n")) == 80


def test_a_ledger_that_cannot_be_written_says_so_and_keeps_what_it_has(filled: Path) -> None:
    ledger = SqliteLedger(filled, read_only=True)
    with pytest.raises(LedgerError, match="nothing was written") as refused:
        ledger.note("n", "x")
    assert not isinstance(refused.value, LedgerDamagedError), "it may go better another time"
    assert intact(filled)


def test_what_passes_is_told_from_damage(filled: Path) -> None:
    in_the_way = filled.parent / f".anchor.json.{os.getpid()}"
    ledger = SqliteLedger(filled)
    in_the_way.mkdir()
    with pytest.raises(LedgerError, match="the ledger itself is whole") as refused:
        ledger.note("n", "x")
    assert not isinstance(refused.value, LedgerDamagedError)
    ledger.close()
    in_the_way.rmdir()
    SqliteLedger(filled).close()
    anchor = anchor_path(filled)
    anchor.rename(filled.parent / "away")
    anchor.mkdir()
    with pytest.raises(LedgerError, match="cannot be read") as refused:
        SqliteLedger(filled)
    assert not isinstance(refused.value, LedgerDamagedError)
    anchor.rmdir()
    (filled.parent / "away").rename(anchor)
    content = filled.read_bytes()
    filled.write_bytes(content[:100] + b"\xff" * 4_000 + content[4_100:])
    with pytest.raises(LedgerDamagedError, match="malformed"):
        SqliteLedger(filled)
    filled.write_bytes(b"no database" * 1_000)
    with pytest.raises(LedgerDamagedError, match="not a database"):
        SqliteLedger(filled)


def test_a_changed_byte_of_a_replacement_character_is_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    ledger.note("n", "x", text="caf\ufffd!")
    ledger.close()
    content = bytearray(path.read_bytes())
    # The first of three bytes: what results is no UTF-8, and would be shown by the same character.
    content[content.index("caf\ufffd!".encode()) + 3] = 0xF0
    path.write_bytes(content)
    assert not intact(path)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_cut_off_end_is_not_hidden_by_writing_on(filled: Path, chain: str) -> None:
    execute(filled, f"DELETE FROM {chain} WHERE seq > 3")
    with pytest.raises(LedgerDamagedError, match=f"does not agree with the end of {chain}"):
        SqliteLedger(filled)
    assert not intact(filled)


def test_a_lost_anchor_is_not_made_anew(filled: Path) -> None:
    anchor_path(filled).unlink()
    with pytest.raises(LedgerDamagedError, match="is missing"):
        SqliteLedger(filled)


def test_a_new_ledger_is_intact(tmp_path: Path) -> None:
    SqliteLedger(tmp_path / "ledger.db").close()
    assert intact(tmp_path / "ledger.db")


def test_a_commit_cut_short_by_a_crash_is_undone_and_not_told_as_damage(filled: Path, tmp_path: Path) -> None:
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    ledger = SqliteLedger(filled)
    database = ledger._db
    # A cache of one page makes SQLite write to the file before the commit; the copy is what a crash would leave.
    database.execute("PRAGMA cache_size = 1")
    database.execute("BEGIN IMMEDIATE")
    for seq in range(100, 1000):
        database.execute("INSERT INTO operations VALUES (?, 'n', ?, 'p', 'h')", (seq, "x" * 200))
    for each in filled.parent.glob("*.*"):
        shutil.copy(each, crashed)
    database.execute("ROLLBACK")
    ledger.close()
    assert (crashed / "ledger.db-journal").stat().st_size > 0
    assert list(SqliteLedger(crashed / "ledger.db", read_only=True).records()) == RECORDS
    assert intact(crashed / "ledger.db")


@pytest.mark.parametrize("body", ["[]", "1", "{}", '{"kind":[]}', '{"kind":"signal"}', "no JSON", "[" * 100_000])
def test_what_is_no_record_is_told_even_if_its_hash_is_right(filled: Path, body: str) -> None:
    with sqlite3.connect(filled) as database:
        seq, previous = database.execute("SELECT seq, hash FROM decisions ORDER BY seq DESC LIMIT 1").fetchone()
        row = (seq + 1, "job-0", body, previous, link(previous, seq + 1, "job-0", body))
        database.execute("INSERT INTO decisions VALUES (?, ?, ?, ?, ?)", row)
    database.close()
    assert any(f"row {seq + 1} of decisions: is no record" in finding.reason for finding in verify(filled))
    with pytest.raises(LedgerDamagedError, match=f"record {seq + 1} of"):
        list(SqliteLedger(filled, read_only=True).records())


@pytest.mark.parametrize("anchor", ["[]", "Infinity", '{"decisions":[Infinity,""],"operations":[1,""]}', "[" * 100_000])
def test_a_garbled_anchor_is_told(filled: Path, anchor: str) -> None:
    anchor_path(filled).write_text(anchor)
    assert any(finding.check == "anchor" for finding in verify(filled))


def test_a_changed_byte_anywhere_in_the_file_never_ends_in_a_traceback(filled: Path) -> None:
    content = filled.read_bytes()
    with sqlite3.connect(filled) as database:
        body = database.execute("SELECT body FROM decisions WHERE seq = 3").fetchone()[0].encode()
    database.close()
    chance = random.Random(2)
    # Before a row's text stand the types of its columns, which may turn text into a number or nothing.
    header = range(content.index(body) - 40, content.index(body))
    for place in [*header, *chance.sample(range(len(content)), 100)]:
        for value in (0, 1, 8, chance.randrange(256)):
            changed = bytearray(content)
            changed[place] = value
            filled.write_bytes(changed)
            assert verify(filled)

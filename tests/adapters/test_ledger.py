from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from whole_cycle import whole_cycle

from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.adapters.ledger_rows import (
    CHAINS,
    anchor_path,
    genesis,
    line,
    lines,
    link,
    read_line,
)
from hpcretrain.canonical import sha256
from hpcretrain.errors import LedgerDamagedError, LedgerError
from hpcretrain.records import Advice, Assessment, Outcome, parse

RECORDS = whole_cycle()
Lines = list[bytes]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A ledger of a whole cycle and a few notes."""
    path = tmp_path / "ledger.jsonl"
    ledger = FileLedger(path)
    for record in RECORDS:
        ledger.append([record])
    for number in range(5):
        ledger.note("job_submitted", RECORDS[1].id, attempt=number)
    ledger.close()
    return path


def intact(path: Path) -> bool:
    return all(finding.outcome is Outcome.PASS for finding in verify(path))


def told(path: Path) -> str:
    return "\n".join(finding.reason for finding in verify(path) if finding.outcome is not Outcome.PASS)


def forge(path: Path, content: Lines) -> None:
    """Write lines of another content, numbered and chained as they should be; the anchor is left."""
    heads = {chain: (0, genesis(chain)) for chain in CHAINS}
    with path.open("wb") as file:
        for text in content:
            row = read_line(text)
            assert row
            chain, name, body = (each.decode() for each in (row.chain, row.name, row.body))
            seq, previous = heads[chain]
            heads[chain] = seq + 1, link(previous, seq + 1, name, body)
            file.write(line(chain, seq + 1, name, body, heads[chain][1]) + b"\n")


def rows(path: Path) -> Lines:
    with path.open("rb") as file:
        return [text for text in lines(file.fileno(), 0, path.stat().st_size) if text]


def write_rows(path: Path, content: Lines) -> None:
    path.write_bytes(b"".join(each + b"\n\n" for each in content))


def test_records_come_back_in_order_and_the_same(filled: Path) -> None:
    assert list(FileLedger(filled).records()) == RECORDS
    assert intact(filled)


def test_the_head_depends_on_the_records_alone(filled: Path, tmp_path: Path) -> None:
    for name in ("other", "less"):
        (tmp_path / name).mkdir()
    at_once = FileLedger(tmp_path / "other" / "ledger.jsonl")
    at_once.append(RECORDS)
    assert at_once.head() == FileLedger(filled).head()
    less = FileLedger(tmp_path / "less" / "ledger.jsonl")
    less.append(RECORDS[:-1])
    assert less.head() != at_once.head()


def test_the_head_is_what_it_was_in_earlier_versions() -> None:
    assert link(genesis("decisions"), 1, "signal-1", '{"a":"ü"}') == sha256(
        f"{sha256('hpcretrain decisions')}\n1\nsignal-1\n" + '{"a":"ü"}'
    )


def test_every_line_is_canonical_json(filled: Path) -> None:
    for text in rows(filled):
        content = json.loads(text)
        assert json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == text


def test_a_record_is_written_once(filled: Path) -> None:
    size = filled.stat().st_size
    ledger = FileLedger(filled)
    head = ledger.head()
    ledger.append(RECORDS[3:6])
    assert ledger.head() == head
    assert filled.stat().st_size == size
    assert len(list(ledger.records())) == len(RECORDS)


def test_a_record_that_is_there_with_another_content_is_refused(filled: Path) -> None:
    ledger = FileLedger(filled)
    other = whole_cycle()[3]
    other.__dict__.update(id=RECORDS[3].id, body="{}")
    with pytest.raises(LedgerDamagedError, match="with another content"):
        ledger.append([other])
    assert intact(filled)


def test_notes_are_found_by_event_and_by_what_they_serve(filled: Path) -> None:
    ledger = FileLedger(filled)
    ledger.note("job_finished", RECORDS[2].id, cpu_s=1.5)
    assert [note["attempt"] for note in ledger.notes("job_submitted", RECORDS[1].id)] == [0, 1, 2, 3, 4]
    assert ledger.notes(serves=RECORDS[2].id)[0]["cpu_s"] == 1.5
    assert [note["event"] for note in ledger.notes()] == ["job_submitted"] * 5 + ["job_finished"]
    assert ledger.notes("nothing") == []


def test_an_event_that_would_garble_the_file_is_refused(filled: Path) -> None:
    with pytest.raises(ValueError, match="cannot be the name"):
        FileLedger(filled).note('x","seq":1}\n', "y")
    assert intact(filled)


def test_only_the_owner_may_read(filled: Path) -> None:
    assert os.stat(filled).st_mode & 0o077 == 0
    assert os.stat(anchor_path(filled)).st_mode & 0o077 == 0


def changed(content: bytes, place: int, chance: random.Random) -> bytes:
    """With another byte in a place."""
    return content[:place] + bytes([(content[place] + chance.randrange(1, 256)) % 256]) + content[place + 1 :]


def test_an_anchor_one_step_behind_is_fine_after_a_crash(filled: Path) -> None:
    behind = anchor_path(filled).read_text()
    FileLedger(filled).note("more", "x")
    current = anchor_path(filled).read_text()
    anchor_path(filled).write_text(behind)
    assert intact(filled)
    assert "1 of them the anchor does not know" in verify(filled)[1].reason
    assert json.loads(behind)["operations"][0] == 5
    FileLedger(filled).close()
    assert anchor_path(filled).read_text() == current, "the next writer brings it up to date"


def test_an_anchor_ahead_of_the_ledger_is_damage(filled: Path) -> None:
    content = filled.read_bytes()
    FileLedger(filled).note("more", "x")
    filled.write_bytes(content)
    assert "the anchor knows row 6" in told(filled)
    with pytest.raises(LedgerDamagedError, match="was cut off or altered"):
        FileLedger(filled)


def test_two_processes_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    FileLedger(path).close()
    code = (
        "import sys; from pathlib import Path; from hpcretrain.adapters.ledger import FileLedger\n"
        "ledger = FileLedger(Path(sys.argv[1]))\n"
        "for number in range(40): ledger.note('n', sys.argv[2], number=number)\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    reader = FileLedger(path, read_only=True)
    while any(writer.poll() is None for writer in writers):
        assert intact(path)
        numbers = [note["number"] for note in reader.notes("n", "a")]
        assert numbers == list(range(len(numbers)))
    assert [writer.returncode for writer in writers] == [0, 0]
    assert intact(path)
    assert len(FileLedger(path).notes("n")) == 80


def test_a_writer_that_is_killed_at_any_moment_leaves_whole_writes(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    FileLedger(path).close()
    code = (
        "import sys; from pathlib import Path; from hpcretrain.adapters.ledger import FileLedger\n"
        "ledger = FileLedger(Path(sys.argv[1]))\n"
        "while True: ledger.note_each('n', {str(part): {'text': 'x' * 3000} for part in range(3)})\n"
    )
    chance = random.Random(3)
    for _ in range(6):
        before = path.stat().st_size
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)])
        while path.stat().st_size == before:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.02))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert intact(path)
        served = [note["serves"] for note in FileLedger(path, read_only=True).notes("n")]
        assert served == ["0", "1", "2"] * (len(served) // 3)
    ledger = FileLedger(path)
    ledger.note("last", "x")
    assert intact(path)
    assert [note["event"] for note in ledger.notes()][-1] == "last"


def test_a_write_cut_short_anywhere_counts_for_nothing_and_is_removed(filled: Path) -> None:
    before, anchor = filled.read_bytes(), anchor_path(filled).read_bytes()
    ledger = FileLedger(filled)
    ledger.note_each("n", {"a": {"text": "x" * 50}, "b": {"text": "y" * 50}})
    ledger.close()
    after = filled.read_bytes()
    for end in [*range(len(before), len(after) - 10, 7), *range(len(after) - 10, len(after) - 2)]:
        # Blocks that never came to the disk read as zeros.
        for rest in (b"", b"\0" * (len(after) - end), b"\0" * (len(after) - end - 2) + b"\n\n"):
            filled.write_bytes(after[:end] + rest)
            anchor_path(filled).write_bytes(anchor)
            assert intact(filled)
            assert FileLedger(filled, read_only=True).notes("n") == []
    again = FileLedger(filled)
    again.note("n", "c")
    assert [note["serves"] for note in again.notes("n")] == ["c"]
    assert intact(filled)
    assert filled.read_bytes().startswith(before)


def test_a_full_disk_loses_nothing_and_writes_nothing_by_halves(filled: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from hpcretrain.adapters.ledger import FileLedger\n"
        "from hpcretrain.errors import LedgerError\n"
        "path = Path(sys.argv[1]); ledger = FileLedger(path); size = path.stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 700, resource.RLIM_INFINITY))\n"
        "try: ledger.note('n', 'x', text='y' * 1000)\n"
        "except LedgerError as error: print(error)\n"
        "assert path.stat().st_size == size\n"
        "ledger.note('short', 'x')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(filled)], capture_output=True, text=True, check=True)
    assert "File too large; nothing was written" in done.stdout
    assert intact(filled)
    assert [note["event"] for note in FileLedger(filled).notes()][-1] == "short"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_disk_that_is_full_in_earnest_is_told_and_the_ledger_goes_on_once_there_is_room(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        path = small / "ledger.jsonl"
        ledger, written = FileLedger(path), 1000
        with contextlib.suppress(LedgerError):
            for written in range(1000):
                ledger.note("n", "x", number=written, text="y" * 1000)
        with pytest.raises(LedgerError, match="No space left"):
            ledger.note("n", "x", text="y" * 10_000)
        assert intact(path)
        # The last may have come to the disk where only its anchor did not.
        assert written < len(ledger.notes("n")) + 1 <= written + 2
        subprocess.run(["mount", "-o", "remount,size=1m", str(small)], check=True)
        ledger.note("n", "x", number=-1)
        assert intact(path)
        assert ledger.notes("n")[-1]["number"] == -1
        ledger.close()
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_ledger_that_cannot_be_written_says_so_and_keeps_what_it_has(filled: Path) -> None:
    ledger = FileLedger(filled, read_only=True)
    with pytest.raises(LedgerError, match="nothing was written") as refused:
        ledger.note("n", "x")
    assert not isinstance(refused.value, LedgerDamagedError), "it may go better another time"
    assert intact(filled)


def test_what_passes_is_told_from_damage(filled: Path) -> None:
    in_the_way = filled.parent / f".anchor.json.{os.getpid()}"
    ledger = FileLedger(filled)
    in_the_way.mkdir()
    with pytest.raises(LedgerError, match="the ledger itself is whole") as refused:
        ledger.note("n", "x")
    assert not isinstance(refused.value, LedgerDamagedError)
    ledger.close()
    in_the_way.rmdir()
    FileLedger(filled).close()
    anchor = anchor_path(filled)
    anchor.rename(filled.parent / "away")
    anchor.mkdir()
    with pytest.raises(LedgerError, match="cannot be read") as refused:
        FileLedger(filled)
    assert not isinstance(refused.value, LedgerDamagedError)
    anchor.rmdir()
    (filled.parent / "away").rename(anchor)
    content = filled.read_bytes()
    filled.write_bytes(content[:100] + b"\xff" * 4_000 + content[4_100:])
    with pytest.raises(LedgerDamagedError, match="audit verify"):
        FileLedger(filled)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_cut_off_end_is_not_hidden_by_writing_on(filled: Path, chain: str) -> None:
    kept = [text for text in rows(filled) if (row := read_line(text)) and (row.chain.decode() != chain or row.seq <= 3)]
    write_rows(filled, kept)
    with pytest.raises(LedgerDamagedError, match="was cut off or altered"):
        FileLedger(filled)
    assert f"the end of {chain} was cut off" in told(filled)


def test_a_ledger_that_shrinks_while_it_is_open_is_not_written_on(filled: Path) -> None:
    ledger = FileLedger(filled)
    os.truncate(filled, filled.stat().st_size // 2)
    with pytest.raises(LedgerDamagedError, match="was cut off while it was open"):
        ledger.note("n", "x")


def test_a_lost_anchor_is_told_and_not_made_anew(filled: Path) -> None:
    anchor_path(filled).unlink()
    assert "so a cut-off end cannot be seen" in told(filled)
    with pytest.raises(LedgerDamagedError, match="is missing"):
        FileLedger(filled)


def test_a_new_ledger_is_intact(tmp_path: Path) -> None:
    FileLedger(tmp_path / "ledger.jsonl").close()
    assert intact(tmp_path / "ledger.jsonl")


def test_a_record_keeps_the_bytes_that_an_earlier_version_wrote(tmp_path: Path) -> None:
    body = RECORDS[0].body.replace('"kind":', '"from_a_version_that_is_gone":1,"kind":')
    assert parse(body).body == body
    assert parse(body).id.endswith(sha256(body)[:16])


def test_an_assessment_of_earlier_rules_can_be_read_and_keeps_its_identifier() -> None:
    body = (
        '{"answers":["signal-1"],"at":"2024-01-08T00:00:00Z","contributions":{"freshness":40,"performance":360},'
        '"findings":[],"kind":"assessment","levels":{},"model":"m","score":400}'
    )
    record = parse(body)
    assert isinstance(record, Assessment)
    assert (record.decline, record.fresh, record.action) == (400, 40, Advice.RETRAIN)
    assert record.id == f"assessment-{sha256(body)[:16]}"


def test_a_changed_byte_anywhere_never_ends_in_a_traceback(filled: Path) -> None:
    chance = random.Random(4)
    for place in chance.sample(range(filled.stat().st_size), 100):
        content = filled.read_bytes()
        filled.write_bytes(changed(content, place, chance))
        for read_only in (True, False):
            try:
                ledger = FileLedger(filled, read_only=read_only)
                list(ledger.records())
                ledger.notes()
            except LedgerError:
                pass
        filled.write_bytes(content)

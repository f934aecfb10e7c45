from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest
from whole_cycle import whole_cycle

from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.adapters.ledger_rows import (
    CHAINS,
    anchor_path,
    anchor_text,
    genesis,
    line,
    lines,
    link,
    read_anchor,
    read_line,
)
from hpcretrain.canonical import sha256
from hpcretrain.errors import LedgerDamagedError
from hpcretrain.ports import Note
from hpcretrain.records import Outcome

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


def changed(content: bytes, place: int, chance: random.Random) -> bytes:
    """With another byte in a place."""
    return content[:place] + bytes([(content[place] + chance.randrange(1, 256)) % 256]) + content[place + 1 :]


def test_a_removed_reordered_inserted_or_cut_off_row_is_found(filled: Path) -> None:
    whole = rows(filled)
    decisions = len(RECORDS)
    changes: list[Lines] = [
        *(whole[:place] + whole[place + 1 :] for place in range(len(whole))),
        *([*whole[:place], whole[place + 1], whole[place], *whole[place + 2 :]] for place in range(decisions - 1)),
        *([*whole[:place], whole[3], *whole[place:]] for place in range(len(whole) + 1)),
        *(whole[:place] for place in range(len(whole))),
        [],
    ]
    for content in changes:
        write_rows(filled, content)
        assert not intact(filled)
        # With all hashes made anew the ledger is one that might have been; the anchor knows better.
        forge(filled, content)
        assert not intact(filled) or content[:-1] == whole
    write_rows(filled, whole)
    assert intact(filled)


def test_rows_of_different_chains_that_change_places_are_found(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = FileLedger(path)
    for number, record in enumerate(RECORDS):
        note = Note("model_kept", record.id, {"number": number}) if number % 3 == 0 else None
        ledger.append([record], note)
        if number % 2:
            ledger.note("job_submitted", record.id, attempt=number)
    assert ledger.notes("model_kept")[0].keys() == {"event", "serves", "at", "number"}, "what is for the proof alone"
    ledger.close()
    whole = path.read_bytes().split(b"\n")
    chains = [each.partition(b'"chain":"')[2][:4] for each in whole]
    pairs = [
        (one, other)
        for one in range(len(whole))
        for other in range(one + 1, min(one + 4, len(whole)))
        if whole[one] and whole[other] and chains[one] != chains[other]
    ]
    assert len(pairs) > 10
    for one, other in pairs:
        moved = list(whole)
        moved[one], moved[other] = moved[other], moved[one]
        path.write_bytes(b"\n".join(moved))
        assert "moved" in told(path), (one, other)
    path.write_bytes(b"\n".join(whole))
    assert intact(path)


def test_moved_between_chains_a_row_is_found(filled: Path) -> None:
    write_rows(filled, [each.replace(b'"chain":"operations"', b'"chain":"decisions"') for each in rows(filled)])
    assert not intact(filled)


def test_ten_thousand_single_changed_bytes_are_all_found(tmp_path: Path) -> None:
    path, chance = tmp_path / "ledger.jsonl", random.Random(1)
    ledger = FileLedger(path)
    ledger.append(RECORDS[:6], Note("long", "x", {"text": "caf\ufffd! " * 200}))
    ledger.append(RECORDS[6:9])
    ledger.note("short", "x")
    ledger.close()
    with path.open("rb+", 0) as one, anchor_path(path).open("rb+", 0) as other:
        places = [(file, place) for file in (one, other) for place in range(os.fstat(file.fileno()).st_size)]
        for file, place in chance.choices(places, k=10_000):
            usual = os.pread(file.fileno(), 1, place)
            os.pwrite(file.fileno(), changed(usual, 0, chance), place)
            assert not intact(path), f"byte {place} of {file.name}"
            os.pwrite(file.fileno(), usual, place)
    assert intact(path)


def test_every_bit_of_the_beginning_and_the_end_counts(filled: Path) -> None:
    content = filled.read_bytes()
    for place in [*range(20), *range(len(content) - 150, len(content))]:
        for bit in range(8):
            with filled.open("rb+") as file:
                os.pwrite(file.fileno(), bytes([content[place] ^ 1 << bit]), place)
            assert not intact(filled), f"bit {bit} of byte {place}"
        with filled.open("rb+") as file:
            os.pwrite(file.fileno(), content[place : place + 1], place)
    assert intact(filled)


def test_a_removed_or_inserted_byte_is_found(filled: Path) -> None:
    content = filled.read_bytes()
    chance = random.Random(2)
    ends = [place for place in range(len(content)) if content[place : place + 1] == b"\n"]
    for place in [*ends, *chance.sample(range(len(content)), 50)]:
        filled.write_bytes(content[:place] + content[place + 1 :])
        assert not intact(filled), f"without byte {place}"
        for inserted in (b"\n", b" ", b"\0"):
            filled.write_bytes(content[:place] + inserted + content[place:])
            assert not intact(filled), f"with {inserted!r} at {place}"


def test_what_is_no_ledger_is_told_and_not_raised(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b"not a ledger\n\n" * 1000)
    anchor_path(path).write_text(anchor_text({chain: (0, genesis(chain)) for chain in CHAINS}, 0))
    assert "no row of a ledger" in told(path)
    with pytest.raises(LedgerDamagedError, match="no row of a ledger"):
        FileLedger(path, read_only=True)
    assert "cannot be read" in told(tmp_path / "none.jsonl")


def test_what_is_zero_before_the_anchor_is_damage(filled: Path) -> None:
    content = filled.read_bytes()
    filled.write_bytes(content[:-200] + b"\0" * 198 + b"\n\n")
    assert not intact(filled)


@pytest.mark.parametrize("body", ["[]", "1", "{}", '{"kind":[]}', '{"kind":"signal"}', "no JSON", "[" * 100_000])
def test_what_is_no_record_is_told_even_if_its_hash_is_right(filled: Path, body: str) -> None:
    seq, previous = read_anchor(filled).heads["decisions"]
    name = f"signal-{sha256(body)[:16]}"
    with filled.open("ab") as file:
        file.write(line("decisions", seq + 1, name, body, link(previous, seq + 1, name, body)) + b"\n")
    if body != '{"kind":"signal"}':
        assert f"row {seq + 1} of decisions (line" in told(filled)
    with pytest.raises(LedgerDamagedError, match=f"row {seq + 1} of decisions"):
        list(FileLedger(filled, read_only=True).records())


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        ("signal-0000000000000000", '{"kind":"signal"}', "which its content does not give"),
        ("thing-{}", '{"kind":"thing"}', "is no record"),
        ("signal-{}", '{"kind": "signal"}', "is no signal"),
        ("signal-{}", '{"kind":"signal","a":1}', "no object in canonical JSON"),
        ("signal-{}", '{"a":1.0,"a":1.0,"kind":"signal"}', "no object in canonical JSON"),
        ("signal-{}", '{"a":NaN,"kind":"signal"}', "no JSON"),
        ("signal-{}", '{"a":"\\u00fc","kind":"signal"}', "no object in canonical JSON"),
    ],
)
def test_a_record_that_is_misnamed_or_not_canonical_is_told(filled: Path, name: str, body: str, problem: str) -> None:
    seq, previous = read_anchor(filled).heads["decisions"]
    name = name.format(sha256(body)[:16])
    with filled.open("ab") as file:
        file.write(line("decisions", seq + 1, name, body, link(previous, seq + 1, name, body)) + b"\n")
    assert problem in told(filled)


@pytest.mark.parametrize(
    "number", ["1e+16", "1e-07", "123456789012345680000", "-0.0", "1.5", "12345678901234567890123"]
)
def test_numbers_are_canonical_as_python_writes_them(tmp_path: Path, number: str) -> None:
    ledger = FileLedger(tmp_path / "ledger.jsonl")
    ledger.note("n", "x", number=json.loads(number))
    assert intact(tmp_path / "ledger.jsonl")


@pytest.mark.parametrize(
    "anchor", ["[]", "Infinity", '{"decisions":[Infinity,""],"operations":[1,""]}', "[" * 100_000, "{}", "\ud800"]
)
def test_a_garbled_anchor_is_told(filled: Path, anchor: str) -> None:
    anchor_path(filled).write_text(anchor, errors="surrogatepass")
    assert any(finding.check == "anchor" for finding in verify(filled))
    with pytest.raises(LedgerDamagedError):
        FileLedger(filled)

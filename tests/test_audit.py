from __future__ import annotations

import hashlib
import importlib.util
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from audited import SCRIPT, Run, make_anew, make_home, verify_export
from tables import configure, orders
from whole_cycle import whole_cycle

from hpcretrain.adapters import anchors
from hpcretrain.adapters.home import Home
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.records import Outcome, Release

RECORDS = whole_cycle()
RELEASES = [record for record in RECORDS if isinstance(record, Release)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return make_home(tmp_path / "home")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def drop_a_note(rows: list[tuple[str, str, str]]) -> None:
    rows.remove(next(row for row in rows if row[0] == "operations"))


def test_a_ledger_that_was_made_anew_is_found_by_the_anchor_elsewhere(home: Path, elsewhere: Path, run: Run) -> None:
    make_anew(home, lambda rows: None)
    assert run.wrong(home) == ""
    run("audit", "anchor", elsewhere, "--home", home)
    assert run.wrong(home) == ""
    make_anew(home, drop_a_note)
    assert "the ledger was made anew" in run.wrong(home)
    # Nor does it help to have the home forget where its anchors are.
    (home / anchors.SETTING).unlink()
    assert run.wrong(home) == ""
    assert "the ledger was made anew" in run.wrong(home, "--anchors", elsewhere)
    (home / anchors.KEY).unlink()
    assert "the ledger was made anew" in run.wrong(home, "--anchors", elsewhere)


def test_a_cut_off_end_is_found_by_the_anchor_elsewhere(home: Path, elsewhere: Path, run: Run) -> None:
    run("audit", "anchor", elsewhere, "--home", home)
    make_anew(home, lambda rows: rows.__delitem__(slice(-3, None)))
    assert run.wrong(home)


def test_anchors_that_were_altered_removed_or_moved_are_found(home: Path, elsewhere: Path, run: Run) -> None:
    for _ in range(4):
        file = Path(run("audit", "anchor", elsewhere, "--home", home)["file"])
    whole = file.read_text().splitlines(keepends=True)
    assert len(whole) == 4
    changes = [
        whole[:-1],
        [],
        whole[1:],
        [whole[0], *whole[2:]],
        [whole[1], whole[0], *whole[2:]],
        [*whole, whole[-1]],
        [*whole[:-1], whole[-1].replace('"model":"orders"', '"model":"Orders"')],
        [*whole[:-1], whole[-1].replace('"signature":"', '"signature":"0')],
        [*whole[:-1], "garbled\n"],
        [*whole[:2], "garbled\n", whole[3]],
    ]
    for content in changes:
        file.write_text("".join(content))
        assert "anchors: " in run.wrong(home)
    # One that was cut short in being written is none, and the next stands alone.
    file.write_text("".join(whole) + whole[-1][:40])
    assert run.wrong(home) == ""
    run("audit", "anchor", "--home", home)
    assert run.wrong(home) == ""
    file.unlink()
    assert "holds no anchors signed by the key of this home" in run.wrong(home)


def test_any_changed_byte_of_the_anchors_is_found(home: Path, elsewhere: Path, run: Run) -> None:
    for _ in range(2):
        file = Path(run("audit", "anchor", elsewhere, "--home", home)["file"])
    noted = anchors.newest_noted(FileLedger(Home(home).ledger, read_only=True))
    content, chance = file.read_bytes(), random.Random(1)
    known = anchors.find(home, elsewhere)
    assert isinstance(known, anchors.Kept)
    hashes = {(chain, head[0]): head[1] for each in known.lines for chain, head in each.heads.items()}
    assert anchors.agree(known, hashes, noted).outcome is Outcome.PASS
    for place in chance.sample(range(len(content)), 200):
        changed = bytearray(content)
        changed[place] ^= 1 << chance.randrange(8)
        file.write_bytes(changed)
        found = anchors.find(home, elsewhere)
        assert isinstance(found, anchors.Kept)
        assert anchors.agree(found, hashes, noted).outcome is Outcome.FAIL, f"byte {place}"


def test_anchors_of_another_key_are_not_taken_for_ours(home: Path, elsewhere: Path, run: Run) -> None:
    file = Path(run("audit", "anchor", elsewhere, "--home", home)["file"])
    (home / anchors.KEY).unlink()
    make_anew(home, drop_a_note)
    forged = Path(run("audit", "anchor", elsewhere, "--home", home)["file"])
    assert forged != file
    # Put in the place of the true one, under its name and key.
    file.write_bytes(forged.read_bytes())
    forged.unlink()
    assert "holds no anchors signed by the key of this home" in run.wrong(home)
    forged.with_suffix(".pub").replace(file.with_suffix(".pub"))
    (home / anchors.KEY).unlink()
    assert "its signature does not hold" in run.wrong(home)


def test_the_key_is_the_owners_alone_and_lies_not_elsewhere(home: Path, elsewhere: Path, run: Run) -> None:
    told = run("audit", "anchor", elsewhere, "--home", home)
    assert (home / anchors.KEY).stat().st_mode & 0o777 == 0o600
    assert "PUBLIC" in Path(told["key"]).read_text()
    assert all("PRIVATE" not in path.read_text() for path in elsewhere.iterdir())


def test_a_folder_that_proves_nothing_or_cannot_be_used_is_refused(home: Path, tmp_path: Path, run: Run) -> None:
    for folder, told in ((home / "models", "lies in the home"), (tmp_path / "none", "is no folder")):
        run("audit", "anchor", folder, "--home", home, code=2)
        assert told in run.err
    run("audit", "anchor", "--home", home, code=2)
    assert "keeps no anchors" in run.err


def test_a_release_is_anchored_once_and_never_held_up(tmp_path: Path, elsewhere: Path) -> None:
    told: list[str] = []
    place = tmp_path / "home"
    place.mkdir()
    ledger = FileLedger(place / "ledger.jsonl")
    ledger.append(RECORDS)
    kept = anchors.Anchors(place, ledger, "m", told.append)
    kept.keep(RELEASES[0])
    assert not list(elsewhere.iterdir())
    anchors.set_folder(place, elsewhere)
    for _ in range(2):
        kept.keep(RELEASES[0])
    anchors.Anchors(place, ledger, "m").keep(RELEASES[0])
    (file,) = elsewhere.glob("*.jsonl")
    assert len(file.read_text().splitlines()) == 1
    gone = elsewhere.rename(tmp_path / "gone")
    for _ in range(2):
        kept.keep(RELEASES[1])
    assert len(told) == 1
    assert "the next step tries again" in told[0]
    assert [note["serves"] for note in ledger.notes("anchor_failed")] == [RELEASES[1].id]
    found = anchors.find(place, gone)
    assert isinstance(found, anchors.Kept)
    behind = anchors.late(found, RELEASES[:2])
    assert behind is not None
    assert behind.outcome is Outcome.WAIT
    assert RELEASES[1].id in behind.reason
    gone.rename(elsewhere)
    kept.keep(RELEASES[1])
    assert len(file.read_text().splitlines()) == 2
    found = anchors.find(place, elsewhere)
    assert isinstance(found, anchors.Kept)
    assert anchors.late(found, RELEASES[:2]) is None


@pytest.mark.parametrize("content", ["[]", "{}", "garbled", '{"folder":3}'])
def test_a_garbled_setting_holds_no_release_up(tmp_path: Path, content: str) -> None:
    ledger = FileLedger(tmp_path / "ledger.jsonl")
    ledger.append(RECORDS)
    (tmp_path / anchors.SETTING).write_text(content)
    anchors.Anchors(tmp_path, ledger, "m").keep(RELEASES[0])
    assert ledger.notes("anchor_failed")


def test_a_home_that_lives_anchors_its_release_and_goes_on_where_it_is_restored(
    tmp_path: Path, elsewhere: Path, run: Run
) -> None:
    config = configure(tmp_path, orders(rows=3_000, minutes=32))
    home, again = tmp_path / "home", tmp_path / "again"
    run("live", config, "--home", home, "--from", "2024-02-12", "--speed", "1")
    run("audit", "anchor", elsewhere, "--home", home)
    told = run("tick", "--home", home)
    (file,) = elsewhere.glob("orders-*.jsonl")
    assert [json.loads(text)["release"] for text in file.read_text().splitlines()] == ["", told["serves"]]
    assert run.wrong(home) == ""
    run("backup", tmp_path / "home.tar", "--home", home)
    run("restore", tmp_path / "home.tar", "--home", again)
    gone_on = run("tick", "--home", again)
    assert (gone_on["serves"], gone_on["ledger_head"]) == (told["serves"], told["ledger_head"])
    assert len(FileLedger(Home(again).ledger).notes("job_finished")) == len(
        FileLedger(Home(home).ledger).notes("job_finished")
    )
    assert run.wrong(again) == ""


def test_an_export_is_verified_by_a_short_program_of_its_own(
    home: Path, elsewhere: Path, tmp_path: Path, run: Run
) -> None:
    assert len(SCRIPT.read_text().splitlines()) < 105
    assert "import hpcretrain" not in SCRIPT.read_text()
    signed = Path(run("audit", "anchor", elsewhere, "--home", home)["file"])
    file = tmp_path / "export.jsonl"
    told = run("audit", "export", file, "--home", home)
    head = run("status", "--home", home)["ledger_head"]
    assert told["decisions"]["head"] == head
    done = verify_export(file, signed)
    assert (done.returncode, done.stdout) == (0, "whole: every row follows from the one before it\n")
    (tmp_path / "cryptography.py").write_text("raise ImportError('there is no cryptography')")
    unsigned = verify_export(file, signed, first_path=tmp_path)
    assert (unsigned.returncode, unsigned.stdout, unsigned.stderr) == (2, "", "there is no cryptography\n")
    run("audit", "export", file, "--home", home, code=2)
    assert "is there already" in run.err
    whole = file.read_text().splitlines(keepends=True)
    changes = {
        "altered": [*whole[:5], whole[5].replace('"', "'", 1), *whole[6:]],
        "renamed": [*whole[:5], whole[5].replace('"name":"', '"name":"x'), *whole[6:]],
        "removed": [*whole[:5], *whole[6:]],
        "reordered": [*whole[:1], whole[2], whole[1], *whole[3:]],
        "inserted": [*whole[:7], whole[3], *whole[7:]],
        "truncated": [*whole[:-2], whole[-1]],
        "without its end": whole[:-1],
        "another end": [*whole[:-1], whole[-1].replace(head, "0" * 64)],
        "another beginning": [whole[0].replace("hpcretrain", "Hpcretrain"), *whole[1:]],
        "nothing": [],
    }
    chains = [each.count('"chain":"operations"') for each in whole]
    between = next(number for number in range(2, len(whole) - 2) if chains[number] != chains[number + 1])
    moved = [*whole[:between], whole[between + 1], whole[between], *whole[between + 2 : -1]]
    end = json.loads(whole[-1]) | {"sha256": hashlib.sha256("".join(moved).encode()).hexdigest()}
    changes["moved between the chains"] = [*moved, json.dumps(end) + "\n"]
    for change, content in changes.items():
        file.write_text("".join(content))
        assert verify_export(file).returncode == 1, change
    make_anew(home, drop_a_note)
    file.unlink()
    run("audit", "export", file, "--home", home)
    assert verify_export(file).returncode == 0
    assert "is another, or missing" in verify_export(file, signed).stdout
    signed.write_text(signed.read_text().replace('"model":"orders"', '"model":"Orders"'))
    assert "its signature does not hold" in verify_export(file, signed).stdout


def load_script() -> Any:
    spec = importlib.util.spec_from_file_location("verify_export", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A byte changed, or something cut out or off; more than the last line feed."""
    at = chance.randrange(len(content) - 1)
    how = chance.randrange(3)
    if how == 0:
        return content[:at] + bytes([content[at] ^ chance.randrange(1, 256)]) + content[at + 1 :]
    return content[:at] + (b"" if how == 1 else content[chance.randrange(at, len(content)) + 1 :])


def test_damage_to_an_export_is_told_by_lines_never_by_a_traceback(
    home: Path, elsewhere: Path, tmp_path: Path, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    signed = Path(run("audit", "anchor", elsewhere, "--home", home)["file"])
    run("audit", "anchor", "--home", home)
    file = tmp_path / "export.jsonl"
    run("audit", "export", file, "--home", home)
    main, chance = load_script().main, random.Random(6)
    assert main(file, signed) == 0
    for victim in (file, signed):
        whole = victim.read_bytes()
        for _ in range(150):
            victim.write_bytes(damaged(whole, chance))
            capsys.readouterr()
            assert main(file, signed) == 1
            told = capsys.readouterr().out.splitlines()
            assert told
            assert all(re.search(r"line \d+: ", each) for each in told)
        victim.write_bytes(whole)
    first, second = signed.read_bytes().splitlines(keepends=True)
    signed.write_bytes(second)
    assert "line 1: does not follow" in verify_export(file, signed).stdout
    signed.write_bytes(first[:50] + b"\n" + first + second)
    assert main(file, signed) == 0
    for content, said in ((b"", "line 1: cut short"), (b"\xff\n", "line 1: cut short")):
        file.write_bytes(content)
        done = verify_export(file)
        assert (done.returncode, done.stderr) == (1, "")
        assert said in done.stdout
    for wrong in ([], [tmp_path / "none"], [tmp_path], [file, tmp_path / "none"], [file, file, file]):
        done = verify_export(*wrong)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_a_damaged_ledger_is_not_exported(home: Path, tmp_path: Path, run: Run) -> None:
    ledger = Home(home).ledger
    ledger.write_bytes(ledger.read_bytes().replace(b'"outcome":"pass"', b'"outcome":"fail"', 1))
    run("audit", "export", tmp_path / "export.jsonl", "--home", home, code=3)
    assert "nothing was exported" in run.err
    assert not list(tmp_path.glob("*export*"))

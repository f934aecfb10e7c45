from __future__ import annotations

import io
import json
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ledgers_before import keep_as_before
from tables import configure, orders
from test_cycle import whole_cycle

from hpcretrain.adapters import anchors
from hpcretrain.adapters.home import Home
from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.adapters.ledger_rows import CHAINS, anchor_path, anchor_text, genesis, line, lines, link, read_line
from hpcretrain.cli import main
from hpcretrain.errors import InputError
from hpcretrain.node.model import Manifest, seal
from hpcretrain.ports import Note
from hpcretrain.records import RULE_VERSION, Outcome, Release

SCRIPT = Path(__file__).parents[1] / "docs" / "reference" / "verify_export.py"
RECORDS = whole_cycle()
RELEASES = [record for record in RECORDS if isinstance(record, Release)]


IDENTITY = {"model": "orders", "configuration": "c", "policy": "p", "data": "d", "rules": RULE_VERSION}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the records of a whole cycle, notes, and models of a line each."""
    path = tmp_path / "home"

    def model(name: str) -> str:
        folder = place.models / "new"
        folder.mkdir(exist_ok=True)
        (folder / "model.txt").write_text(f"model {name} 0.5")
        digest = seal(folder, Manifest("r", {}, "binary", ("a",), ()))
        if not (place.models / digest).exists():
            folder.rename(place.models / digest)
        else:
            shutil.rmtree(folder)
        return digest

    with Home.open(path, IDENTITY) as place:
        (place.profiles / "profile.bin").write_bytes(b"profile" * 1000)
        (place.mlflow / "artifacts").mkdir()
        (place.mlflow / "artifacts" / "picture.png").write_bytes(b"picture")
        with closing(sqlite3.connect(place.mlflow / "mlflow.db")) as database:
            database.execute("CREATE TABLE runs AS SELECT 1 AS run")
            database.commit()
        ledger = FileLedger(place.ledger)
        for record in whole_cycle(model):
            ledger.append([record], Note("seen", record.id, {}))
        ledger.close()
    return path


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    return folder


class Run:
    """Runs commands, and keeps what they printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = self.out = ""

    def __call__(self, *arguments: str | Path, code: int = 0) -> Any:
        found = main([*map(str, arguments), "--json"])
        self.out, self.err = self._capsys.readouterr()
        assert found == code, self.out + self.err
        return json.loads(self.out) if self.out else None

    def wrong(self, home: Path, *arguments: str | Path) -> str:
        """What `audit verify` finds wrong; empty if nothing is."""
        found = main(["audit", "verify", "--home", str(home), *map(str, arguments), "--json"])
        told = json.loads(self._capsys.readouterr().out)
        assert found == (not told["intact"])
        return "\n".join(
            f"{each['check']}: {each['reason']}" for each in told["findings"] if each["outcome"] not in ("pass", "wait")
        )


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(capsys)


def make_anew(home: Path, change: Callable[[list[tuple[str, str, str]]], None]) -> None:
    """As somebody who may write all of a home would make its ledger anew: every hash and the anchor fit."""
    path = Home(home).ledger
    with path.open("rb") as file:
        read = [read_line(text) for text in lines(file.fileno(), 0, path.stat().st_size) if text]
    rows = [(row.chain.decode(), row.name.decode(), row.body.decode()) for row in read if row]
    change(rows)
    heads = {chain: (0, genesis(chain)) for chain in CHAINS}
    with path.open("wb") as file:
        for chain, name, body in rows:
            seq, previous = heads[chain]
            heads[chain] = seq + 1, link(previous, seq + 1, name, body)
            file.write(line(chain, seq + 1, name, body, heads[chain][1]) + b"\n")
    anchor_path(path).write_text(anchor_text(heads, path.stat().st_size))


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


def verify_export(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


def test_an_export_is_verified_by_a_short_program_of_its_own(
    home: Path, elsewhere: Path, tmp_path: Path, run: Run
) -> None:
    assert len(SCRIPT.read_text().splitlines()) < 75
    assert "import hpcretrain" not in SCRIPT.read_text()
    signed = Path(run("audit", "anchor", elsewhere, "--home", home)["file"])
    file = tmp_path / "export.jsonl"
    told = run("audit", "export", file, "--home", home)
    head = run("status", "--home", home)["ledger_head"]
    assert told["decisions"]["head"] == head
    done = verify_export(file, signed)
    assert (done.returncode, done.stdout) == (0, "whole: every row follows from the one before it\n")
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


def test_a_damaged_ledger_is_not_exported(home: Path, tmp_path: Path, run: Run) -> None:
    ledger = Home(home).ledger
    ledger.write_bytes(ledger.read_bytes().replace(b'"outcome":"pass"', b'"outcome":"fail"', 1))
    run("audit", "export", tmp_path / "export.jsonl", "--home", home, code=3)
    assert "nothing was exported" in run.err
    assert not list(tmp_path.glob("*export*"))


def contents(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for folder in ("models", "profiles", "mlflow/artifacts", ".")
        for path in ((home / folder).rglob("*") if folder != "." else home.glob("*.json"))
        if path.is_file() and path.name not in ("anchor.json",)
    }


def test_what_is_restored_is_what_was_backed_up(home: Path, elsewhere: Path, tmp_path: Path, run: Run) -> None:
    run("audit", "anchor", elsewhere, "--home", home)
    told = run("backup", tmp_path / "home.tar", "--home", home)
    assert (tmp_path / "home.tar").stat().st_mode & 0o777 == 0o600
    again = tmp_path / "again" / "home"
    restored = run("restore", tmp_path / "home.tar", "--home", again)
    assert restored["ledger_head"] == told["ledger_head"] == run("status", "--home", home)["ledger_head"]
    assert contents(again) == contents(home)
    assert Home(again).ledger.read_bytes().startswith(Home(home).ledger.read_bytes())
    assert run.wrong(again) == ""
    assert again.stat().st_mode & 0o077 == 0
    assert run("served", "--home", again) == run("served", "--home", home)
    # What it was restored from stands in it.
    assert FileLedger(Home(again).ledger).notes("home_restored")[0]["backup"] == told["at"]


def test_a_backup_leaves_the_files_of_processes_out(home: Path, tmp_path: Path, run: Run) -> None:
    (home / "mlflow-server").mkdir()
    (home / "mlflow-server" / "password").write_text("secret")
    (home / ".half.part").write_text("x")
    with socket.socket(socket.AF_UNIX) as opened:
        here = Path.cwd()
        os.chdir(home)
        opened.bind("controller.sock")
        os.chdir(here)
        run("backup", tmp_path / "home.tar", "--home", home)
    with tarfile.open(tmp_path / "home.tar") as archive:
        names = archive.getnames()
    assert {"ledger.jsonl", "anchor.json", "home.json", "mlflow/mlflow.db"} <= set(names)
    assert not [name for name in names if name.startswith(("spool", "mlflow-server", ".", "home.lock", "controller"))]


def test_a_backup_is_whole_while_the_ledger_is_written(home: Path, tmp_path: Path, run: Run) -> None:
    code = (
        "import sys; from pathlib import Path; from hpcretrain.adapters.ledger import FileLedger\n"
        "ledger = FileLedger(Path(sys.argv[1]))\n"
        "while True: ledger.note('n', 'x', text='y' * 2000)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code, str(Home(home).ledger)])
    try:
        size = Home(home).ledger.stat().st_size
        while Home(home).ledger.stat().st_size == size:
            pass
        for number in range(3):
            run("backup", tmp_path / f"{number}.tar", "--home", home)
    finally:
        writer.kill()
        writer.wait()
    run("restore", tmp_path / "2.tar", "--home", tmp_path / "again")
    assert run.wrong(tmp_path / "again") == ""


def test_a_damaged_home_is_not_backed_up(home: Path, tmp_path: Path, run: Run) -> None:
    model = next((home / "models").rglob("model.txt"))
    model.write_text(model.read_text().replace("0.", "1.", 1))
    run("backup", tmp_path / "home.tar", "--home", home, code=2)
    assert "the files were altered" in run.err
    assert {path.name for path in tmp_path.iterdir()} == {"home"}


def test_a_damaged_backup_is_refused_and_leaves_nothing(home: Path, tmp_path: Path, run: Run) -> None:
    file = tmp_path / "home.tar"
    run("backup", file, "--home", home)
    content, chance = file.read_bytes(), random.Random(1)
    with tarfile.open(file) as archive:
        # Between what an archive holds lie bytes that mean nothing.
        inside = [range(each.offset_data, each.offset_data + each.size) for each in archive]
    sizes = [len(each) for each in inside]
    places = [chance.choice(each) for each in chance.choices(inside, sizes, k=12)]
    for damaged in (
        *(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :] for place in places),
        content[: len(content) // 2],
        content[: inside[-1].start - 512],
        b"",
        b"no archive" * 1000,
    ):
        file.write_bytes(damaged)
        run("restore", file, "--home", tmp_path / "again", code=2)
        assert {path.name for path in tmp_path.iterdir()} == {"home", "home.tar"}


@pytest.mark.parametrize("name", ["../outside", "/outside", "a/../../outside"])
def test_a_backup_that_reaches_outside_of_its_home_is_refused(tmp_path: Path, run: Run, name: str) -> None:
    file = tmp_path / "evil.tar"
    with tarfile.open(file, "w") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b"x"))
    run("restore", file, "--home", tmp_path / "home", code=2)
    assert "lies outside" in run.err
    assert {path.name for path in tmp_path.iterdir()} == {"evil.tar"}


def test_nothing_is_overwritten(home: Path, tmp_path: Path, run: Run) -> None:
    file = tmp_path / "home.tar"
    run("backup", file, "--home", home)
    run("backup", file, "--home", home, code=2)
    assert "is there already" in run.err
    run("restore", file, "--home", home, code=2)
    assert "is not empty" in run.err
    assert run.wrong(home) == ""
    run("restore", tmp_path / "none.tar", "--home", tmp_path / "again", code=2)
    assert "No such file" in run.err


def test_a_home_of_an_earlier_version_can_be_read_and_migrated(home: Path, tmp_path: Path, run: Run) -> None:
    reading = [["status"], ["served"], ["explain", run("status", "--home", home)["champion"]["candidate"]]]
    before = [run(*command, "--home", home) for command in reading]
    database = keep_as_before(Home(home).ledger)
    assert [run(*command, "--home", home) for command in reading] == before
    assert run.wrong(home) == ""
    run("backup", tmp_path / "home.tar", "--home", home, code=2)
    assert "hpcretrain migrate" in run.err
    run("audit", "export", tmp_path / "export.jsonl", "--home", home)
    told = run("migrate", "--home", home)
    assert told["migrated"]
    assert Path(told["kept"]).exists()
    assert not database.exists()
    assert [run(*command, "--home", home) for command in reading] == before
    assert run.wrong(home) == ""
    assert not run("migrate", "--home", home)["migrated"]
    FileLedger(Home(home).ledger).note("n", "x")
    run("audit", "export", tmp_path / "new.jsonl", "--home", home)
    assert verify_export(tmp_path / "export.jsonl").returncode == 0


def test_a_migration_that_was_cut_short_is_finished(home: Path, run: Run) -> None:
    database = keep_as_before(Home(home).ledger)
    old = database.read_bytes()
    run("migrate", "--home", home)
    database.write_bytes(old)
    (home / ".ledger.jsonl.part").write_text("half")
    told = run("migrate", "--home", home)
    assert not told["migrated"]
    assert not database.exists()
    assert run.wrong(home) == ""


def test_a_damaged_home_is_not_migrated_and_the_older_ledger_stands(home: Path, run: Run) -> None:
    database = keep_as_before(Home(home).ledger)
    content = database.read_bytes()
    damaged = content.replace(b'"outcome":"pass"', b'"outcome":"fail"')
    database.write_bytes(damaged)
    run("migrate", "--home", home, code=2)
    assert "is damaged, so nothing was changed" in run.err
    assert database.read_bytes() == damaged
    assert "was altered" in run.wrong(home)
    assert [each.outcome for each in verify(Home(home).ledger)] == [Outcome.FAIL]


def test_nobody_writes_on_in_an_older_ledger(home: Path, run: Run) -> None:
    keep_as_before(Home(home).ledger)
    run("audit", "anchor", home.parent, "--home", home, code=2)
    assert "hpcretrain migrate" in run.err


def test_a_home_that_is_in_use_is_not_migrated(home: Path, run: Run) -> None:
    keep_as_before(Home(home).ledger)
    with Home.held(home):
        run("migrate", "--home", home, code=2)
    assert "is in use by process" in run.err


def test_a_home_of_other_rules_can_be_read_and_is_not_gone_on_with(home: Path, run: Run) -> None:
    (home / "home.json").write_text(json.dumps({**IDENTITY, "rules": "2"}))
    assert run("status", "--home", home)
    assert run.wrong(home) == ""
    with pytest.raises(InputError, match="decided by rules 2"), Home.open(home, IDENTITY):
        pass

from __future__ import annotations

import io
import json
import os
import random
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from audited import IDENTITY, Run, make_home, verify_export
from ledgers_before import keep_as_before

from hpcretrain.adapters.home import Home
from hpcretrain.adapters.ledger import FileLedger, verify
from hpcretrain.errors import InputError
from hpcretrain.records import Outcome


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

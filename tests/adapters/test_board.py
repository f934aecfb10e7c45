"""The board: homes tell each other how they stand, and none takes what another took."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import board_decision
import pytest
from admissions import NOW, rules, runs, waits
from board_decision import MEANS

from hpcretrain.adapters import board as module
from hpcretrain.adapters.board import FolderBoard
from hpcretrain.backlog import Entry, Shared, Stop
from hpcretrain.evidence import Outcome
from hpcretrain.policy.admit import about

HOMES = 6


def on(folder: Path, name: str) -> FolderBoard:
    return FolderBoard(folder, name, folder / name)


def test_homes_that_decide_at_once_take_no_slot_twice(tmp_path: Path) -> None:
    command = [sys.executable, board_decision.__file__, str(tmp_path)]
    homes = [subprocess.Popen([*command, f"m{n}"], stdout=subprocess.PIPE, text=True) for n in range(HOMES)]
    began = [home.communicate()[0].strip() for home in homes]
    assert sorted(began) == ["False"] * (HOMES - 2) + ["True"] * 2
    told = on(tmp_path, "another").read()
    assert sum(len(entry.running) for entry in told.entries) == 2
    assert not told.troubles


def test_what_a_home_tells_is_read_by_the_others_and_not_by_itself(tmp_path: Path) -> None:
    one, other = on(tmp_path, "a"), on(tmp_path, "b")
    entry = Entry(one.home, "a", NOW, waiting=(waits("a"),))
    one.tell(entry)
    assert other.read().entries == (entry,)
    assert one.read().entries == ()


def test_an_entry_that_cannot_be_read_is_named_and_holds(tmp_path: Path) -> None:
    (tmp_path / "x-0.home.json").write_text('{"home": "x"', encoding="utf-8")
    told = on(tmp_path, "a").read()
    [trouble] = told.troubles
    assert trouble.outcome is Outcome.INSUFFICIENT
    assert str(tmp_path / "x-0.home.json") in trouble.reason
    assert not about(waits("a"), Shared(MEANS, (), troubles=told.troubles), (), rules(), NOW).runs


def test_a_board_that_is_gone_is_a_trouble_and_not_an_empty_board(tmp_path: Path) -> None:
    board = on(tmp_path / "gone", "a")
    with board.meet() as told:
        assert [each.check for each in told.troubles] == ["board"]
    assert board.read().troubles


def test_what_a_process_leaves_that_is_killed_while_it_writes_is_no_entry(tmp_path: Path) -> None:
    one, other = on(tmp_path, "a"), on(tmp_path, "b")
    one.tell(Entry(one.home, "a", NOW, running=(runs("a"),)))
    (tmp_path / f".{one.home}.home.json.part").write_text('{"home"', encoding="utf-8")
    [entry] = other.read().entries
    assert entry.running
    one.tell(Entry(one.home, "a", NOW))
    [entry] = other.read().entries
    assert not entry.running


def test_the_lock_of_a_process_that_is_killed_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = "import sys; from pathlib import Path; import board_decision; board_decision.hold(Path(sys.argv[1]))"
    command = [sys.executable, "-c", holder, str(tmp_path)]
    folder = {**os.environ, "PYTHONPATH": str(Path(board_decision.__file__).parent)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=folder)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    monkeypatch.setattr(module, "_PATIENCE_S", 0.1)
    with on(tmp_path, "a").meet() as told:
        assert "held" in told.troubles[0].reason, "without the lock nothing is taken for free"
    process.kill()
    process.communicate()
    monkeypatch.setattr(module, "_PATIENCE_S", 20.0)
    with on(tmp_path, "a").meet() as told:
        assert not told.troubles


def test_a_stop_of_all_is_seen_by_all_and_stands_if_it_cannot_be_read(tmp_path: Path) -> None:
    one, other = on(tmp_path, "a"), on(tmp_path, "b")
    stop = Stop("all", "ann", NOW, "an incident")
    one.stop(stop)
    assert other.read().stop == stop
    (tmp_path / "stop").write_text("?", encoding="utf-8")
    found = other.read().stop
    assert found is not None
    assert "cannot be read" in found.reason
    other.stop(None)
    assert one.read().stop is None


def test_what_is_on_the_board_is_for_those_who_may_use_its_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    one = on(tmp_path, "a")
    with one.meet():
        one.tell(Entry(one.home, "a", NOW))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    tmp_path.chmod(0o770)
    with one.meet():
        one.tell(Entry(one.home, "a", NOW))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o660}

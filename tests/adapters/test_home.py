from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcretrain.adapters.home import Home, write_whole
from hpcretrain.errors import InputError
from hpcretrain.records import RULE_VERSION

MINE = {"model": "m", "configuration": "c1", "data": "d1", "rules": RULE_VERSION}


def test_a_home_is_private_and_can_be_opened_again(tmp_path: Path) -> None:
    for _ in range(2):
        with Home.open(tmp_path / "a" / "home", MINE) as home:
            assert os.stat(home.path).st_mode & 0o777 == 0o700
            assert all(os.stat(each).st_mode & 0o077 == 0 for each in home.path.iterdir())
    assert Home.existing(tmp_path / "a" / "home") == home


def test_a_home_of_something_else_is_refused_with_what_differs(tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", MINE):
        pass
    with (
        pytest.raises(InputError, match="belongs to another configuration and data"),
        Home.open(tmp_path / "home", {**MINE, "configuration": "c2", "data": "d2"}),
    ):
        pass


def test_a_folder_with_strange_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(InputError, match=r"it holds precious\.txt"), Home.open(tmp_path, MINE):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["precious.txt"]


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"), Home.open(tmp_path / "file", MINE):
        pass
    with pytest.raises(InputError, match="cannot be written"), Home.open(tmp_path / "file" / "home", MINE):
        pass
    with pytest.raises(InputError, match="is no home"):
        Home.existing(tmp_path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from hpcretrain.adapters.home import Home\n"
        f"with Home.open(Path(sys.argv[1]), {MINE}):\n"
        "    print('open', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "home")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    with pytest.raises(InputError, match=f"in use by process {other.pid}"), Home.open(tmp_path / "home", MINE):
        pass
    other.communicate("")
    with Home.open(tmp_path / "home", MINE):
        pass


def test_an_empty_folder_that_becomes_a_home_is_made_private(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    with Home.open(tmp_path / "home", MINE) as home:
        assert os.stat(home.path).st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["models", "spool"])
def test_a_folder_of_somebody_is_not_taken_for_a_home_for_its_names(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=f"it holds {name}"), Home.open(tmp_path, MINE):
        pass
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_home_whose_making_was_cut_short_is_finished(tmp_path: Path) -> None:
    for left in ("home.lock", ".home.json.part"):
        (tmp_path / left).write_text("")
    with Home.open(tmp_path, MINE) as home:
        assert home.models.is_dir()


@pytest.mark.parametrize("content", ["[]", "no JSON", "\N{GREEK SMALL LETTER ALPHA}"])
def test_a_garbled_identity_is_told(tmp_path: Path, content: str) -> None:
    with Home.open(tmp_path / "home", MINE):
        pass
    (tmp_path / "home" / "home.json").write_text(content)
    with pytest.raises(InputError, match=r"home\.json"), Home.open(tmp_path / "home", MINE):
        pass


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    with Home.open(tmp_path / "home", MINE) as home:
        pass
    home.models.rmdir()
    home.models.write_text("")
    with pytest.raises(InputError, match="cannot be written: File exists"), Home.open(tmp_path / "home", MINE):
        pass


def test_a_place_that_cannot_be_looked_into_is_told(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 300)
    with pytest.raises(InputError, match="cannot be written: File name too long"), Home.open(place, MINE):
        pass
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        Home.existing(place)


def test_a_file_is_written_through_no_link_and_over_no_other(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / ".told.json.part").symlink_to(precious)
    write_whole(tmp_path / "told.json", "told")
    assert precious.read_text() == "precious"
    assert not (tmp_path / "told.json").is_symlink()
    assert {each.name for each in tmp_path.iterdir()} == {"precious", "told.json"}


def test_a_file_has_its_mode_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (seen.append(old.stat().st_mode & 0o777), replace(old, new)))
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "all", "", 0o644)
        write_whole(tmp_path / "umask", "")
    finally:
        os.umask(before)
    assert seen == [0o644, 0o600]

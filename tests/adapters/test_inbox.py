"""An inbox among strangers: who sealed a message says it, and nothing that anybody puts there harms its owner."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from users import as_user, needs_root, shared_folder

from hpcretrain.adapters.inbox import Inbox
from hpcretrain.adapters.inboxkeeper import Handed, Keeper
from hpcretrain.errors import InputError
from hpcretrain.messages import Message, Verb, identifier

pytestmark = needs_root
OWNER, ANN, EVE, MATES = 3001, 3002, 3003, 3100


@pytest.fixture
def place() -> Iterator[Path]:
    with shared_folder(0o1777) as folder:
        yield folder


@pytest.fixture
def inbox(place: Path) -> Path:
    as_user(OWNER, lambda: Inbox.make(place / "inbox") and None)
    return place / "inbox"


def yes(reason: str = "seen") -> Message:
    return Message(identifier(), Verb.APPROVE, reason, "ask-1")


def waiting(inbox: Path) -> list[Handed]:
    def look() -> list[Handed]:
        with contextlib.closing(Keeper(inbox)) as keeper:
            return keeper.waiting()

    found: list[Handed] = as_user(OWNER, look)
    return found


def settle(inbox: Path, asks: list[dict[str, Any]] | None = None) -> list[Handed]:
    """One look of the owner's, who answers everything with the number of its sender."""

    def look() -> list[Handed]:
        with contextlib.closing(Keeper(inbox)) as keeper:
            found = keeper.waiting()
            for handed in found:
                keeper.settle(handed, {"uid": handed.uid})
            keeper.forget()
            keeper.show(asks or [])
        return found

    found: list[Handed] = as_user(OWNER, look)
    return found


def sealed(folder: Path, text: str, mode: int = 0o700) -> str:
    """A message that its writer seals in whatever folder."""
    name = hashlib.sha256(text.encode()).hexdigest()
    (folder / f"{name}.json").write_text(text)
    (folder / name).mkdir()
    (folder / name).chmod(mode)
    return name


def test_what_is_handed_in_is_answered_to_whoever_sealed_it_and_leaves_nothing(inbox: Path) -> None:
    message = yes()
    receipt = as_user(ANN, lambda: os.umask(0o777) and Inbox(inbox).hand_in(message))
    assert as_user(ANN, lambda: Inbox(inbox).answer(receipt)) is None
    assert [(each.uid, each.message) for each in settle(inbox, [{"id": "ask-1"}])] == [(ANN, message)]
    assert as_user(ANN, lambda: Inbox(inbox).answer(receipt)) == {"uid": ANN}
    assert as_user(EVE, lambda: Inbox(inbox).asks()) == [{"id": "ask-1"}]
    assert os.listdir(inbox) == ["told"]
    for folder in (inbox, inbox / "told/answers"):
        with pytest.raises(PermissionError):
            as_user(EVE, lambda folder=folder: os.listdir(folder))


def test_an_answer_cannot_be_found_by_what_the_message_says(inbox: Path) -> None:
    message = Message(identifier("ticket 1"), Verb.APPROVE, "seen", "ask-1")
    first, again = (as_user(ANN, lambda: Inbox(inbox).hand_in(message)) for _ in range(2))
    assert first != again
    assert message.id not in first


@pytest.mark.parametrize("exchange", [False, True])
def test_linux_lets_nobody_move_a_folder_that_he_cannot_write_into_another_parent(place: Path, exchange: bool) -> None:
    """All that the seal rests on: with a file, whoever may write its folder can."""
    import ctypes

    project, goal = place / "project", place / "goal"
    for folder in (project, goal):
        folder.mkdir()
        os.chown(folder, EVE, MATES)
        folder.chmod(0o2770)

    def theirs() -> None:
        (project / "file").write_text("")
        (project / "folder").mkdir(mode=0o700)
        (project / "open").mkdir()
        (project / "open").chmod(0o770)

    as_user(ANN, theirs, MATES)

    def move(name: str) -> int:
        (goal / name).mkdir()
        libc = ctypes.CDLL(None, use_errno=True)
        flags = 2 if exchange else 0
        source, target = str(project / name).encode(), str(goal / name).encode()
        if name == "file" and not exchange:
            (goal / name).rmdir()
        return ctypes.get_errno() if libc.renameat2(-100, source, -100, target, flags) else 0

    assert as_user(EVE, lambda: move("file"), MATES) == 0
    assert as_user(EVE, lambda: move("folder"), MATES) == 13, "EACCES"
    assert as_user(EVE, lambda: move("open"), MATES) == 0, "a folder that others may write proves nothing"


def test_others_files_and_folders_do_not_speak_for_their_owners(place: Path, inbox: Path) -> None:
    project = place / "project"
    project.mkdir()
    os.chown(project, EVE, MATES)
    project.chmod(0o2770)
    text = yes().text
    name = as_user(ANN, lambda: sealed(project, text, 0o777), MATES)

    def forge() -> None:
        # What Ann owns, in a folder that Eve may write: once as a file alone, once with a seal that all may write.
        os.rename(project / f"{name}.json", inbox / f"{name}.json")
        os.rename(project / name, inbox / name)

    as_user(EVE, forge, MATES)
    assert (inbox / name).stat().st_uid == ANN
    assert [each.message for each in settle(inbox)] == [None]
    assert os.listdir(inbox) == ["told"]
    private = as_user(ANN, lambda: sealed(project, text), MATES)
    with pytest.raises(PermissionError):
        as_user(EVE, lambda: os.rename(project / private, inbox / private), MATES)


def test_a_message_is_what_was_sealed(inbox: Path) -> None:
    def eve() -> None:
        for text in ("{", "x" * 20_000, "[" * 9_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")):
            sealed(inbox, text)
        (inbox / f"{sealed(inbox, yes().text)}.json").write_text(yes().text)
        for make in (os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path), lambda path: None):
            name = hashlib.sha256(os.urandom(8)).hexdigest()
            (inbox / name).mkdir()
            make(inbox / f"{name}.json")

    as_user(EVE, eve)
    found = settle(inbox)
    assert len(found) == 9
    assert {each.message for each in found} == {None}
    assert os.listdir(inbox) == ["told"]


def test_a_mount_tells_whatever_owners_it_likes_and_is_not_believed(inbox: Path) -> None:
    name = as_user(EVE, lambda: sealed(inbox, yes().text))
    assert waiting(inbox)[0].message
    options = f"uid={ANN},gid={ANN},mode=700,size=64k"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", inbox / name], capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        [handed] = waiting(inbox)
    finally:
        subprocess.run(["umount", inbox / name], check=True)
    assert handed.uid == ANN
    assert handed.message is None


def test_litter_is_removed_and_what_only_its_owner_can_remove_is_put_aside(inbox: Path) -> None:
    def eve() -> None:
        os.symlink("/etc/passwd", inbox / "link")
        os.symlink("nowhere", inbox / ("0" * 64))
        os.mkfifo(inbox / "pipe.json")
        (inbox / "folder").mkdir()
        (inbox / ("x" * 255)).mkdir()
        (inbox / ("x" * 255) / "file").touch()
        (inbox / "line\nbreak \udcff").touch()
        (inbox / sealed(inbox, yes().text) / "file").touch()

    as_user(EVE, eve)
    assert len(settle(inbox)) == 1
    left = [name for name in os.listdir(inbox) if name != "told"]
    assert len(left) == 2
    assert all(name.startswith("left-") for name in left)
    receipt = as_user(ANN, lambda: Inbox(inbox).hand_in(yes()))
    assert [each.receipt for each in settle(inbox)] == [receipt]
    assert sorted([*left, "told"]) == sorted(os.listdir(inbox))


def test_what_is_not_sealed_yet_is_given_time(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{'a' * 64}.json"
    as_user(ANN, lambda: (inbox / name).touch())
    assert not settle(inbox)
    assert (inbox / name).exists()
    later = time.time() + 3_700
    monkeypatch.setattr(time, "time", lambda: later)
    settle(inbox)
    assert not (inbox / name).exists()


def test_a_flood_hides_nobody_else(inbox: Path) -> None:
    def eve() -> None:
        for _ in range(120):
            Inbox(inbox).hand_in(yes())
        for number in range(500):
            os.symlink("nowhere", inbox / f"{number}.json")

    as_user(EVE, eve)
    mine = as_user(ANN, lambda: [Inbox(inbox).hand_in(yes()) for _ in range(2)])
    found = settle(inbox)
    assert len(found) == 20
    assert [each.receipt for each in found if each.uid == ANN] == mine
    assert found[1].uid == ANN or found[0].uid == ANN
    for _ in range(6):
        settle(inbox)
    assert os.listdir(inbox) == ["told"]


def test_answers_are_not_kept_for_good(inbox: Path) -> None:
    old, new = (as_user(ANN, lambda: Inbox(inbox).hand_in(yes())) for _ in range(2))
    settle(inbox)
    os.utime(inbox / f"told/answers/{old}.json", (0, time.time() - 8 * 86_400))
    settle(inbox)
    assert as_user(ANN, lambda: Inbox(inbox).answer(old)) is None
    assert as_user(ANN, lambda: Inbox(inbox).answer(new)) == {"uid": ANN}


def test_what_the_owner_tells_cannot_be_put_in_his_way(place: Path, inbox: Path) -> None:
    precious = place / "precious"
    precious.write_text("precious")
    os.chown(precious, OWNER, OWNER)

    def eve() -> None:
        os.symlink(precious, inbox / ".asks.json.part")
        (inbox / "asks.json").mkdir()
        for attack in (
            lambda: os.symlink(precious, inbox / "told/.asks.json.part"),
            lambda: os.rename(inbox / "told", inbox / "mine"),
            lambda: os.rename(inbox / "told", place / "mine"),
        ):
            with pytest.raises(PermissionError):
                attack()

    as_user(EVE, eve)
    settle(inbox, [{"id": "ask-1"}])
    assert precious.read_text() == "precious"
    assert Inbox(inbox).asks() == [{"id": "ask-1"}]
    assert (inbox / "told/asks.json").stat().st_mode & 0o777 == 0o644


def test_a_folder_in_the_place_of_an_inbox_is_not_touched(place: Path, inbox: Path) -> None:
    precious = place / "precious"
    as_user(OWNER, lambda: [precious.mkdir(), (precious / "file").touch()])
    inbox.rename(place / "away")
    with pytest.raises(InputError, match="inbox"):
        waiting(inbox)
    os.symlink(precious, inbox)
    with pytest.raises(InputError, match="cannot be used"):
        waiting(inbox)
    inbox.unlink()
    as_user(EVE, inbox.mkdir)
    with pytest.raises(InputError, match=f"belongs to user {EVE}"):
        waiting(inbox)
    assert (precious / "file").exists()


def test_a_stranger_cannot_make_what_is_its_owners_first(place: Path) -> None:
    inbox = place / "inbox"
    as_user(OWNER, lambda: [inbox.mkdir(), inbox.chmod(0o1733)])
    as_user(EVE, lambda: (inbox / "told").mkdir())
    with pytest.raises(InputError, match=f"belongs to user {EVE}"):
        as_user(OWNER, lambda: Inbox.make(inbox) and None)

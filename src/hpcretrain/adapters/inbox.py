"""Where people who cannot enter a home hand in what they ask, on a file system that they share with its owner.

A message is a file, and who wrote it is the file's owner, which nobody but root can set. The folder belongs to the
owner of the home; with its sticky bit (mode 1733) anybody may add a file, and only the two owners may remove one.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcretrain.adapters.home import write_whole
from hpcretrain.errors import InputError
from hpcretrain.messages import Message

MODE = 0o1733
_ANSWERS, _ASKS = "answers", "asks.json"
_MOST_BYTES = 10_000


@dataclass(frozen=True)
class Handed:
    """What somebody handed in.

    Attributes:
        path: The file.
        uid: Its owner.
        message: What it says; None where it is no message.
    """

    path: Path
    uid: int
    message: Message | None


class Inbox:
    """An inbox.

    Args:
        folder: Where it is.

    Raises:
        InputError: It is not there.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError(f"there is no inbox {folder}; `hpcretrain live --inbox` makes one")
        self._folder = folder

    @classmethod
    def make(cls, folder: Path) -> Inbox:
        """An inbox of this user's, made if need be.

        Raises:
            InputError: It cannot be made, belongs to somebody else, or lets anybody remove what others hand in.
        """
        try:
            if not folder.exists():
                folder.mkdir()
                folder.chmod(MODE)
            (folder / _ANSWERS).mkdir(exist_ok=True)
            (folder / _ANSWERS).chmod(0o711)
            found = folder.stat()
        except OSError as error:
            raise InputError(f"inbox {folder} cannot be made: {error.strerror or error}") from error
        if found.st_uid != os.getuid():
            raise InputError(f"inbox {folder} belongs to user {found.st_uid}; name another folder, which is made anew")
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
            raise InputError(f"inbox {folder} lets others remove what is in it; chmod {MODE:o} {folder}")
        return cls(folder)

    def hand_in(self, message: Message) -> None:
        """Put a message in.

        Raises:
            InputError: The inbox cannot be written.
        """
        path = self._folder / f"{message.id}.json"
        try:
            # Read by its owner, who is somebody else; its name cannot be guessed, nor the folder listed.
            write_whole(path, message.text, 0o644)
            path.chmod(0o644)
        except OSError as error:
            raise InputError(f"inbox {self._folder} cannot be written: {error.strerror or error}") from error

    def waiting(self) -> list[Handed]:
        """What was handed in, oldest first."""
        found = []
        for entry in os.scandir(self._folder):
            if entry.name.endswith(".json") and not entry.name.startswith(".") and entry.name != _ASKS:
                handed = _read(Path(entry.path))
                if handed is not None:
                    found.append(handed)
        return [each for _, each in sorted(found, key=lambda pair: (pair[0], pair[1].path.name))]

    def settle(self, handed: Handed, answer: Mapping[str, Any]) -> None:
        """Answer what was handed in, and remove it."""
        if handed.message is not None:
            path = self._folder / _ANSWERS / f"{handed.message.id}.json"
            write_whole(path, json.dumps(answer), 0o644)
            path.chmod(0o644)
        handed.path.unlink(missing_ok=True)

    def answer(self, message: Message) -> dict[str, Any] | None:
        """The answer to a message; None while there is none."""
        try:
            found: dict[str, Any] = json.loads((self._folder / _ANSWERS / f"{message.id}.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise InputError(f"the answer in {self._folder} cannot be read: {error}") from error
        return found

    def show(self, asks: Sequence[Mapping[str, Any]]) -> None:
        """Show what is asked, if it is something else than before."""
        text = json.dumps(list(asks), indent=1)
        path = self._folder / _ASKS
        if not path.exists() or path.read_text("utf-8") != text:
            write_whole(path, text, 0o644)
            path.chmod(0o644)

    def asks(self) -> list[dict[str, Any]]:
        """What is asked.

        Raises:
            InputError: It cannot be read.
        """
        try:
            found: list[dict[str, Any]] = json.loads((self._folder / _ASKS).read_text("utf-8"))
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise InputError(f"{self._folder / _ASKS} cannot be read: {error}") from error
        return found


def _read(path: Path) -> tuple[float, Handed] | None:
    """A file, with its time; None where there is none, or not surely one of its owner's making."""
    try:
        # Neither through a link nor waiting for a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        # A second name may have been given to it elsewhere, by somebody who is not its owner.
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            return None
        text = os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)
    try:
        message: Message | None = Message.parse(text.decode())
    except (InputError, UnicodeDecodeError):
        message = None
    if message is not None and f"{message.id}.json" != path.name:
        message = None
    return found.st_mtime, Handed(path, found.st_uid, message)

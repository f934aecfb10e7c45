"""Where people who cannot enter a home hand in what they ask, on a file system that they share with its owner.

The folder belongs to the owner of the home; with its sticky bit (mode 1733) anybody may add to it, nobody else may list
it, and only its two owners may take an entry away or give it another name. What its owner tells is in a folder of his.

A message is a file, and an empty folder whose name is the SHA-256 of that file: its seal. Who sealed it, says it. The
owner of a file would prove nothing: whoever may write the folder in which it lies can move it elsewhere. To move a
folder to another parent changes its `..`, so Linux refuses that to whoever cannot write the moved folder itself
(`vfs_rename`: "we'll need to flip '..'"). A seal of mode 0700 was therefore made in the inbox, by its owner; and as it
is empty the owner of the inbox can remove it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from hpcretrain.adapters.home import write_whole
from hpcretrain.canonical import canonical
from hpcretrain.errors import InputError
from hpcretrain.messages import Message

MODE = 0o1733
TOLD, ANSWERS, ASKS = "told", "answers", "asks.json"
SUFFIX = ".json"
MOST_BYTES = 10_000_000
"""Of a message; more than signals of as many bytes as may be told at once come to, unless they are all quotes."""
_WHOSE = "home"
_TOLD_MODE, _ANSWERS_MODE = 0o755, 0o711


class Inbox:
    """An inbox, for whoever hands something in.

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
    def make(cls, folder: Path, home: Path) -> Inbox:
        """The inbox of a home of this user's, made if need be.

        Raises:
            InputError: It cannot be made, belongs to somebody else or to another home, or lets anybody remove what
                others hand in.
        """
        place = folder.resolve()
        try:
            made = not place.exists()
            if made:
                place.mkdir(mode=0o700)
            require_own(place.lstat(), place)
            for inner, mode in ((place / TOLD, _TOLD_MODE), (place / TOLD / ANSWERS, _ANSWERS_MODE)):
                inner.mkdir(exist_ok=True)
                require_own(inner.lstat(), inner)
                inner.chmod(mode)
            whose = place / TOLD / _WHOSE
            if not whose.exists():
                write_whole(whose, str(home.resolve()), 0o644)
            if (other := whose.read_text("utf-8")) != str(home.resolve()):
                raise InputError(f"inbox {folder} is that of {other}, which would take what is meant for another home")
            # Only now may others add to it: nobody else can have made what is its owner's.
            if made:
                place.chmod(MODE)
        except OSError as error:
            raise InputError(f"inbox {folder} cannot be made: {error.strerror or error}") from error
        return cls(place)

    def hand_in(self, message: Message) -> str:
        """Put a message in.

        Returns:
            The receipt: what the answer is found by. Nobody else can guess it.

        Raises:
            InputError: The inbox cannot be written, or the message is too long.
        """
        text = canonical({**message.content, "nonce": secrets.token_hex(16)})
        if len(text.encode()) > MOST_BYTES:
            raise InputError(f"the message has more than {MOST_BYTES:,} bytes; hand it in in parts")
        receipt = hashlib.sha256(text.encode()).hexdigest()
        paper = self._folder / f"{receipt}{SUFFIX}"
        try:
            descriptor = os.open(paper, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            try:
                with open(descriptor, "w", encoding="utf-8") as file:
                    # Read by the inbox's owner, whatever the umask; others know neither its name nor the list of them.
                    os.fchmod(descriptor, 0o644)
                    file.write(text)
                    file.flush()
                    os.fsync(descriptor)
                # Last: what is sealed is whole.
                os.mkdir(self._folder / receipt, 0o700)
            except OSError:
                with contextlib.suppress(OSError):
                    paper.unlink()
                raise
        except OSError as error:
            raise InputError(f"inbox {self._folder} cannot be written: {error.strerror or error}") from error
        return receipt

    def answer(self, receipt: str) -> dict[str, Any] | None:
        """The answer to what was handed in; None while there is none.

        Raises:
            InputError: It cannot be read.
        """
        found: dict[str, Any] | None = self._told(f"{ANSWERS}/{receipt}{SUFFIX}", None)
        return found

    def asks(self) -> list[dict[str, Any]]:
        """What is asked.

        Raises:
            InputError: It cannot be read.
        """
        found: list[dict[str, Any]] = self._told(ASKS, [])
        return found

    def _told(self, name: str, otherwise: Any) -> Any:
        path = self._folder / TOLD / name
        try:
            return json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            return otherwise
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error


def require_own(found: os.stat_result, folder: Path) -> None:
    """Refuse a folder that is not this user's, or from which others could take away what they did not add.

    Args:
        found: The folder's status, not through a link.
        folder: The folder.

    Raises:
        InputError: It is such a one.
    """
    if not stat.S_ISDIR(found.st_mode):
        raise InputError(f"{folder} is no folder; move it away, or name another inbox, which is made anew")
    if found.st_uid != os.getuid():
        raise InputError(f"{folder} belongs to user {found.st_uid}; name another inbox, which is made anew")
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        raise InputError(f"{folder} lets others remove what is in it; chmod {MODE:o} {folder}")

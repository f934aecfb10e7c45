"""The board: a folder in which homes that share limits tell each other how they stand.

One small file a home, written whole by atomic rename; whoever decides holds one lock meanwhile, so that two homes do
not take the same slot. A process that is killed lets go of the lock, and leaves its file as it was.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter

from hpcretrain.adapters.home import write_whole
from hpcretrain.backlog import ALL, Entry, Stop
from hpcretrain.canonical import canonical, sha256
from hpcretrain.errors import InputError
from hpcretrain.evidence import Finding, Outcome
from hpcretrain.ports import Told

_LOCK, _STOP, _SUFFIX = "board.lock", "stop", ".home.json"
_PATIENCE_S, _AGAIN_S = 20.0, 0.02
_STOP_OF = TypeAdapter(Stop)


class FolderBoard:
    """The board in a folder, as one home sees it.

    Args:
        folder: The folder, which is there; on a file system whose locks hold between the machines of the homes.
        model: The model of this home.
        place: Where this home is.
    """

    def __init__(self, folder: Path, model: str, place: Path) -> None:
        self._folder = folder
        self.home = f"{re.sub('[^A-Za-z0-9_.-]', '_', model)}-{sha256(str(place.resolve()))[:8]}"

    @contextmanager
    def meet(self) -> Iterator[Told]:
        """What others told; nobody else decides until it is left. Without the lock, that is among the troubles."""
        try:
            descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            yield Told((), None, (_trouble(f"the board cannot be used: {error}"),))
            return
        try:
            self._open_to_group(descriptor)
            held = _lock(descriptor)
            told = self.read()
            if not held:
                lacking = _trouble(f"another home held {self._folder / _LOCK} for {_PATIENCE_S:g} s")
                told = Told(told.entries, told.stop, (*told.troubles, lacking))
            yield told
        finally:
            os.close(descriptor)

    def read(self) -> Told:
        """What others told."""
        entries, troubles = [], []
        try:
            paths = sorted(self._folder.glob(f"*{_SUFFIX}"))
            if not self._folder.is_dir():
                raise FileNotFoundError(f"{self._folder} is no folder")
        except OSError as error:
            return Told((), None, (_trouble(f"the board cannot be read: {error}"),))
        for path in paths:
            if path.name == f"{self.home}{_SUFFIX}":
                continue
            try:
                entries.append(Entry.parse(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, RecursionError) as error:
                why = str(error).splitlines()[0]
                troubles.append(
                    _trouble(
                        f"{path} cannot be read, and what it tells of may be in use: {why}; its home writes it anew "
                        "when it is advanced, or remove it if there is no such home any more"
                    )
                )
        return Told(tuple(entries), self._stopped(), tuple(troubles))

    def tell(self, entry: Entry) -> None:
        """Tell how this home stands.

        Raises:
            OSError: It cannot be written; what was told before stands.
        """
        write_whole(self._folder / f"{self.home}{_SUFFIX}", entry.text, self._mode)

    def stop(self, stop: Stop | None) -> None:
        """Stop every model; None lifts it.

        Raises:
            InputError: It cannot be written.
        """
        path = self._folder / _STOP
        try:
            if stop is None:
                path.unlink(missing_ok=True)
            else:
                write_whole(path, canonical(stop), self._mode)
        except OSError as error:
            raise InputError(f"the board {self._folder} cannot be written: {error}") from error

    def _stopped(self) -> Stop | None:
        try:
            text = (self._folder / _STOP).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            return _unknown(str(error), self._folder)
        try:
            return _STOP_OF.validate_python(json.loads(text))
        except (ValueError, RecursionError) as error:
            return _unknown(str(error).splitlines()[0], self._folder)

    @property
    def _mode(self) -> int:
        """Whoever may use the folder may read what is in it."""
        return 0o660 if self._folder.stat().st_mode & 0o070 else 0o600

    def _open_to_group(self, descriptor: int) -> None:
        if os.fstat(descriptor).st_uid == os.getuid():
            os.fchmod(descriptor, self._mode)


def _lock(descriptor: int) -> bool:
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= give_up_at:
                return False
            time.sleep(_AGAIN_S)


def _trouble(reason: str) -> Finding:
    return Finding(check="board", outcome=Outcome.INSUFFICIENT, reason=reason)


def _unknown(why: str, folder: Path) -> Stop:
    """A stop that cannot be read stands."""
    return Stop(ALL, "somebody", datetime.fromtimestamp(0, UTC), f"{folder / _STOP} cannot be read: {why}")

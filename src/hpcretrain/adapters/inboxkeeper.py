"""The owner's side of an inbox: takes out what was handed in, answers it, and keeps strangers' litter from piling up.

Everything in the inbox may be a stranger's, made to do harm. So nothing is followed or waited for, the folders are held
open (whoever puts another in their place changes nothing), and a look costs no more than so much.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import random
import re
import secrets
import stat
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcretrain.adapters.home import write_whole
from hpcretrain.adapters.inbox import ANSWERS, ASKS, MOST_BYTES, SUFFIX, TOLD, require_own
from hpcretrain.errors import InputError
from hpcretrain.messages import Message

_SEAL = re.compile("[0-9a-f]{64}")
_PAPER = re.compile(r"[0-9a-f]{64}\.json")
_LEFT = re.compile("left-[0-9a-f]{32}")
_MOST_BYTES_A_LOOK = 2 * MOST_BYTES
_MOST_MESSAGES, _MOST_SEALS, _MOST_LITTER = 20, 1_000, 200
_MOST_ANSWERS, _ANSWER_LASTS_S = 10_000, 7 * 86_400
_TO_BE_SEALED_S = 3_600


@dataclass(frozen=True)
class Handed:
    """What somebody handed in.

    Attributes:
        receipt: What its sender knows it by.
        uid: Who sealed it.
        message: What it says; None where it is no message.
    """

    receipt: str
    uid: int
    message: Message | None


class Keeper:
    """An inbox, held open by its owner.

    Args:
        folder: Where it is.

    Raises:
        InputError: It is not there, or not safe; nothing was changed.
    """

    def __init__(self, folder: Path) -> None:
        self._inbox = _hold(folder, None)
        try:
            self._told = _hold(folder / TOLD, self._inbox)
        except InputError:
            os.close(self._inbox)
            raise
        self._out = Path(f"/proc/self/fd/{self._told}")

    def close(self) -> None:
        """Let go of it."""
        os.close(self._told)
        os.close(self._inbox)

    def waiting(self) -> list[Handed]:
        """What was handed in, as much as is to be answered at a time: everybody's oldest, then everybody's second …

        Litter is removed.

        Raises:
            OSError: The inbox cannot be read.
        """
        seals, others = set(), []
        with os.scandir(self._inbox) as entries:
            for entry in entries:
                if _SEAL.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    seals.add(entry.name)
                elif entry.name != TOLD and not _LEFT.fullmatch(entry.name):
                    others.append(entry.name)
        litter = (name for name in others if name.removesuffix(SUFFIX) not in seals)
        for name in itertools.islice(litter, _MOST_LITTER):
            # What cannot be removed harms nobody.
            with contextlib.suppress(OSError):
                if not _PAPER.fullmatch(name) or self._age(name) > _TO_BE_SEALED_S:
                    self._remove(name)
        # By lot, so that nobody hides others' seals behind his own.
        known = [(name, self._status(name)) for name in random.sample(sorted(seals), min(len(seals), _MOST_SEALS))]
        turns = _turns((name, found) for name, found in known if found)
        handed: list[Handed] = []
        left = _MOST_BYTES_A_LOOK
        for name, found in turns:
            paper = self._status(f"{name}{SUFFIX}")
            left -= min(paper.st_size, MOST_BYTES) if paper else 0
            if handed and left < 0:
                break
            handed.append(Handed(name, found.st_uid, self._message(name, found)))
        return handed

    def settle(self, handed: Handed, answer: Mapping[str, Any]) -> None:
        """Answer what was handed in, if it is a message, and remove it.

        Raises:
            OSError: It is still there.
        """
        if handed.message is not None:
            write_whole(self._out / ANSWERS / f"{handed.receipt}{SUFFIX}", json.dumps(answer), 0o644)
        self._remove(handed.receipt)
        self._remove(f"{handed.receipt}{SUFFIX}")

    def show(self, asks: Sequence[Mapping[str, Any]]) -> None:
        """Show what is asked, if it is something else than before, to everybody.

        Raises:
            OSError: It cannot be written.
        """
        text = json.dumps(list(asks), indent=1)
        path = self._out / ASKS
        if not path.exists() or path.read_text("utf-8") != text:
            write_whole(path, text, 0o644)

    def forget(self) -> None:
        """Remove answers that are old, or too many.

        Raises:
            OSError: They cannot be listed or removed.
        """
        with os.scandir(self._out / ANSWERS) as entries:
            found = sorted(((each.stat(follow_symlinks=False).st_mtime, each.name) for each in entries), reverse=True)
        since = time.time() - _ANSWER_LASTS_S
        for place, (at, name) in enumerate(found):
            if place >= _MOST_ANSWERS or at < since:
                (self._out / ANSWERS / name).unlink(missing_ok=True)

    def _status(self, name: str) -> os.stat_result | None:
        try:
            return os.lstat(name, dir_fd=self._inbox)
        except FileNotFoundError:
            return None

    def _age(self, name: str) -> float:
        """Seconds; of its last change, which nobody can set."""
        return time.time() - os.lstat(name, dir_fd=self._inbox).st_ctime

    def _message(self, seal: str, found: os.stat_result) -> Message | None:
        # What others can write they can have moved here. Another device is a mount, which tells what owners it likes.
        if found.st_mode & 0o022 or found.st_dev != os.fstat(self._inbox).st_dev:
            return None
        text = self._read(f"{seal}{SUFFIX}")
        if text is None or hashlib.sha256(text).hexdigest() != seal:
            return None
        try:
            return Message.parse(text.decode())
        except (InputError, UnicodeDecodeError):
            return None

    def _read(self, name: str) -> bytes | None:
        """A small file; None where there is none."""
        try:
            # Neither through a link nor waiting for a pipe.
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=self._inbox)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES, errno.ELOOP, errno.ENXIO):
                return None
            raise
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            return os.read(descriptor, MOST_BYTES) if regular else None
        finally:
            os.close(descriptor)

    def _remove(self, name: str) -> None:
        """Remove an entry; a folder of somebody else's that is not empty, which only he can, is put aside."""
        try:
            os.unlink(name, dir_fd=self._inbox)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            try:
                os.rmdir(name, dir_fd=self._inbox)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                aside = f"left-{secrets.token_hex(16)}"
                os.rename(name, aside, src_dir_fd=self._inbox, dst_dir_fd=self._inbox)


def _hold(folder: Path, within: int | None) -> int:
    name = folder if within is None else folder.name
    try:
        held = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=within)
    except OSError as error:
        raise InputError(f"{folder} cannot be used as an inbox: {error.strerror or error}") from error
    try:
        require_own(os.fstat(held), folder)
    except InputError:
        os.close(held)
        raise
    return held


def _turns(found: Iterable[tuple[str, os.stat_result]]) -> list[tuple[str, os.stat_result]]:
    """Those that are to be answered now: nobody waits for more than one of everybody else's."""
    queues = defaultdict(list)
    for each in sorted(found, key=lambda pair: (pair[1].st_ctime_ns, pair[0])):
        queues[each[1].st_uid].append(each)
    rounds = itertools.chain.from_iterable(itertools.zip_longest(*queues.values()))
    return list(itertools.islice((each for each in rounds if each is not None), _MOST_MESSAGES))

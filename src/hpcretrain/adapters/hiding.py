"""Columns that are not to be known: dropped before they are read, or masked before anything is made of them.

A masked cell becomes `m` and the first 16 hexadecimal digits of the HMAC-SHA256 of the column's name, a zero byte and
the cell as text, by a key of the home: equal cells stay equal, so that they are categories still, and nobody without
the key finds out what they were by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from hpcretrain.adapters.home import IDENTITY, write_whole
from hpcretrain.adapters.secretfile import SecretError, secret
from hpcretrain.errors import InputError

KEY = "mask.key"
_DIGITS = 16


@dataclass(frozen=True)
class Hiding:
    """What is not to be known of a table.

    Attributes:
        drop: Columns that are not read.
        mask: Columns whose cells are replaced.
        key: By which they are.
    """

    drop: frozenset[str] = frozenset()
    mask: frozenset[str] = frozenset()
    key: bytes = b""

    @property
    def any(self) -> bool:
        """Whether there is anything to hide."""
        return bool(self.drop or self.mask)

    def masked(self, column: str, text: str) -> str:
        """What stands for a cell."""
        message = column.encode() + b"\0" + text.encode()
        return "m" + hmac.new(self.key, message, hashlib.sha256).hexdigest()[:_DIGITS]

    def words(self, error: object) -> str:
        """What an error of a reader says, without the cells that it quotes."""
        text = str(error)
        return re.sub(r"(got \d+):.*", r"\1", text, flags=re.DOTALL) if self.any else text


NOTHING = Hiding()


def home_key(home: Path | None) -> bytes:
    """The key of a home; for a home that is not made yet a new one, which `keep_key` keeps there; and for none as well.

    Raises:
        InputError: The home lost its key, or others can read it.
    """
    if home is None:
        return _new_key()
    path = home / KEY
    if not os.path.lexists(path):
        if (home / IDENTITY).exists():
            raise InputError(
                f"{path} is gone: without it masked columns mean something else than before; take it from a backup, or "
                "make a new home"
            )
        return _new_key()
    try:
        return secret(path).encode()
    except SecretError as error:
        raise InputError(str(error)) from None


def _new_key() -> bytes:
    return secrets.token_hex(32).encode()


def keep_key(home: Path, key: bytes) -> None:
    """Keep the key of a home that was just made, by who holds it.

    Raises:
        InputError: Another process made the home meanwhile.
    """
    path = home / KEY
    if not path.exists():
        write_whole(path, key.decode(), 0o600)
    elif secret(path).encode() != key:
        raise InputError(f"another process made home {home} just now; try again")

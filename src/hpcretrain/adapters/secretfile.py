"""Reads what only its owner may know."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class SecretError(Exception):
    """A file that should hold a secret is missing, or does not keep it."""


def secret(path: Path) -> str:
    """What a file holds, without blanks around it.

    Raises:
        SecretError: It cannot be read, is empty, or others may read or write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, encoding="utf-8") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o077:
                raise SecretError(f"{path} can be read or changed by others; chmod 600 {path}")
            text = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not text:
        raise SecretError(f"{path} is empty")
    return text

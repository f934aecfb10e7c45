"""Who somebody is, by the word of the operating system."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from pathlib import Path

from hpcretrain.errors import InputError
from hpcretrain.messages import Person


def person(uid: int, home: Path) -> Person:
    """The user of a number, and whether a home is that user's.

    Raises:
        InputError: The system does not know the user, now or at all.
    """
    entry = _entry(uid)
    groups = set()
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        # A group without a name is none that a policy could name.
        with contextlib.suppress(KeyError):
            groups.add(grp.getgrgid(gid).gr_name)
    return Person(entry.pw_name, frozenset(groups), home.stat().st_uid == uid)


def own_name() -> str:
    """The name of the user who runs this.

    Raises:
        InputError: The system does not know the user, now or at all.
    """
    return _entry(os.geteuid()).pw_name


def _entry(uid: int) -> pwd.struct_passwd:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        # A made-up name would change with the directory service's health, and could be another user's.
        raise InputError(
            f"the directory service of this machine does not know user {uid} now (`getent passwd {uid}`); try again"
        ) from None

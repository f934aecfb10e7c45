"""Who somebody is, by the word of the operating system."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from hpcretrain.messages import Person


def person(uid: int, home: Path) -> Person:
    """The user of a number, and whether a home is that user's."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        # A user of another directory service, or one that was removed: a number is a name, too.
        return Person(str(uid), frozenset(), home.stat().st_uid == uid)
    groups = set()
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        try:
            groups.add(grp.getgrgid(gid).gr_name)
        except KeyError:
            groups.add(str(gid))
    return Person(entry.pw_name, frozenset(groups), home.stat().st_uid == uid)

"""Who somebody is, by the word of the operating system, and of the site's own program where there is one.

The operating system vouches for the number of a user. What the site's program makes of it counts as it is said: where
it fails, is late or prints something else, nobody is heard, whatever the operating system would have said.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
from pathlib import Path
from typing import Any

from hpcretrain.adapters.program import ProgramError, run
from hpcretrain.config.types import IdentityConfig
from hpcretrain.errors import InputError
from hpcretrain.messages import MOST_CHARACTERS, Person


def person(uid: int, home: Path, identity: IdentityConfig | None = None) -> Person:
    """The user of a number, and whether a home is that user's.

    Args:
        uid: The number.
        home: The home.
        identity: The site's own source; None for the operating system.

    Raises:
        InputError: The system, or the site's source, does not know the user, now or at all.
    """
    entry = _entry(uid)
    if identity is not None:
        name, groups = _said(identity, entry.pw_name, uid)
        return Person(name, groups, home.stat().st_uid == uid, identity.command[0])
    found = set()
    for gid in os.getgrouplist(entry.pw_name, entry.pw_gid):
        # A group without a name is none that a policy could name.
        with contextlib.suppress(KeyError):
            found.add(grp.getgrgid(gid).gr_name)
    return Person(entry.pw_name, frozenset(found), home.stat().st_uid == uid)


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


def _said(identity: IdentityConfig, account: str, uid: int) -> tuple[str, frozenset[str]]:
    """Name and groups, as the site's program says."""
    program = identity.command[0]
    try:
        said = json.loads(run((*identity.command, account, str(uid)), identity.timeout_s))
    except ProgramError as error:
        raise _unheard(program, account, str(error)) from None
    except (ValueError, RecursionError):
        raise _unheard(program, account, "printed no JSON") from None
    if problem := _nonsense(said):
        raise _unheard(program, account, problem)
    return said["name"], frozenset(said["groups"])


def _nonsense(said: Any) -> str | None:
    """What is wrong with an answer; None where it can be used."""
    if not isinstance(said, dict) or set(said) != {"name", "groups"} or not isinstance(said["groups"], list):
        return 'printed something else than {"name": "...", "groups": ["...", ...]}'
    names = (said["name"], *said["groups"])
    if all(isinstance(name, str) and _name(name) for name in names):
        return None
    return f"named somebody by what is no name: one line of at most {MOST_CHARACTERS} characters, without % before it"


def _name(text: str) -> bool:
    return bool(text.strip()) and text.isprintable() and len(text) <= MOST_CHARACTERS and not text.startswith("%")


def _unheard(program: str, account: str, problem: str) -> InputError:
    return InputError(
        f"who {account} is cannot be told: the identity source {program} {problem}; mend it, or take [identity] out of "
        "the configuration, and try again"
    )

"""The ordinary user of a cluster: made with it, removed with it."""

from __future__ import annotations

import fcntl
import os
import pwd
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minicluster.errors import Failed, Refused
from minicluster.places import Places
from minicluster.programs import program


def find(name: str, places: Places) -> pwd.struct_passwd | None:
    """The user, if there is one of this name.

    Raises:
        Refused: There is one, but another's: its home is not in the state folder.
    """
    try:
        user = pwd.getpwnam(name)
    except KeyError:
        return None
    if Path(user.pw_dir) != places.home:
        raise Refused(f"user {name} is there already, with the home {user.pw_dir}: give the cluster another --name")
    return user


def own(name: str, places: Places) -> pwd.struct_passwd | None:
    """The user, if there is one of this name and it is this cluster's."""
    try:
        return find(name, places)
    except Refused:
        return None


def make(name: str, places: Places) -> pwd.struct_passwd:
    """The user, made if there is none, and its home and spool.

    Raises:
        Failed: useradd refused.
        Refused: The name is another's.
    """
    if (user := find(name, places)) is None:
        with _users_locked():
            # A system user gets no ranges of subordinate ids and no mailbox, so little has to be taken back.
            _call("useradd", "--system", "--user-group", "--no-create-home", "--no-log-init",
                  "--home-dir", str(places.home), "--shell", "/bin/bash", name)  # fmt: skip
        user = pwd.getpwnam(name)
    for folder in (places.home, places.spool):
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, user.pw_uid, user.pw_gid)
    return user


def remove(name: str, places: Places) -> None:
    """Remove the user if it is this cluster's; its files and processes are gone already.

    Raises:
        Failed: userdel refused.
    """
    if own(name, places) is not None:
        with _users_locked():
            _call("userdel", name)


def write_login(user: pwd.struct_passwd, places: Places, environment: dict[str, str]) -> None:
    """Let `su - USER` find the cluster."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()]
    file = places.home / ".profile"
    # The home is the user's, who may have put a link there.
    file.unlink(missing_ok=True)
    with open(file, "x", encoding="utf-8") as profile:
        profile.writelines(lines)
        os.fchown(profile.fileno(), user.pw_uid, user.pw_gid)


@contextmanager
def _users_locked() -> Iterator[None]:
    """Two clusters that change users at the same moment wait for each other; useradd itself would give up."""
    descriptor = os.open("/etc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _call(command: str, *arguments: str) -> None:
    done = subprocess.run([program(command), *arguments], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Failed(f"{command} {arguments[-1]}: {done.stderr.strip() or f'exit code {done.returncode}'}")

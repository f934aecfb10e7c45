"""Who somebody is: what the operating system says, and never a guess."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from hpcretrain.adapters.people import person
from hpcretrain.errors import InputError


def test_a_user_is_named_as_the_system_names_him(tmp_path: Path) -> None:
    here = person(os.getuid(), tmp_path)
    assert here.name == pwd.getpwuid(os.getuid()).pw_name
    assert here.owner
    assert grp.getgrgid(pwd.getpwuid(os.getuid()).pw_gid).gr_name in here.groups
    other = next(each for each in pwd.getpwall() if each.pw_uid != os.getuid())
    assert not person(other.pw_uid, tmp_path).owner


def test_a_user_whom_the_system_does_not_know_is_nobody(tmp_path: Path) -> None:
    known = {each.pw_uid for each in pwd.getpwall()}
    unknown = next(uid for uid in range(54_321, 60_000) if uid not in known)
    with pytest.raises(InputError, match=rf"does not know user {unknown} now .* try again"):
        person(unknown, tmp_path)

"""Who somebody is: by the operating system, or by the site's own program."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import pytest

from hpcretrain.adapters.people import person
from hpcretrain.config.types import IdentityConfig
from hpcretrain.errors import InputError


def source(folder: Path, script: str, timeout_s: float = 5.0) -> IdentityConfig:
    program = folder / "whois"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return IdentityConfig(command=(str(program), "--site"), timeout_s=timeout_s)


def test_without_a_source_the_operating_system_tells(tmp_path: Path) -> None:
    me = person(os.getuid(), tmp_path)
    assert me.name == pwd.getpwuid(os.getuid()).pw_name
    assert me.owner
    assert me.identity == "operating system"


def test_a_source_is_told_account_and_number_and_is_named_with_what_it_says(tmp_path: Path) -> None:
    identity = source(tmp_path, """printf '{"name": "%s of %s%s", "groups": ["leads"]}' "$2" "$3" "$1" """)
    me = person(os.getuid(), tmp_path, identity)
    account = pwd.getpwuid(os.getuid()).pw_name
    assert me.name == f"{account} of {os.getuid()}--site"
    assert me.groups == {"leads"}
    assert me.owner, "that the file system says, whatever the name"
    assert me.identity == str(tmp_path / "whois")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 3", "ended with 3"),
        ("echo the directory is down >&2; exit 1", "ended with 1: the directory is down"),
        ("echo ann", "printed no JSON"),
        ("echo '[]'", "printed something else"),
        ("""echo '{"name": "ann"}'""", "printed something else"),
        ("""echo '{"name": "", "groups": []}'""", "no name"),
        ("""echo '{"name": "%staff", "groups": []}'""", "no name"),
        ("""echo '{"name": "ann", "groups": [1]}'""", "no name"),
        ("kill -9 $$", "ended with -9"),
        ("head -c 300000 /dev/zero | tr '\\0' '['", "printed no JSON"),
    ],
)
def test_a_source_that_fails_or_talks_nonsense_is_never_replaced_by_the_operating_system(
    tmp_path: Path, script: str, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        person(os.getuid(), tmp_path, source(tmp_path, script))


def test_a_source_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be run: No such file"):
        person(os.getuid(), tmp_path, IdentityConfig(command=(str(tmp_path / "none"),)))


def test_a_source_that_is_late_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(InputError, match=r"took longer than 0\.5 s"):
        person(os.getuid(), tmp_path, source(tmp_path, script, timeout_s=0.5))
    child = Path("/proc", (tmp_path / "child").read_text().strip())
    until = time.monotonic() + 10
    while child.exists() and "Z" not in (child / "stat").read_text().split()[2] and time.monotonic() < until:
        time.sleep(0.01)
    assert not child.exists() or (child / "stat").read_text().split()[2] == "Z"

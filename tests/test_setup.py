from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("python", ["3.11", "3.12"])
def test_what_the_package_needs_is_pinned_to_one_version_that_it_takes(python: str) -> None:
    pinned: dict[str, list[str]] = {}
    for pin in PINS:
        if pin.marker is None or pin.marker.evaluate({"python_version": python}):
            pinned.setdefault(pin.name, []).append(next(iter(pin.specifier)).version)
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *(line for extra in extras.values() for line in extra)]:
        needed = Requirement(line)
        if needed.name == PROJECT["name"]:
            assert needed.extras <= extras.keys()
            continue
        versions = pinned.get(canonicalize_name(needed.name), [])
        assert [needed.specifier.contains(version) for version in versions] == [True], f"{line}: {versions}"


def set_up(folder: Path, commands: dict[str, str], *extra: str) -> subprocess.CompletedProcess[str]:
    """Run tools/setup.sh in a folder where PATH holds the given shell scripts and what the script itself calls."""
    (folder / "tools").mkdir()
    for script in (ROOT / "tools").glob("*.sh"):
        shutil.copy(script, folder / "tools")
    programs = folder / "bin"
    programs.mkdir()
    for name in ("dirname", "rm"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, script in commands.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHON"} | {"PATH": str(programs)}
    command = [str(shutil.which("bash")), "tools/setup.sh", ".venv/ready", *extra]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_set_up_passes_over_interpreters_that_do_not_run_and_says_what_it_looked_for(tmp_path: Path) -> None:
    done = set_up(tmp_path, {"python3.12": "echo 'command not found' >&2; exit 127", "python3": "exit 1"})
    assert done.returncode == 1
    assert "no Python 3.11 or 3.12 found as any of: python3.12 python3.11 python3." in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_set_up_names_the_system_packages_that_only_an_administrator_can_install(tmp_path: Path) -> None:
    bare = f'case "$2" in *ensurepip*|*libgomp*) exit 1 ;; *) exec {sys.executable} "$@" ;; esac'
    done = set_up(tmp_path, {"python3.12": "exit 127", "python3.11": bare, "id": "echo 1000"})
    assert done.returncode == 1
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"apt-get install python{version}-venv libgomp1" in done.stderr
    assert not (tmp_path / ".venv").exists()


def without_chromium(user: int) -> dict[str, str]:
    """Commands of a machine where Python is there and pip has nothing to do, but no browser is."""
    fake = 'case "$*" in *venv*) mkdir -p .venv/bin; cp "$0" .venv/bin/python ;; *print*) echo 3.11 ;; esac'
    real = {name: f'exec {shutil.which(name)} "$@"' for name in ("mkdir", "cp", "touch", "env", "bash")}
    return {**real, "python3.12": fake, "id": f"echo {user}", "apt-get": 'echo "$@" >> asked'}


def test_set_up_for_tests_goes_on_without_a_browser_and_says_what_is_skipped(tmp_path: Path) -> None:
    done = set_up(tmp_path, without_chromium(user=1000), "test")
    assert done.returncode == 0, done.stderr
    assert "no Chromium on PATH" in done.stdout
    assert (tmp_path / ".venv" / "ready").exists()
    assert not (tmp_path / "asked").exists()


@pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="this is not Debian")
def test_set_up_for_tests_brings_a_browser_where_it_may_and_only_then(tmp_path: Path) -> None:
    plain, tests = tmp_path / "plain", tmp_path / "tests"
    for folder in (plain, tests):
        folder.mkdir()
    assert set_up(plain, without_chromium(user=0)).returncode == 0
    assert not (plain / "asked").exists()
    done = set_up(tests, without_chromium(user=0), "test")
    assert "installing system packages: chromium" in done.stdout
    asked = [line for line in (tests / "asked").read_text().splitlines() if line != "update"]
    assert "install --yes --no-install-recommends chromium" in asked
    # What this machine has already is not asked for.
    others = {f"install --yes --no-install-recommends {name}" for name in ("fonts-liberation", "prometheus")}
    assert set(asked) - others == {"install --yes --no-install-recommends chromium"}


@pytest.mark.skipif(not Path("/etc/debian_version").exists(), reason="this is not Debian")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root keeps packages from starting services")
def test_set_up_for_tests_brings_slurm_where_it_may_and_starts_no_service(tmp_path: Path) -> None:
    policy = Path("/usr/sbin/policy-rc.d")
    there = policy.exists()
    commands = without_chromium(user=0) | {name: f'exec {shutil.which(name)} "$@"' for name in ("cat", "chmod")}
    commands["chromium"] = "exit 0"
    commands["python3.12"] = 'case "$*" in *packages*) echo munge slurmd ;; *) ' + commands["python3.12"] + " ;; esac"
    commands["apt-get"] = f'echo "$@" >> asked; cat {policy} >> asked'
    done = set_up(tmp_path, commands, "test")
    assert done.returncode == 0, done.stderr
    assert "installing system packages: munge slurmd" in done.stdout
    asked = (tmp_path / "asked").read_text()
    assert "install --yes --no-install-recommends munge slurmd\n" in asked
    assert there or "exit 101" in asked
    assert policy.exists() == there

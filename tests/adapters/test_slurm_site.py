from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcretrain.adapters.mounts import candidates, file_system
from hpcretrain.adapters.slurm_probe import script
from hpcretrain.adapters.slurm_site import longest_checkpoint, see_folder
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.node import probe
from hpcretrain.node.life import Life, LifeFolder
from hpcretrain.site.node import NO_SPOOL, NOT_WRITABLE


def test_the_longest_checkpoint_is_found_in_what_lives_left_behind(tmp_path: Path) -> None:
    assert longest_checkpoint(tmp_path) is None
    for number, seconds in enumerate((0.5, 7.25, None)):
        life = LifeFolder(tmp_path / "home" / "jobs" / f"job-{number}" / "lives" / "1.0", Life(1))
        life.path.mkdir(parents=True)
        life.tell("ended", {"kind": "finished", "checkpoint_s": seconds})
    garbled = tmp_path / "home" / "jobs" / "job-9" / "lives" / "1.0" / "ended.json"
    garbled.parent.mkdir(parents=True)
    garbled.write_text("[1, 2]")
    assert longest_checkpoint(tmp_path) == 7.25


def test_a_folder_is_seen_as_it_is_and_left_as_it_was(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    assert not see_folder(spool).exists
    spool.mkdir(mode=0o750)
    seen = see_folder(spool)
    assert (seen.exists, seen.mode, seen.mine, seen.trouble) == (True, 0o750, True, "")
    assert list(spool.iterdir()) == []
    file = tmp_path / "file"
    file.touch()
    assert "is no folder" in see_folder(file).trouble


def test_folders_for_a_spool_come_with_their_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("WORK", str(tmp_path / "missing"))
    monkeypatch.delenv("PROJECT", raising=False)
    found = candidates()
    assert found[0] == (tmp_path, file_system(tmp_path))
    assert all(path.is_dir() for path, _ in found)
    assert file_system(Path("/proc/self")) == "proc"


def test_the_probe_says_what_it_sees_where_nothing_is_installed(tmp_path: Path) -> None:
    # Isolated from site-packages, so that neither hpcretrain nor its packages are there.
    command = [sys.executable, "-I", "-S", probe.__file__, str(tmp_path)]
    subprocess.run(command, check=True, env={"PATH": "/nowhere"}, timeout=60)
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert set(seen["errors"]) == {"hpcretrain", *probe.PACKAGES}
    assert seen["versions"] == {}
    assert seen["scontrol"] == "there is no scontrol on PATH"
    assert [path.name for path in tmp_path.iterdir()] == ["seen.json"]


def run_script(folder: Path, token: str, path: str) -> int:
    profile = ClusterProfile.model_validate(
        {
            "name": "there",
            "spool": {"path": str(folder.parent)},
            "inference": {"nodes": "s1"},
            "environment": {"python": "python3"},
            "preemption": {"grace_s": 10},
            "classes": {name: {"partition": "p", "time_limit_min": 9} for name in ("urgent", "standard", "background")},
        }
    )
    environment = {"PATH": path, "SLURM_CPUS_PER_TASK": "1"}
    return subprocess.run(["bash"], input=script(profile, folder, "urgent", token).encode(), env=environment).returncode


def test_the_script_says_by_its_exit_code_what_is_wrong_with_the_spool(tmp_path: Path) -> None:
    folder, bin_folder = tmp_path / "doctor 1", tmp_path / "bin"
    for each in (folder, bin_folder):
        each.mkdir()
    srun = bin_folder / "srun"
    srun.write_text('#!/bin/sh\necho srun "$@"\nexit 5\n')
    srun.chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{os.defpath}"
    assert run_script(tmp_path / "missing", "t", path) == NO_SPOOL
    (folder / "token").write_text("other")
    assert run_script(folder, "t", path) == NO_SPOOL
    (folder / "token").write_text("t")
    assert run_script(folder, "t", path) == 5
    assert "probe.py" in (folder / "urgent" / "output.txt").read_text()
    # What is there cannot be made: as on a file system that takes nothing.
    assert run_script(folder, "t", path) == NOT_WRITABLE

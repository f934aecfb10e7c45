from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jobs_for_tests import SLOW_MEAN, job_folder

from hpcretrain.errors import SpoolError
from hpcretrain.node.durable import building, write
from hpcretrain.node.jobfolder import JobFolder, Superseded
from hpcretrain.node.life import Life, LifeFolder
from hpcretrain.node.model import Manifest, check, seal

LIVES = st.builds(Life, st.integers(1, 30), st.integers(0, 30))
MANIFEST = Manifest("slow:SlowMean", {}, "binary", ("amount",), ())


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    return JobFolder(tmp_path / "spool" / "jobs" / "job-1")


def save(life: LifeFolder, segments: int, *, cpu_s: float = 0.0, finished: bool = False) -> Path:
    with life.saving(segments, cpu_s, cpu_s + 1, finished=finished) as part:
        (part / "model.txt").write_text(f"after {segments}")
        seal(part, MANIFEST)
    return life.model if finished else life.path / f"checkpoint-{segments}"


@settings(deadline=None)
@given(LIVES, LIVES)
def test_lives_are_ordered_by_attempt_then_restart_and_known_by_their_names(one: Life, other: Life) -> None:
    assert Life.parse(str(one)) == one
    assert (one < other) == ((one.attempt, one.restart) < (other.attempt, other.restart))


@pytest.mark.parametrize("name", ["", "1", "1.", ".1", "a.b", ".nfs0001", "1.0.part", "1.-1"])
def test_a_strangers_file_is_no_life(name: str) -> None:
    assert Life.parse(name) is None


def test_the_newest_fence_decides_whose_result_counts(folder: JobFolder) -> None:
    assert (folder.newest, folder.result()) == (None, None)
    first = folder.begin(Life(1), {})
    first.tell("result", {"model_digest": "a"})
    assert folder.result() == {"model_digest": "a"}
    # Ten is more than nine.
    for life in (Life(9, 3), Life(10)):
        folder.raise_fence(life)
    (folder.path / "fences" / ".nfs00017").touch()
    assert folder.newest == Life(10)
    assert folder.result() is None
    first.tell("result", {"model_digest": "b"})
    assert folder.result() is None
    folder.begin(Life(10, 1), {}).tell("result", {"model_digest": "c"})
    assert folder.result() == {"model_digest": "c"}
    with pytest.raises(Superseded, match=r"life 10\.1 was begun"):
        folder.require_newest(Life(10))


def test_a_life_is_begun_once(folder: JobFolder) -> None:
    folder.begin(Life(1), {"host": "n1"})
    with pytest.raises(Superseded, match=r"another process began life 1\.0"):
        folder.begin(Life(1), {"host": "n2"})
    assert folder.life(Life(1)).told("begun") == {"attempt": 1, "restart": 0, "host": "n1"}


def test_a_life_that_begins_rings_where_somebody_listens(folder: JobFolder) -> None:
    inbox = folder.path.parent.parent / "inbox"
    folder.begin(Life(1), {})
    assert not inbox.exists()
    inbox.mkdir()
    folder.begin(Life(2), {})
    assert [path.name for path in inbox.iterdir()] == ["job-1.2.0.begun"]


def test_a_bell_that_cannot_be_rung_disturbs_nobody(folder: JobFolder, capsys: pytest.CaptureFixture[str]) -> None:
    inbox = folder.path.parent.parent / "inbox"
    inbox.mkdir()
    (inbox / "job-1.1.0.begun").mkdir()
    folder.begin(Life(1), {})
    assert "inbox cannot be written" in capsys.readouterr().out


def test_a_new_life_inherits_a_copy_of_the_farthest_whole_state_of_all_lives(folder: JobFolder) -> None:
    first, second = folder.begin(Life(1), {}), folder.begin(Life(1, 1), {})
    assert folder.inherit(second) is None
    save(first, 5, cpu_s=0.5)
    save(second, 7, cpu_s=0.7)
    orphan = save(first, 9, cpu_s=0.9)
    heir = folder.begin(Life(2), {})
    state = folder.inherit(heir, 0.25)
    assert state is not None
    assert (state.folder, state.segments, state.cpu_s) == (heir.path / "checkpoint-9", 9, 0.9)
    assert heir.cpu_s == (0.25, False)
    # The orphan goes on and replaces what it saved.
    save(first, 11)
    assert not orphan.exists()
    check(state.folder)


def test_a_finished_model_of_a_superseded_life_is_as_good_as_its_last_checkpoint(folder: JobFolder) -> None:
    first = folder.begin(Life(1), {})
    save(first, 9)
    save(first, 9, finished=True)
    state = folder.inherit(folder.begin(Life(2), {}))
    assert state is not None
    assert (state.segments, state.finished) == (9, True)
    assert (state.folder / "model.txt").read_text() == "after 9"


@pytest.mark.parametrize("damage", ["cut", "lost", "unlisted", "without progress"])
def test_a_state_that_is_not_whole_is_passed_over(folder: JobFolder, damage: str) -> None:
    first, second = folder.begin(Life(1), {}), folder.begin(Life(1, 1), {})
    save(first, 5)
    bad = save(second, 9)
    match damage:
        case "cut":
            (bad / "model.txt").write_text("aft")
        case "lost":
            (bad / "model.txt").unlink()
        case "unlisted":
            (bad / "other.txt").touch()
        case _:
            (second.path / "checkpoint-9.json").unlink()
    heir = folder.begin(Life(2), {})
    state = folder.inherit(heir)
    assert state is not None
    assert state.segments == 5
    assert [path.name for path in heir.path.glob("*") if path.is_dir()] == ["checkpoint-5"]


def test_a_checkpoint_takes_the_place_of_those_before_and_the_model_of_them_all(folder: JobFolder) -> None:
    life = folder.begin(Life(1), {})
    save(life, 1)
    save(life, 2)
    assert {path.name for path in life.path.iterdir()} == {"begun.json", "checkpoint-2", "checkpoint-2.json"}
    save(life, 3, finished=True)
    assert {path.name for path in life.path.iterdir()} == {"begun.json", "model", "model.json"}


def test_the_sweep_leaves_what_lives_told_and_nothing_heavy(folder: JobFolder) -> None:
    (folder.path.parent.parent / "inbox").mkdir()
    for life in (Life(1), Life(1, 1), Life(2)):
        mine = folder.begin(life, {})
        save(mine, 3, cpu_s=2.0)
        with pytest.raises(ZeroDivisionError), building(mine.path / "checkpoint-4"):
            raise ZeroDivisionError
    (folder.life(Life(2)).path / ".checkpoint-5.part").mkdir()
    folder.life(Life(2)).tell("ended", {"cpu_s": 4.5})
    folder.sweep()
    assert not [path for path in folder.path.glob("lives/*/*") if path.is_dir()]
    assert [life.cpu_s for life in folder.lives()] == [(3.0, False), (3.0, False), (4.5, True)]
    assert not list((folder.path.parent.parent / "inbox").iterdir())


def test_everything_is_for_the_owners_eyes(folder: JobFolder, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        save(folder.begin(Life(1), {}), 1)
    finally:
        os.umask(before)
    made = list((tmp_path / "spool").rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.path.glob("lives/*/*.json")} == {0o600}


def test_a_file_that_is_not_json_is_named(folder: JobFolder) -> None:
    life = folder.begin(Life(1), {})
    for content in ("{", "[]"):
        (life.path / "result.json").write_text(content)
        with pytest.raises(SpoolError, match=r"lives/1\.0/result\.json .*begins anew"):
            folder.result()


def test_a_specification_of_another_version_is_refused(folder: JobFolder) -> None:
    with pytest.raises(SpoolError, match=r"spec\.json is not what this version"):
        folder.spec()
    write(folder.path / "spec.json", json.dumps({"recipe": "lightgbm", "categorical": [], "wings": 2}))
    with pytest.raises(SpoolError, match="wings"):
        folder.spec()


def test_a_full_disk_ends_a_life_with_its_reason_and_nothing_half_written(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(SLOW_MEAN.replace("{model[0]!r} {model[1]}", "{model[0]!r} {model[1]:>99999}"))
    folder = job_folder(tmp_path, recipe="slow:SlowMean", segments=3)
    # A process of its own: the recipe of that name may be imported here already.
    program = f"""
import resource
from pathlib import Path
from hpcretrain.node.train import run

# No file may become larger: what a write to a full disk meets, save for the number of the error.
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
print(run(Path({str(folder.path)!r}), 1).value)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ran.stdout.splitlines()[-1:] == ["outside"], ran.stderr
    life = folder.life(Life(1))
    ended = life.told("ended")
    assert ended is not None
    assert "File too large" in ended["reason"]
    assert folder.result() is None
    assert {path.name for path in life.path.iterdir()} == {"begun.json", "ended.json", "checkpoint-1.json"}

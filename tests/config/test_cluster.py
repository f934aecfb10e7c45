"""A cluster profile: what may be left out, and what is refused, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcretrain.config.cluster import load_cluster, require_classes
from hpcretrain.errors import InputError
from hpcretrain.priority import BUILT_IN, PriorityClass

PROFILE = """
name = "site"
[spool]
path = "/scratch/spool"
[inference]
nodes = "serve[1-4]"
[environment]
python = "/opt/env/bin/python"
[preemption]
grace_s = 60
signal = "USR2"
[classes.urgent]
partition = "gpu"
time_limit_min = 60
[classes.standard]
partition = "gpu"
time_limit_min = 60
[classes.background]
partition = "gpu"
time_limit_min = 60
"""


def load(folder: Path, text: str) -> None:
    (folder / "site.toml").write_text(text, encoding="utf-8")
    load_cluster(folder / "site.toml")


def test_what_a_site_forbids_can_be_left_out(tmp_path: Path) -> None:
    load(tmp_path, PROFILE)
    load(tmp_path, PROFILE.replace('signal = "USR2"\n', ""))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('nodes = "serve[1-4]"', "", "name the nodes or the partitions that serve"),
        ('path = "/scratch/spool"', 'path = "spool"', "spool.path: must be an absolute path"),
        ('partition = "gpu"', 'partition = "gpu; rm -rf"', "classes.urgent.partition"),
        ('signal = "USR2"', 'signal = "KILL"', "preemption.signal"),
        ("grace_s = 60", 'grace_s = 60\ncolor = "red"', "preemption.color: unknown key; known here are: grace_s"),
        ("time_limit_min = 60", "time_limit_min = 2", "half of the time limit of urgent"),
        ("[classes.background]", "[classes.weekend]", "classes.background: is missing"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in PROFILE
    with pytest.raises(InputError, match=told.replace("(", r"\(")):
        load(tmp_path, PROFILE.replace(old, new, 1))


NIGHTLY = """
[classes.nightly]
below = "standard"
partition = "night"
time_limit_min = 60
"""


def test_a_site_names_further_classes_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(PROFILE + NIGHTLY, encoding="utf-8")
    profile = load_cluster(tmp_path / "site.toml")
    assert list(profile.classes.order) == ["urgent", "standard", "nightly", "background"]
    assert profile.classes.of(PriorityClass("nightly")).partition == "night"
    require_classes(profile, BUILT_IN)
    with pytest.raises(InputError, match=r"classes\.weekly: is missing, and the policy has that class"):
        profile.classes.of(PriorityClass("weekly"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('below = "standard"', "", "classes.nightly.below: is missing"),
        ('below = "standard"', 'below = "background"', "nightly.below: nothing comes after background"),
        ("time_limit_min = 60", "time_limit_min = 2", "half of the time limit of nightly"),
        ('partition = "night"', 'partition = "a b"', "classes.nightly.partition"),
    ],
)
def test_a_further_class_that_cannot_work_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in NIGHTLY
    with pytest.raises(InputError, match=told):
        load(tmp_path, PROFILE + NIGHTLY.replace(old, new))


def test_all_classes_of_a_policy_that_a_site_lacks_are_told(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(PROFILE, encoding="utf-8")
    order = [PriorityClass(name) for name in ("urgent", "quick", "standard", "nightly", "background")]
    with pytest.raises(InputError) as refused:
        require_classes(load_cluster(tmp_path / "site.toml"), order)
    assert [each.partition("; ")[2].partition(",")[0] for each in refused.value.problems] == [
        'write [classes.quick] with below = "urgent"',
        'write [classes.nightly] with below = "standard"',
    ]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    broken = PROFILE.replace("grace_s = 60", "grace_s = -1").replace('path = "/scratch/spool"', 'path = "x"')
    with pytest.raises(InputError) as refused:
        load(tmp_path, broken)
    assert len(refused.value.problems) == 2


@pytest.mark.parametrize(
    "option",
    ["--partition=inference", "--part=inference", "-pinference", "-p", "--job-name=x", "--array=0-3", "--no-requeue",
     "--requeue", "-M", "inference", "--", "-", "--wrap=true", "-Jx"],
)  # fmt: skip
def test_an_option_that_would_undo_what_is_checked_is_refused(tmp_path: Path, option: str) -> None:
    text = PROFILE.replace('partition = "gpu"', f'partition = "gpu"\noptions = ["--constraint=skylake", "{option}"]', 1)
    with pytest.raises(InputError, match=r"classes\.urgent\.options: .*hpcretrain's to set"):
        load(tmp_path, text)


def test_other_options_are_the_sites_own(tmp_path: Path) -> None:
    options = (
        '["--constraint=skylake", "-Cskylake", "--mem-bind=local", "--ntasks-per-core=1", "--exclusive", "--nice=5"]'
    )
    load(tmp_path, PROFILE.replace('partition = "gpu"', f'partition = "gpu"\noptions = {options}', 1))

"""What sbatch is given, whole: options and scripts as they stand in golden files.

To renew the files after a change that is meant: HPCRETRAIN_RENEW_GOLDEN=1 pytest tests/adapters/test_slurm_script.py
"""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from hpcretrain.adapters.slurm_script import options, script
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.policy.retry import Ask
from hpcretrain.records import PriorityClass

GOLDEN = Path(__file__).with_name("golden")

PLAIN = """
name = "plain"
[spool]
path = "/shared/spool"
[inference]
nodes = "serve[1-2]"
[environment]
python = "/shared/env/bin/python"
[preemption]
grace_s = 30
[classes]
urgent = {partition = "all", time_limit_min = 10}
standard = {partition = "all", time_limit_min = 10}
background = {partition = "all", time_limit_min = 10}
"""

FULL = """
name = "full"
[spool]
path = "/shared/spool"
[inference]
partitions = ["serving"]
[environment]
python = "python3"
modules = ["cuda/12.4", "gcc"]
conda = "retrain"
container = "/images/retrain.sif"
container_options = ["--nv"]
setup = ["export OMP_PLACES=cores", "ulimit -c 0"]
[preemption]
grace_s = 30
signal = "USR2"
lead_s = 90
requeue = false
[classes.urgent]
partition = "gpu,fat"
qos = "urgent"
account = "ml"
reservation = "quarter-end"
gres = "gpu:1"
memory_mb = 16000
time_limit_min = 60
options = ["--constraint=a100"]
[classes.standard]
partition = "gpu"
time_limit_min = 60
[classes.background]
partition = "gpu"
time_limit_min = 60
"""


def rendered(text: str, **given: Any) -> str:
    profile = ClusterProfile.model_validate(tomllib.loads(text))
    wanted = options(profile, name="hpcretrain.4f2a.0badcafe", root=Path("/shared/spool/4f2a"), **given)
    return "\n".join(wanted) + "\n\n" + script(profile, Path("/shared/spool/4f2a/batches/4f2a.0badcafe.json"))


CASES = {
    "plain": (PLAIN, {"priority_class": PriorityClass.BACKGROUND, "ask": Ask(None, 10), "cpus": 1, "tasks": 1}),
    "full": (FULL, {"priority_class": PriorityClass.URGENT, "ask": Ask(24000, 120), "cpus": 8, "tasks": 3}),
}


@pytest.mark.parametrize("case", CASES)
def test_options_and_script_are_those_of_the_golden_file(case: str) -> None:
    text, given = CASES[case]
    path = GOLDEN / f"sbatch-{case}.txt"
    if os.environ.get("HPCRETRAIN_RENEW_GOLDEN"):
        path.write_text(rendered(text, **given), encoding="utf-8")
    assert rendered(text, **given) == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_a_script_is_good_bash(case: str) -> None:
    text, given = CASES[case]
    body = rendered(text, **given).partition("\n\n")[2]
    subprocess.run(["bash", "-n"], input=body, text=True, check=True)


def test_a_further_class_asks_for_what_its_table_says() -> None:
    night = '[classes.nightly]\nbelow = "standard"\npartition = "night"\nqos = "low"\ntime_limit_min = 60\n'
    told = rendered(FULL + night, priority_class=PriorityClass("nightly"), ask=Ask(None, 60), cpus=1, tasks=1)
    assert {"--partition=night", "--qos=low", "--time=60"} <= set(told.splitlines())

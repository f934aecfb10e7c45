from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from minicluster import Cluster, Settings
from minicluster.__main__ import parser
from minicluster.places import STATES, Places
from minicluster.profile import text

Command = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


def test_up_down_and_drills_by_command(fresh: Callable[..., Cluster], command: Command, tmp_path: Path) -> None:
    cluster = fresh()
    name = f"--name={cluster.settings.name}"
    copy = tmp_path / "profiles" / "here.toml"
    up = command("up", name, "--training-nodes=1", "--inference-nodes=1", "--grace=3", f"--write-profile={copy}")
    assert up.returncode == 0, up.stderr
    assert "2 nodes, up in" in up.stdout
    assert f"su - {cluster.user} -c 'sbatch --wrap hostname'" in up.stdout
    assert tomllib.loads(copy.read_text())["preemption"]["grace_s"] == 3

    again = command("up", name)
    assert again.returncode == 0
    other = command("up", name, "--grace=4")
    assert (other.returncode, other.stderr) == (
        2, f"minicluster: cluster {cluster.settings.name} is there with grace_s = 3; take it down first\n",
    )  # fmt: skip

    assert command("status", name).returncode == 0
    assert command("kill", "train1", name).returncode == 0
    status = command("status", name)
    assert status.returncode == 1
    assert "train1     DOWN" in status.stdout
    assert command("start", "train1", name).returncode == 0
    assert command("status", name).returncode == 0
    assert command("kill", "train2", name).returncode == 2

    login = subprocess.run(["su", "-", cluster.user, "-c", "srun hpcretrain --version"], capture_output=True, text=True)
    assert login.stdout.startswith("hpcretrain"), login.stderr
    exports = command("env", name).stdout
    nodes = subprocess.run(["bash", "-c", f"{exports} sinfo -h -N -o %N"], capture_output=True, text=True).stdout
    assert set(nodes.split()) == {"infer1", "train1"}
    for words in (["id", "-un"], ["--", "id", "-un"]):
        ran = command("run", name, *words)
        assert (ran.returncode, ran.stdout.strip()) == (0, cluster.user)
    assert command("run", name, "no-such-program").returncode == 2

    down = command("down", name)
    assert down.returncode == 0, down.stderr
    assert not cluster.state.exists()
    assert command("status", name).returncode == 1


def test_commands_in_the_documents_are_taken() -> None:
    text = (ROOT / "slurm" / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    options = re.findall(r'make cluster ARGS="(.*?)"', text)
    assert len(options) > 3
    for line in options:
        parser().parse_args(["up", *shlex.split(line)])
    rules = [line.partition(":")[0] for line in makefile.splitlines() if line.startswith("cluster")]
    targets = {target for rule in rules for target in rule.split()}
    assert {f"cluster{verb}" for verb in re.findall(r"make cluster([-\w]*)", text)} <= targets


@pytest.mark.parametrize("verb", ["start slurmctld", "stop train1", "kill munged", "restart train1", "env", "run id"])
def test_a_verb_on_a_cluster_that_is_not_there_says_so(able: None, command: Command, verb: str) -> None:
    first, *rest = verb.split()
    done = command(first, "--name=nowhere", *rest)
    assert done.returncode == 2
    assert "no cluster at" in done.stderr
    assert not (STATES / "nowhere").exists()


def test_the_profile_in_the_repository_is_what_make_cluster_writes() -> None:
    written = ROOT / "profiles" / "clusters" / "minicluster.toml"
    settings = Settings()
    assert written.read_text() == text(settings, Places(STATES / settings.name))

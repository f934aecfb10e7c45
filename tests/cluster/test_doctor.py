from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minicluster import Cluster

Make = Callable[..., Cluster]
Found = dict[str, list[dict[str, Any]]]


@pytest.fixture
def site(variant: Make) -> Cluster:
    """A cluster for this file's tests, which break it and mend it."""
    cluster = variant(training_nodes=2, inference_nodes=1)
    cluster.up()
    return cluster


def command(cluster: Cluster, profile: Path | str, *options: str) -> list[str]:
    return [str(cluster.python), "-m", "hpcretrain", "doctor", "--cluster", str(profile), *options]


def doctor(cluster: Cluster, profile: Path | None = None, wait: float = 0, **keywords: Any) -> tuple[int, Found]:
    """Exit code and items by outcome, as the ordinary user; without short jobs unless they may wait."""
    program = command(cluster, profile or cluster.profile, "--json", f"--wait={wait}")
    done = cluster.run(program, capture_output=True, text=True, **keywords)
    assert done.returncode in (0, 1, 3), done.stderr
    found: Found = {}
    for item in json.loads(done.stdout)["items"]:
        found.setdefault(item["outcome"], []).append(item)
    if done.returncode != 3:
        assert "hpcretrain.doctor" not in cluster.ask("squeue", "-h", "-o", "%j")
    assert list(cluster.spool.glob("*doctor*")) == []
    return done.returncode, found


def checks(found: Found, outcome: str) -> list[str]:
    return [item["check"] for item in found.get(outcome, [])]


def variation(cluster: Cluster, *changes: tuple[str, str]) -> Path:
    """A profile that the ordinary user may read, the cluster's own with texts replaced."""
    text = cluster.profile.read_text()
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    path = cluster.places.home / "changed.toml"
    path.write_text(text)
    path.chmod(0o644)
    return path


def set_in(profile: Path, table: str, line: str) -> None:
    """Set a key of a table of a profile, as a person would who reads the line that mends it."""
    text, key = profile.read_text(), line.partition(" = ")[0]
    head, found, rest = text.partition(f"{table}\n")
    if not found:
        profile.write_text(f"{text}\n{table}\n{line}\n")
        return
    body, more, tail = rest.partition("\n[")
    if re.search(rf"^{key} = ", body, re.MULTILINE):
        body = re.sub(rf"^{key} = .*$", line, body, flags=re.MULTILINE)
    else:
        body = f"{line}\n{body}"
    profile.write_text(f"{head}{found}{body}{more}{tail}")


def apply(cluster: Cluster, profile: Path, mend: dict[str, str]) -> None:
    """Do what a line says, in the role that it is for."""
    if mend["where"] == "slurm.conf":
        cluster.reconfigure(extra=(*cluster.settings.extra, *mend["line"].splitlines()))
    elif mend["where"] != "shell":
        set_in(profile, mend["where"], mend["line"])
    elif mend["who"] == "operator":
        for line in mend["line"].splitlines():
            name, *arguments = shlex.split(line)
            cluster.ask(name, *arguments)
    else:
        cluster.run(["sh", "-c", mend["line"]], check=True)


@dataclass(frozen=True)
class Broken:
    """A set-up that is wrong: lines that break it, changes of slurm.conf, and what must be found.

    `repairs` are the numbers of the mending lines that together must make it whole.
    """

    check: str
    sacctmgr: tuple[str, ...] = ()
    scontrol: tuple[str, ...] = ()
    settings: dict[str, Any] | None = None
    changes: tuple[tuple[str, str], ...] = ()
    line: str = ""
    outcome: str = "fail"
    repairs: tuple[int, ...] = (0,)


BROKEN = {
    "a QOS that does not exist": Broken(
        "qos.urgent", changes=(('qos = "urgent"', 'qos = "nightly"'),), repairs=(),
        line="sacctmgr -i add qos nightly\nsacctmgr -i modify user {user} set qos+=nightly",
    ),
    "a QOS that the user may not use": Broken(
        "qos.urgent", ("modify user {user} where account=retrain set qos-=urgent",),
        line="sacctmgr -i modify user {user} where account=retrain set qos+=urgent",
    ),
    "an account that the user does not have": Broken(
        "account.standard", changes=(('account = "retrain"', 'account = "finance"'),), line='account = "retrain"',
        repairs=(),
    ),
    "a QOS that does not preempt": Broken(
        "preemption.order.urgent>standard", ("modify qos urgent set Preempt=background",),
        line="sacctmgr -i modify qos urgent set Preempt+=standard",
    ),
    "a QOS whose jobs are suspended": Broken(
        "preemption.mode.background", ("modify qos background set PreemptMode=suspend",),
        line="sacctmgr -i modify qos background set PreemptMode=requeue",
    ),
    "a QOS whose jobs are canceled": Broken(
        "preemption.mode.standard", ("modify qos standard set PreemptMode=cancel",),
        line="sacctmgr -i modify qos standard set PreemptMode=requeue",
    ),
    "a grace that is shorter than a checkpoint": Broken(
        "preemption.grace.background", ("modify qos background set GraceTime=3",),
        line="sacctmgr -i modify qos background set GraceTime=10",
    ),
    "too few jobs at a time": Broken(
        "limits.submit.standard", ("modify qos standard set MaxSubmitJobsPU=50",), line="array_size = 50",
    ),
    "too few jobs at a time for the user": Broken(
        "limits.submit.background", ("modify user {user} where account=retrain set MaxSubmitJobs=20",),
        line="array_size = 20",
    ),
    "a time limit that is shorter than ours": Broken(
        "limits.time.standard", ("modify qos standard set MaxWall=30",), line="time_limit_min = 30",
    ),
    "a QOS under which a job waits for ever": Broken(
        "limits.denied.urgent", ("modify qos urgent set Flags-=DenyOnLimit",),
        line="sacctmgr -i modify qos urgent set Flags+=DenyOnLimit", outcome="wait",
    ),
    "a QOS that preempts inference": Broken(
        "inference.preempted", ("modify qos urgent set Preempt+=serving",),
        line="sacctmgr -i modify qos urgent set Preempt-=serving",
    ),
    "a partition that does not take the QOS": Broken(
        "partition.background", scontrol=("PartitionName=train AllowQos=urgent,standard",),
        line="scontrol update PartitionName=train AllowQos=background,standard,urgent",
    ),
    "a partition that is down": Broken(
        "partition.urgent", scontrol=("PartitionName=urgent State=DOWN",),
        line="scontrol update PartitionName=urgent State=UP",
    ),
    "a node of inference in a partition for training": Broken(
        "inference.reach.standard", scontrol=("PartitionName=train Nodes=train1,train2,infer1",),
        line="scontrol update PartitionName=train Nodes=train[1-2]",
    ),
    "a partition of inference that is open": Broken(
        "inference.closed", scontrol=("PartitionName=inference AllowQos=ALL",),
        line="scontrol update PartitionName=inference DenyQos=background,standard,urgent",
    ),
    "no preemption at all": Broken(
        "preemption.type", settings={"extra": ("PreemptType=preempt/none", "PreemptMode=OFF")},
        line="PreemptType=preempt/qos\nPreemptMode=REQUEUE",
    ),
}  # fmt: skip

# All in slurm.conf, which takes seconds to change: broken and mended together.
SETTINGS = {"user_signal": False, "requeue": False, "extra": ("MaxArraySize=11", "EnforcePartLimits=NO")}
BY_SETTINGS = {
    "preemption.signal": ("fail", "SlurmctldParameters=preempt_send_user_signal"),
    "preemption.requeue": ("wait", "JobRequeue=1"),
    "limits.array": ("fail", "array_size = 10"),
    "limits.enforced": ("wait", "EnforcePartLimits=ALL"),
}


@contextmanager
def broken(cluster: Cluster, how: Broken) -> Iterator[None]:
    before = {name: getattr(cluster.settings, name) for name in ("extra", "user_signal", "requeue")}
    cluster.sacctmgr(*(line.format(user=cluster.user) for line in how.sacctmgr))
    for line in how.scontrol:
        cluster.ask("scontrol", "update", *line.split())
    if how.settings:
        cluster.reconfigure(**how.settings)
    try:
        yield
    finally:
        cluster.sacctmgr(
            "modify qos urgent set Preempt=standard,background Flags=DenyOnLimit",
            "modify qos standard,background set PreemptMode=cluster GraceTime=10",
            "modify qos standard set MaxSubmitJobsPU=2000 MaxWall=12:00:00",
            f"modify user {cluster.user} where account=retrain set qos=urgent,standard,background MaxSubmitJobs=-1",
        )
        if how.scontrol or how.settings:
            cluster.reconfigure(**before)


def test_a_site_that_is_as_its_profile_says_is_fine_and_nothing_is_left_behind(site: Cluster) -> None:
    code, found = doctor(site, wait=60)
    assert set(found) == {"pass"}, found
    assert code == 0
    nodes = [item for item in found["pass"] if item["check"].startswith("node.")]
    assert {item["check"].split(".")[1] for item in nodes} == {"urgent", "standard", "background"}
    assert any("train1 writes in the spool" in item["reason"] for item in nodes)
    jobs = site.ask("squeue", "-h", "--states=all", "-o", "%j %T")
    assert jobs.count("hpcretrain.doctor.") == jobs.count("COMPLETED") >= 3


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_site_is_found_and_the_line_that_is_named_mends_it(site: Cluster, what: str) -> None:
    how = BROKEN[what]
    with broken(site, how):
        profile = variation(site, *how.changes)
        code, found = doctor(site, profile)
        items = {item["check"]: item for item in found[how.outcome]}
        assert how.check in items, found
        assert code == (1 if how.outcome == "fail" else 0)
        mends = items[how.check]["mends"]
        assert how.line.format(user=site.user) in [mend["line"] for mend in mends]
        for number in how.repairs:
            apply(site, profile, mends[number])
        if how.repairs:
            code, found = doctor(site, profile)
            assert how.check in checks(found, "pass")
            assert how.check not in checks(found, how.outcome)
            assert code == 0, found


def test_settings_of_slurm_that_are_wrong_are_found_and_mended(site: Cluster) -> None:
    how = Broken("", settings=SETTINGS)
    with broken(site, how):
        profile = variation(site, ("requeue = false", "requeue = true"))
        code, found = doctor(site, profile)
        bad = {item["check"]: item for item in (*found["fail"], *found["wait"])}
        assert {name: (item["outcome"], item["mends"][0]["line"]) for name, item in bad.items()} == BY_SETTINGS
        assert code == 1
        lines = [item["mends"][0] for item in bad.values()]
        together = "\n".join(mend["line"] for mend in lines if mend["where"] == "slurm.conf")
        apply(site, profile, {"where": "slurm.conf", "line": together})
        for mend in lines:
            if mend["where"] != "slurm.conf":
                apply(site, profile, mend)
        code, found = doctor(site, profile)
        assert set(BY_SETTINGS) <= set(checks(found, "pass"))
        assert code == 0


def test_following_the_lines_makes_a_qos_that_was_never_there_and_all_that_it_needs(site: Cluster) -> None:
    profile = variation(site, ('qos = "urgent"', 'qos = "nightly"'))
    try:
        for _ in range(4):
            code, found = doctor(site, profile)
            if code == 0:
                break
            for item in found["fail"]:
                for mend in item["mends"][:1]:
                    apply(site, profile, mend)
        assert code == 0, found
        code, found = doctor(site, profile, wait=60)
        assert code == 0
        assert "node.urgent.environment" in checks(found, "pass")
    finally:
        site.sacctmgr(
            f"modify user {site.user} where account=retrain set qos=urgent,standard,background",
            "delete qos nightly",
        )
        site.reconfigure()


def test_a_stopped_controller_is_named_with_its_mend_and_everything_else_is_unseen(site: Cluster) -> None:
    site.stop("slurmctld")
    try:
        code, found = doctor(site, variation(site, ("[spool]", "timeout_s = 5\n\n[spool]")))
    finally:
        site.start("slurmctld")
    assert code == 3
    assert checks(found, "fail") == ["controller"]
    assert found["fail"][0]["mends"][0]["line"] == "systemctl start slurmctld"
    assert {"preemption", "inference", "partition.urgent", "limits", "node.urgent"} <= set(
        checks(found, "insufficient")
    )


def test_an_accounting_that_does_not_answer_is_named_and_what_it_alone_knows_is_unseen(site: Cluster) -> None:
    site.stop("slurmdbd")
    try:
        code, found = doctor(site)
    finally:
        site.start("slurmdbd")
    assert code == 1
    assert checks(found, "fail") == ["accounting"]
    assert found["fail"][0]["mends"][0]["line"] == "systemctl start slurmdbd"
    assert {"qos.urgent", "account.urgent", "limits.submit.urgent"} <= set(checks(found, "insufficient"))


def test_a_site_without_accounting_where_partitions_preempt_is_found_and_mended(variant: Make) -> None:
    cluster = variant(training_nodes=1, inference_nodes=1, accounting=False, grace_s=0)
    cluster.reconfigure(grace_s=10)
    try:
        profile = variation(cluster, ("accounting = false", "accounting = true"))
        code, found = doctor(cluster, profile)
        # Standard and background work share a partition there.
        assert checks(found, "fail") == ["accounting", "preemption.order.standard>background"]
        assert code == 1
        assert {"preemption.order.urgent>standard", "preemption.grace.background"} <= set(checks(found, "pass"))
        apply(cluster, profile, found["fail"][0]["mends"][0])
        for mend in found["fail"][1]["mends"]:
            apply(cluster, profile, mend)
        code, found = doctor(cluster, profile)
        assert code == 0, found
        assert "accounting" in checks(found, "pass")
    finally:
        cluster.reconfigure(grace_s=0, extra=())


def test_an_environment_that_does_not_import_is_found_on_the_node(site: Cluster) -> None:
    profile = variation(site, (f'python = "{site.python}"', 'python = "/usr/bin/python3"'))
    code, found = doctor(site, profile, wait=60)
    assert code == 1
    assert checks(found, "fail") == [f"node.{name}.environment" for name in ("urgent", "standard", "background")]
    assert "cannot import hpcretrain: ModuleNotFoundError" in found["fail"][0]["reason"]
    profile = variation(site, (f'python = "{site.python}"', 'python = "/no/such/python"'))
    code, found = doctor(site, profile, wait=60)
    assert code == 1
    assert "/no/such/python" in found["fail"][0]["reason"]
    assert checks(found, "fail")[0] == "node.urgent.environment"


def test_a_spool_that_nodes_do_not_share_is_found(site: Cluster) -> None:
    """Where doctor runs, another file system lies over the spool; nodes see what is below it."""
    who = site.as_user()
    inner = shlex.join(command(site, site.profile, "--json", "--wait=60"))
    script = (
        f"mount -t tmpfs -o mode=700,uid={who['user']},gid={who['group']} none {site.spool} && cd {who['cwd']} && "
        f"exec setpriv --reuid={who['user']} --regid={who['group']} --clear-groups {inner}"
    )
    unshared = ["unshare", "--mount", "--propagation=private", "sh", "-c", script]
    done = subprocess.run(unshared, env=who["env"], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    wrong = [item for item in json.loads(done.stdout)["items"] if item["outcome"] == "fail"]
    assert [item["check"] for item in wrong] == [f"node.{name}.spool" for name in ("urgent", "standard", "background")]
    assert "does not have" in wrong[0]["reason"]
    assert wrong[0]["mends"][0]["where"] == "[spool]"


def test_a_spool_that_others_may_enter_or_that_is_missing_is_found_and_mended(site: Cluster) -> None:
    site.spool.chmod(0o755)
    code, found = doctor(site)
    assert (code, checks(found, "fail")) == (1, ["spool.here"])
    apply(site, site.profile, found["fail"][0]["mends"][0])
    assert doctor(site)[0] == 0
    profile = variation(site, (str(site.spool), f"{site.places.home}/new spool"))
    code, found = doctor(site, profile)
    assert checks(found, "fail") == ["spool.here"]
    apply(site, profile, found["fail"][0]["mends"][0])
    assert doctor(site, profile)[0] == 0


@contextmanager
def full(cluster: Cluster, qos: str) -> Iterator[None]:
    """Every training node busy with jobs of a QOS."""
    options = [f"--qos={qos}", f"--partition={'urgent' if qos == 'urgent' else 'train'}", "--mem=100"]
    options += [f"--cpus-per-task={cluster.settings.cpus}", f"--array=1-{cluster.settings.training_nodes}"]
    cluster.run(["sbatch", "--output=/dev/null", *options, "--wrap", "sleep 300"], check=True, capture_output=True)
    end = time.monotonic() + 20
    while cluster.ask("squeue", "-h", "-t", "R", "-o", "%i").count("\n") < cluster.settings.training_nodes:
        assert time.monotonic() < end
        time.sleep(0.1)
    try:
        yield
    finally:
        cluster.cancel_all()


def test_jobs_that_would_preempt_others_are_not_sent(site: Cluster) -> None:
    with full(site, "background"):
        code, found = doctor(site, wait=3)
        unseen = {item["check"]: item["reason"] for item in found["insufficient"]}
        assert "would have had to make room" in unseen["node.urgent"]
        assert "did not start within 3 s" in unseen["node.background"]
        assert code == 0
        assert "Restarts=1" not in site.ask("scontrol", "show", "job")


def test_jobs_are_canceled_however_the_check_ends(site: Cluster) -> None:
    with full(site, "urgent"):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            program = command(site, site.profile, "--wait=60")
            with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **site.as_user()) as running:
                end = time.monotonic() + 30
                while "hpcretrain.doctor" not in site.ask("squeue", "-h", "-t", "PD", "-o", "%j"):
                    assert time.monotonic() < end
                    time.sleep(0.05)
                running.send_signal(number)
                assert running.wait(30) == 130
            end = time.monotonic() + 10
            while "hpcretrain.doctor" in site.ask("squeue", "-h", "-o", "%j"):
                assert time.monotonic() < end
                time.sleep(0.05)
            assert list(site.spool.iterdir()) == []


def test_the_draft_of_a_new_site_is_a_profile_with_which_it_is_fine(site: Cluster) -> None:
    path = site.places.home / "new.toml"
    path.unlink(missing_ok=True)
    done = site.run(command(site, path, "--write", "--json"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["profile"] == str(path)
    make = next(line.partition("others: ")[2] for line in told["to_do"] if line.startswith("spool.path"))
    site.run(shlex.split(make), check=True)
    assert 'partitions = ["inference"]' in path.read_text()
    code, found = doctor(site, path, wait=60)
    assert (code, set(found)) == (0, {"pass"}), found
    before = path.read_text()
    done = site.run(command(site, path, "--write"), capture_output=True, text=True)
    assert done.returncode == 2
    assert "is not overwritten" in done.stderr
    assert path.read_text() == before


def test_a_profile_that_cannot_be_read_and_commands_that_are_not_there_are_bad_input(site: Cluster) -> None:
    done = site.run(command(site, "no.toml"), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no such file" in done.stderr
    profile = variation(site, ('folder = "/usr/bin"', 'folder = "/usr/games"'))
    done = site.run(command(site, profile), capture_output=True, text=True)
    assert done.returncode == 2
    assert "commands.folder" in done.stderr

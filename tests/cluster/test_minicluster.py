from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from minicluster import Cluster, Failed, Refused
from minicluster.refusals import no_cgroups

Make = Callable[..., Cluster]
Command = Callable[..., subprocess.CompletedProcess[str]]


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def submit(cluster: Cluster, script: str, *options: str) -> str:
    """The id of a job that runs a shell command as the ordinary user."""
    command = ["sbatch", "--parsable", "--output=%j.out", *options, "--wrap", script]
    done = cluster.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return str(done.stdout.strip())


def state(cluster: Cluster, job: str) -> str:
    return cluster.ask("squeue", "-h", "--states=all", "-j", job, "-o", "%T").strip()


def field(cluster: Cluster, job: str, name: str) -> str:
    found = re.search(rf"\b{name}=(\S+)", cluster.ask("scontrol", "show", "job", job))
    assert found
    return found[1]


def output(cluster: Cluster, job: str) -> str:
    return (cluster.places.home / f"{job}.out").read_text()


def processes_of(cluster: Cluster, user: int) -> list[str]:
    """The commands of what mentions the cluster, is one of its daemons, or runs as its user."""
    daemons = {str(pid) for pid in cluster.status().values()}
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            ours = folder.stat().st_uid == user or f"{cluster.state}/" in command or folder.name in daemons
        except (FileNotFoundError, ProcessLookupError):
            continue
        # A zombie has no command.
        if ours and command:
            found.append(command)
    return found


def listeners(cluster: Cluster) -> dict[int, set[str]]:
    """Addresses by port, in the kernel's notation, of everything that listens on a port of this cluster."""
    found: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, _, port = local.partition(":")
            if state == "0A" and int(port, 16) in cluster.ports.values():
                found.setdefault(int(port, 16), set()).add(address)
    return found


def test_down_leaves_no_process_no_file_no_user_and_no_socket(fresh: Make) -> None:
    def known() -> set[str]:
        files = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
        return {file for file in files if re.search(rf"\b{cluster.user}\b", Path("/etc", file).read_text())}

    cluster = fresh()
    cluster.up()
    # One that ignores SIGTERM, and one whose slurmd does not live to end it.
    job = submit(cluster, "trap '' TERM; sleep 600", "--nodelist=train1")
    orphan = submit(cluster, "sleep 600", "--nodelist=train2")
    eventually(lambda: state(cluster, job) == state(cluster, orphan) == "RUNNING")
    user = pwd.getpwnam(cluster.user).pw_uid
    # Slurm calls a job running before its node has started it.
    eventually(lambda: sum(line.startswith("sleep 600") for line in processes_of(cluster, user)) >= 2)
    cluster.kill("train2")
    assert len(processes_of(cluster, -1)) >= 9
    assert listeners(cluster)
    assert {"passwd", "group", "shadow"} <= known()
    cluster.down()
    assert processes_of(cluster, user) == []
    assert listeners(cluster) == {}
    assert not cluster.state.exists()
    assert known() == set()


def test_down_works_after_every_daemon_was_killed_and_twice(fresh: Make) -> None:
    cluster = fresh(training_nodes=1, inference_nodes=1)
    cluster.up()
    for name in cluster.daemons:
        cluster.kill(name)
    assert set(cluster.status().values()) == {None}
    cluster.down()
    cluster.down()
    assert not cluster.state.exists()


def test_down_ends_what_runs_although_somebody_removed_its_folder(fresh: Make) -> None:
    cluster = fresh(training_nodes=1, inference_nodes=1, accounting=False)
    cluster.up()
    user = pwd.getpwnam(cluster.user).pw_uid
    shutil.rmtree(cluster.state)
    cluster.down()
    assert processes_of(cluster, user) == []
    assert not cluster.state.exists()
    with pytest.raises(KeyError):
        pwd.getpwnam(cluster.user)


def test_it_comes_up_for_a_root_whose_files_are_closed_to_others(fresh: Make) -> None:
    before = os.umask(0o077)
    try:
        cluster = fresh(training_nodes=1, inference_nodes=1, accounting=False)
        cluster.up()
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    job = submit(cluster, "true")
    eventually(lambda: state(cluster, job) == "COMPLETED")


@pytest.mark.parametrize("seconds", [0.3, 1.2, 3, 5])
def test_down_works_after_an_up_that_was_killed_on_its_way(fresh: Make, command: Command, seconds: float) -> None:
    cluster = fresh()
    name = f"--name={cluster.settings.name}"
    with pytest.raises(subprocess.TimeoutExpired):
        command("up", name, timeout=seconds)
    done = command("down", name)
    assert done.returncode == 0, done.stderr
    assert processes_of(cluster, -1) == []
    assert not cluster.state.exists()
    with pytest.raises(KeyError):
        pwd.getpwnam(cluster.user)


def test_two_clusters_that_come_up_at_the_same_moment_run_side_by_side(fresh: Make) -> None:
    pair = [fresh(training_nodes=1, inference_nodes=1) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(Cluster.up, pair))
    assert not set(pair[0].ports.values()) & set(pair[1].ports.values())
    jobs = [submit(cluster, "echo $SLURM_CLUSTER_NAME") for cluster in pair]
    for cluster, job in zip(pair, jobs, strict=True):
        eventually(lambda cluster=cluster, job=job: state(cluster, job) == "COMPLETED")  # type: ignore[misc]
        assert output(cluster, job).strip() == cluster.settings.name
    pair[0].down()
    assert set(pair[1].status().values()) != {None}
    assert None not in pair[1].status().values()


def test_only_loopback_listens(cluster: Cluster) -> None:
    job = submit(cluster, "srun sleep 30")
    eventually(lambda: state(cluster, job) == "RUNNING")
    found = listeners(cluster)
    assert set(found) == set(cluster.ports.values())
    assert set.union(*found.values()) == {"0100007F"}


def test_a_job_of_the_ordinary_user_runs_hpcretrain_on_a_training_node(cluster: Cluster) -> None:
    program = "import hpcretrain, lightgbm, pandas, os; print(hpcretrain.__file__, os.getuid())"
    job = submit(cluster, f"echo $SLURM_JOB_NODELIST; {cluster.python} -c '{program}'")
    eventually(lambda: state(cluster, job) == "COMPLETED", 60)
    node, told = output(cluster, job).splitlines()
    assert node.startswith("train")
    module, uid = told.split()
    assert int(uid) == pwd.getpwnam(cluster.user).pw_uid != 0
    ours = Path(__file__).parents[2] / "src" / "hpcretrain" / "__init__.py"
    assert Path(module).read_bytes() == ours.read_bytes()


def test_urgent_work_preempts_background_work_which_is_requeued(cluster: Cluster) -> None:
    everything = f"--cpus-per-task={cluster.settings.cpus}"
    array = f"--array=1-{cluster.settings.training_nodes}"
    victims = submit(cluster, "sleep 600", "--qos=background", everything, array)
    eventually(
        lambda: cluster.ask("squeue", "-h", "-t", "R", "-o", "%A").count("\n") == cluster.settings.training_nodes
    )
    begun = time.monotonic()
    urgent = submit(cluster, "sleep 60", "--partition=urgent", "--qos=urgent", everything)
    eventually(lambda: state(cluster, urgent) == "RUNNING", 40)
    assert time.monotonic() - begun < 40
    restarts = re.findall(r"Restarts=(\d)", cluster.ask("scontrol", "show", "job", str(victims)))
    assert sorted(restarts) == ["0"] * (len(restarts) - 1) + ["1"]


@pytest.mark.parametrize("qos", ["urgent", "standard", "background", "serving"])
def test_retraining_cannot_reach_the_nodes_of_inference(cluster: Cluster, qos: str) -> None:
    inference = cluster.settings.inference[0]
    for options in (["--partition=inference"], ["--partition=train", "--nodelist", inference]):
        # Short, so that no limit of time is what refuses it.
        command = ["sbatch", f"--qos={qos}", "--time=1", *options, "--wrap", "true"]
        done = cluster.run(command, capture_output=True, text=True)
        assert done.returncode != 0, options


@pytest.mark.parametrize("end", ["kill", "restart"])
@pytest.mark.parametrize("daemon", ["munged", "mariadbd", "slurmdbd", "slurmctld", "train1", "infer1"])
def test_a_daemon_that_comes_back_finds_its_state(cluster: Cluster, daemon: str, end: str) -> None:
    job = submit(cluster, "sleep 600", "--nodelist=train1")
    # Slurm calls it running before its node has started it, and starts it anew if that goes wrong.
    eventually(lambda: state(cluster, job) == "RUNNING" and (cluster.places.home / f"{job}.out").exists())
    if (daemon, end) == ("slurmctld", "kill"):
        # It writes down what has changed every five seconds; killed before, it forgets a job that already runs.
        began = time.time()
        cluster.ask("scontrol", "update", f"JobId={job}", "Comment=drill")
        eventually(lambda: (cluster.places.controller / "job_state").stat().st_mtime > began)
    before = cluster.status()[daemon]
    if end == "kill":
        cluster.kill(daemon)
        assert cluster.status()[daemon] is None
        cluster.start(daemon)
    else:
        cluster.restart(daemon)
    assert cluster.status()[daemon] not in (None, before)
    assert state(cluster, job) == "RUNNING"
    assert f"{cluster.user}|standard" in cluster.sacctmgr(f"show assoc user={cluster.user} format=user,defaultqos")
    other = submit(cluster, "true")
    eventually(lambda: state(cluster, other) == "COMPLETED")


def test_up_brings_back_what_is_down_and_leaves_the_rest_alone(cluster: Cluster) -> None:
    before = cluster.status()
    cluster.ask("scontrol", "update", "NodeName=train3", "State=DRAIN", "Reason=drill")
    cluster.stop("slurmctld")
    cluster.kill("train2")
    cluster.up()
    assert "drain" not in cluster.ask("sinfo", "-h", "-N", "-o", "%t")
    after = cluster.status()
    assert {name for name in after if after[name] != before[name]} == {"slurmctld", "train2"}
    assert None not in after.values()


def test_an_up_that_fails_names_the_daemon_quotes_its_log_and_takes_everything_back(fresh: Make) -> None:
    cluster = fresh(extra=("SchedulerType=sched/wished",))
    with pytest.raises(Failed, match=r"(?s)^slurmctld ended.*slurmctld\.log:\n.*sched/wished"):
        cluster.up()
    assert not cluster.state.exists()
    with pytest.raises(KeyError):
        pwd.getpwnam(cluster.user)


def test_settings_reach_slurm_and_can_be_changed_on_a_running_cluster(variant: Make) -> None:
    cluster = variant(training_nodes=1, inference_nodes=1, cpus=1)
    job = submit(cluster, "sleep 600")
    eventually(lambda: state(cluster, job) == "RUNNING")
    cluster.reconfigure(grace_s=0, user_signal=False, preempt_mode="cancel", cred_expire_s=120, scheduler="default")
    shown = cluster.ask("scontrol", "show", "config")
    assert "cred_expire=120" in shown
    assert re.search(r"PreemptMode\s+= CANCEL", shown)
    assert "preempt_send_user_signal" not in shown
    assert "bf_interval" not in shown
    assert "background|00:00:00" in cluster.sacctmgr("show qos format=name,gracetime")
    assert "grace_s = 0" in cluster.profile.read_text()
    assert state(cluster, job) == "RUNNING"
    cluster.ask("scancel", job)
    with pytest.raises(Refused, match="accounting"):
        cluster.reconfigure(accounting=False)


def test_without_accounting_partitions_preempt_and_inference_is_closed(variant: Make) -> None:
    cluster = variant(training_nodes=1, inference_nodes=1, accounting=False, grace_s=0)
    assert "slurmdbd" not in cluster.daemons
    background = submit(cluster, "sleep 600", "--cpus-per-task=4")
    eventually(lambda: state(cluster, background) == "RUNNING")
    urgent = submit(cluster, "sleep 600", "--partition=urgent", "--cpus-per-task=4")
    eventually(lambda: state(cluster, urgent) == "RUNNING", 40)
    assert field(cluster, background, "Restarts") == "1"
    done = cluster.run(["sbatch", "--partition=inference", "--wrap", "true"], capture_output=True, text=True)
    assert done.returncode != 0
    assert cluster.run(["sacct"], capture_output=True).returncode != 0
    cluster.cancel_all()


@pytest.mark.skipif(no_cgroups() is not None, reason=str(no_cgroups()))
def test_with_cgroups_a_job_really_runs_out_of_memory(fresh: Make) -> None:
    cluster = fresh(training_nodes=1, inference_nodes=1, cgroups=True)
    cluster.up()
    job = submit(cluster, f"{cluster.python} -c 'bytearray(400 << 20)'", "--mem=100")
    eventually(lambda: state(cluster, job) == "OUT_OF_MEMORY")
    running = submit(cluster, "sleep 600")
    eventually(lambda: state(cluster, running) == "RUNNING")
    user = pwd.getpwnam(cluster.user).pw_uid
    eventually(lambda: bool(list(Path("/sys/fs/cgroup").glob(f"*/slurm_train1/uid_{user}"))))
    cluster.down()
    assert list(Path("/sys/fs/cgroup").glob(f"*/slurm_train1/uid_{user}")) == []

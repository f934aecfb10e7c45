from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from minicluster import Cluster, Refused, Settings, refusals
from minicluster.places import Places
from minicluster.ports import RANGE, reserved
from minicluster.processes import Process, spawn

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"name": "Big"}, "name 'Big'"),
        ({"training_nodes": 0}, "training_nodes = 0: wants 1 to 32"),
        ({"grace_s": -1}, "grace_s = -1"),
        ({"preempt_mode": "suspend"}, "wants one of requeue, cancel"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(Refused, match=told):
        Settings(**wrong)  # type: ignore[arg-type]


def test_a_state_folder_is_refused_when_sockets_in_it_would_have_too_long_a_path() -> None:
    fits = Path("/" + "s" * 64)
    Places(fits)
    with pytest.raises(Refused, match="1 bytes too long"):
        Places(fits.with_name(fits.name + "s"))


def test_a_state_folder_is_refused_where_an_ordinary_user_cannot_get() -> None:
    with (
        tempfile.TemporaryDirectory() as closed,
        pytest.raises(Refused, match=rf"cannot pass {closed}; name another with --state"),
    ):
        refusals.check_folder(Places(Path(closed) / "s"))


def test_a_state_folder_that_holds_something_else_is_refused_by_up_and_by_down() -> None:
    with tempfile.TemporaryDirectory() as folder:
        letter = Path(folder) / "letter"
        letter.touch()
        with pytest.raises(Refused, match="holds something else"):
            refusals.check_folder(Places(Path(folder)))
        with pytest.raises(Refused, match="holds something else"):
            Cluster(Path(folder)).down()
        assert letter.exists()


def test_a_configured_slurm_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "slurm.conf"
    monkeypatch.setattr(refusals, "SITES", (site,))
    assert refusals.another_slurm(None) is None
    assert refusals.another_slurm(str(site)) == f"SLURM_CONF={site}"
    (tmp_path / "cluster.json").touch()
    assert refusals.another_slurm(str(site)) is None
    site.touch()
    assert refusals.another_slurm(None) == str(site)


@pytest.mark.parametrize(
    ("name", "command", "environment", "cgroup", "found"),
    [
        ("slurmd", "slurmd\0-D\0", "", "0::/\n", True),
        ("slurmctld", "slurmctld\0", "SLURM_CONF=/opt/s.conf\0", "0::/system.slice/slurmctld.service\n", True),
        ("slurmctld", "slurmctld\0-f\0/opt/s.conf\0", "", "0::/\n", False),
        ("slurmd", "slurmd\0-D\0", "A=1\0SLURM_CONF=/opt/s.conf\0", "0::/user.slice\n", False),
        ("bash", "bash\0", "", "0::/\n", False),
    ],
)
def test_a_slurm_that_serves_the_machine_is_told_from_one_that_somebody_tries(
    tmp_path: Path, name: str, command: str, environment: str, cgroup: str, found: bool
) -> None:
    texts = {"comm": f"{name}\n", "cmdline": command, "environ": environment, "cgroup": cgroup}
    process = tmp_path / "4711"
    process.mkdir()
    for file, text in texts.items():
        (process / file).write_text(text)
    assert refusals.service(process) == (f"{name} runs as process 4711" if found else None)


def test_a_process_that_got_the_pid_of_an_earlier_one_is_never_signaled(tmp_path: Path) -> None:
    stranger = spawn(["sleep", "60"], {"PATH": "/usr/bin:/bin"}, tmp_path / "log")
    earlier = Process(stranger.pid, stranger.started - 1, stranger.boot)
    before_boot = Process(stranger.pid, stranger.started, "another boot")
    for process in (earlier, before_boot):
        file = tmp_path / "process"
        process.write(file)
        assert Process.read(file) is None
        process.stop(signal.SIGKILL)
    assert stranger.alive
    stranger.stop(signal.SIGKILL)
    assert not stranger.alive


def test_a_program_that_ignores_sigterm_is_ended_all_the_same(tmp_path: Path) -> None:
    stubborn = spawn(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], {"PATH": os.defpath}, tmp_path / "log")
    stubborn.stop(seconds=0.2)
    assert not stubborn.alive


def test_reserved_ports_differ_and_can_be_bound_by_a_daemon_meanwhile() -> None:
    names = [str(number) for number in range(200)]
    with reserved(names) as one, reserved(names) as other:
        assert len({*one.values(), *other.values()}) == 400
        assert {*one.values(), *other.values()} <= set(RANGE)
        program = (
            "import socket, sys; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1);"
            "s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen()"
        )
        subprocess.run(["python3", "-c", program, str(one["0"])], check=True, timeout=30)


def test_nobody_but_root_brings_a_cluster_up(cluster: Cluster, command: Command) -> None:
    done = command("up", "--name=other", user=cluster)
    assert (done.returncode, done.stdout) == (2, "")
    assert "brought up by root" in done.stderr


def test_the_user_of_somebody_else_is_not_taken(fresh: Callable[..., Cluster]) -> None:
    cluster = fresh()
    subprocess.run(["useradd", "--system", "--no-create-home", "--home-dir=/nonexistent", cluster.user], check=True)
    try:
        with pytest.raises(Refused, match=f"user {cluster.user} is there already"):
            cluster.up()
        assert not cluster.state.exists()
        cluster.down()
        subprocess.run(["id", cluster.user], check=True, capture_output=True)
    finally:
        subprocess.run(["userdel", cluster.user], check=True)

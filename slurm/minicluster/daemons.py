"""The daemons of a cluster: how each starts, and how one sees that it serves."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from minicluster.errors import Failed
from minicluster.places import Places
from minicluster.ports import listening
from minicluster.processes import MARK, Process, spawn, wait_for
from minicluster.programs import FOLDERS, program

SECONDS_TO_SERVE = 30
LAST_LINES = 15


@dataclass(frozen=True)
class Daemon:
    """One daemon, running or not."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    places: Places
    serves: Callable[[], bool]

    @property
    def process(self) -> Process | None:
        """Its process, if it runs."""
        return Process.read(self._file)

    @property
    def _file(self) -> Path:
        return self.places.run / f"{self.name}.process"

    def start(self) -> None:
        """Start it unless it runs, and wait until it serves.

        Raises:
            Failed: It ended, or did not serve in time; with the last lines of its log.
        """
        process = self.process
        if process is None:
            process = spawn(self.command, self.environment, self.places.log / f"{self.name}.out")
            process.write(self._file)
        if not wait_for(lambda: not process.alive or self.serves(), SECONDS_TO_SERVE):
            raise Failed(f"{self.name} does not serve after {SECONDS_TO_SERVE} s. {self.last_lines()}")
        if not process.alive:
            process.stop()
            raise Failed(f"{self.name} ended instead of serving. {self.last_lines()}")

    def last_lines(self) -> str:
        """The end of its log, for a message."""
        log = self.places.log
        for file in (log / f"{self.name}.log", log / f"{self.name}.out"):
            if file.exists() and (text := file.read_text(errors="replace").strip()):
                return f"The end of {file}:\n" + "\n".join(text.splitlines()[-LAST_LINES:])
        return f"It logged nothing to {log}."


def daemons(places: Places, ports: Mapping[str, int], names: list[str]) -> dict[str, Daemon]:
    """The daemons of these names, in this order."""
    environment = {
        "PATH": FOLDERS,
        "LC_ALL": "C",
        "SLURM_CONF": str(places.conf),
        # libmariadb in slurmdbd takes the socket from here.
        "MYSQL_UNIX_PORT": str(places.database_socket),
        MARK: str(places.state),
    }
    commands = {
        "munged": munged(places),
        "mariadbd": mariadbd(places),
        "slurmdbd": (program("slurmdbd"), "-D", "-s"),
        "slurmctld": (program("slurmctld"), "-D", "-i"),
    }
    serving: dict[str, Callable[[], bool]] = {
        "munged": lambda: _answers(places.munge_socket, greets=False),
        "mariadbd": lambda: _answers(places.database_socket, greets=True),
    }
    return {
        name: Daemon(
            name=name,
            command=commands.get(name, (program("slurmd"), "-D", "-N", name)),
            environment=environment,
            places=places,
            serves=serving.get(name) or partial(listening, ports.get(name, 0)),
        )
        for name in names
    }


def munged(places: Places) -> tuple[str, ...]:
    """The command of munged, with a key of the cluster's own."""
    return (
        program("munged"), "--foreground", "--force", "--num-threads=4",
        f"--key-file={places.munge_key}", f"--seed-file={places.munge_seed}", f"--socket={places.munge_socket}",
        f"--pid-file={places.run}/munged.own.pid", f"--log-file={places.log}/munged.log",
    )  # fmt: skip


def mariadbd(places: Places) -> tuple[str, ...]:
    """The command of MariaDB: small, without network, and in no hurry to write to disk."""
    return (
        program("mariadbd"), "--no-defaults", "--user=root", f"--socket={places.database_socket}", "--skip-networking",
        f"--datadir={places.database}", f"--tmpdir={places.database}", f"--pid-file={places.run}/mariadbd.own.pid",
        f"--log-error={places.log}/mariadbd.log", "--performance-schema=OFF", "--max-connections=40",
        "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=16M", "--innodb-lock-wait-timeout=900",
        "--innodb-flush-log-at-trx-commit=0",
    )  # fmt: skip


def make_munge_key(places: Places) -> None:
    """Make the secret that all programs of the cluster share, once."""
    if not places.munge_key.exists():
        fresh = places.munge_key.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_bytes(secrets.token_bytes(128))
        fresh.chmod(0o400)
        fresh.replace(places.munge_key)


def make_database(places: Places) -> None:
    """Make an empty database, once.

    Raises:
        Failed: MariaDB's own script failed.
    """
    if (places.database / "mysql").exists():
        return
    fresh = places.state / "database.new"
    if fresh.exists():
        shutil.rmtree(fresh)
    fresh.mkdir(mode=0o700)
    done = subprocess.run(
        [
            program("mariadb-install-db"), "--no-defaults", "--user=root", f"--datadir={fresh}", "--skip-test-db",
            "--innodb-log-file-size=16M", "--auth-root-authentication-method=socket", "--auth-root-socket-user=root",
        ],
        env={**os.environ, "PATH": FOLDERS, "TMPDIR": str(places.state), MARK: str(places.state)},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"mariadb-install-db failed:\n{(done.stdout + done.stderr).strip()}")
    fresh.replace(places.database)


def _answers(path: Path, *, greets: bool) -> bool:
    """Whether somebody accepts on a Unix socket and, where it should, speaks first."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        try:
            client.connect(str(path))
            return not greets or bool(client.recv(1))
        except OSError:
            return False

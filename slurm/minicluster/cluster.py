"""A cluster as a whole: up, down, and all that a drill does to it."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from minicluster import accounts, configuration, daemons, environment, profile, refusals, user
from minicluster.cgroups import remove as remove_cgroups
from minicluster.daemons import Daemon
from minicluster.errors import Failed, Refused
from minicluster.lock import locked
from minicluster.places import STATES, Places
from minicluster.ports import reserved
from minicluster.processes import kill, left_over, wait_for
from minicluster.programs import program
from minicluster.settings import Settings

# Settings that a running cluster cannot take over: they are in its ports, its accounts or its daemons.
FIXED = ("name", "inference_nodes", "training_nodes", "accounting", "cgroups")
# As sinfo shows nodes that take no jobs until they are resumed.
OUT = ("down", "drain", "drng", "fail", "failg")
SECONDS_TO_REGISTER = 30
SECONDS_TO_CANCEL = 30


class Cluster:
    """A real Slurm on this machine; its whole state lies in one folder.

    Raises:
        Refused: The folder's path cannot be used.
    """

    def __init__(self, state: Path | None = None, settings: Settings | None = None) -> None:
        """Name a cluster; nothing happens before `up`.

        Args:
            state: Its folder; by default one for its name below /var/lib/hpcretrain-minicluster.
            settings: Of a cluster that is not up yet. One that is up keeps its own.
        """
        wanted = settings or Settings()
        self.state = state or STATES / wanted.name
        self.places = Places(self.state)
        self.ports: dict[str, int] = {}
        self.settings = wanted
        if self.places.record.exists():
            self._load()

    def _load(self) -> None:
        record = json.loads(self.places.record.read_text())
        values = record["settings"]
        self.settings = Settings(**{**values, "extra": tuple(values["extra"])})
        self.ports = record["ports"]

    def _save(self) -> None:
        record = {"settings": dataclasses.asdict(self.settings), "ports": self.ports}
        fresh = self.places.record.with_suffix(".new")
        fresh.write_text(json.dumps(record, indent=1))
        fresh.replace(self.places.record)

    @property
    def conf(self) -> Path:
        """The path of slurm.conf."""
        return self.places.conf

    @property
    def environ(self) -> dict[str, str]:
        """What Slurm's commands need in their environment."""
        return {"SLURM_CONF": str(self.conf)}

    @property
    def user(self) -> str:
        """The name of the ordinary user."""
        return self.settings.user

    @property
    def python(self) -> Path:
        """An interpreter that the ordinary user can run, which imports hpcretrain and all its packages."""
        return self.places.python / "bin" / "python"

    @property
    def profile(self) -> Path:
        """The path of the cluster profile."""
        return self.places.profile

    @property
    def spool(self) -> Path:
        """The spool on the shared file system: the ordinary user's, closed to others."""
        return self.places.spool

    @property
    def daemons(self) -> dict[str, Daemon]:
        """By name, in the order in which they start."""
        return daemons.daemons(self.places, self.ports, self.settings.daemons)

    def status(self) -> dict[str, int | None]:
        """The pid of each daemon by name; None where it does not run."""
        running = {name: daemon.process for name, daemon in self.daemons.items()}
        return {name: process.pid if process else None for name, process in running.items()}

    def up(self) -> None:
        """Bring up all that is not up, and wait until every node serves; a node that is down or drained is resumed.

        A cluster that is up stays as it is, except that nodes see what has changed in hpcretrain's source since.

        Raises:
            Refused: Something about this machine or folder is in the way; nothing was changed.
            Failed: A program failed; a cluster that was not there before is not there afterwards.
        """
        refusals.check(self.settings, self.places)
        user.find(self.user, self.places)
        with locked(self.state, make=True):
            if self.places.record.exists():
                self._load()
                self._start_all()
                return
            try:
                with reserved(name for name in self.settings.daemons if name not in ("munged", "mariadbd")) as ports:
                    self.ports = ports
                    self._save()
                    self._start_all()
            except BaseException:
                self._remove()
                raise

    def _start_all(self) -> None:
        self.places.make()
        self._write()
        daemons.make_munge_key(self.places)
        who = user.make(self.user, self.places)
        with ThreadPoolExecutor(1) as aside:
            made = aside.submit(environment.make, self.places.python, who)
            self._start_daemons()
            made.result()
        user.write_login(who, self.places, {**self.environ, "PATH": f"{self.python.parent}:{os.defpath}"})

    def _start_daemons(self) -> None:
        every = self.daemons
        if self.settings.accounting:
            daemons.make_database(self.places)
        for name in self.settings.daemons:
            if name == "slurmctld" and self.settings.accounting:
                self._account()
            every[name].start()
        self._wait_for_nodes(self.settings.nodes, resume=True)

    def _account(self) -> None:
        """Make QOS, accounts and users, once; an attempt that was cut short is made again."""
        done = self.places.run / "accounts"
        if done.exists():
            return
        output = self.sacctmgr(*accounts.first_lines(self.settings), *accounts.check_lines(self.settings))
        if not accounts.complete(output, self.settings):
            raise Failed(f"sacctmgr did not set up the accounts:\n{output}")
        done.touch()

    def _write(self) -> None:
        configuration.write(self.settings, self.places, self.ports)
        self.places.profile.write_text(profile.text(self.settings, self.places))

    def _wait_for_nodes(self, nodes: list[str], *, resume: bool = False) -> None:
        """Wait until nodes answer; what an operator has drained stays so unless it is to be resumed."""

        def ready() -> bool:
            states = self._node_states(nodes) if nodes else {}
            if resume and (out := [node for node, state in states.items() if state in OUT]):
                # Slurm refuses for a node that came back by itself meanwhile.
                command = [program("scontrol"), "update", f"NodeName={','.join(out)}", "State=RESUME"]
                subprocess.run(command, env=self._root(), capture_output=True, timeout=30)
                return False
            # A star marks a node that does not answer.
            silent = [state for state in states.values() if state in ("unk", "down") or state.endswith("*")]
            return len(states) == len(nodes) and not silent

        if not wait_for(ready, SECONDS_TO_REGISTER):
            state = self.ask("sinfo", "-N", "-n", ",".join(nodes), "-o", "%N %t %E")
            raise Failed(f"not every node serves after {SECONDS_TO_REGISTER} s:\n{state}")

    def _node_states(self, nodes: list[str]) -> dict[str, str]:
        command = [program("sinfo"), "-h", "-N", "-n", ",".join(nodes), "-o", "%N %t"]
        done = subprocess.run(command, env=self._root(), capture_output=True, text=True, timeout=30)
        return {line.split()[0]: line.split()[1] for line in done.stdout.splitlines()}

    def down(self) -> None:
        """End every process of the cluster and remove its user and files, whatever state it is in.

        Raises:
            Failed: A process does not end, or the user cannot be removed.
        """
        # Somebody may have removed the folder alone.
        if not (self.state.exists() or user.own(self.user, self.places) or left_over(self.state, self.conf, None)):
            return
        with locked(self.state, make=True):
            if not self.places.record.exists():
                if any(self.state.iterdir()):
                    raise Refused(f"state folder {self.state}: holds something else")
            else:
                self._load()
            self._remove()

    def _remove(self) -> None:
        who = user.own(self.user, self.places)
        for daemon in self.daemons.values():
            if process := daemon.process:
                process.send(signal.SIGKILL)
        # Twice: what was just being born escapes the first look.
        for _ in range(2):
            while found := left_over(self.state, self.conf, who.pw_uid if who else None):
                kill(found)
        if self.settings.cgroups and who:
            remove_cgroups(self.settings.nodes, who.pw_uid)
        user.remove(self.user, self.places)
        shutil.rmtree(self.state)
        if self.state.parent == STATES:
            with suppress(OSError):
                STATES.rmdir()

    def start(self, name: str) -> None:
        """Start one daemon unless it runs, and wait until it serves; slurmctld and slurmd, until they know each other.

        Raises:
            Refused: There is no daemon of this name.
            Failed: It does not serve; with the last lines of its log.
        """
        daemon = self._daemon(name)
        with locked(self.state):
            daemon.start()
            if name == "slurmctld":
                self._wait_for_controller()
                # It knows the state of a node only when that has answered.
                self._wait_for_nodes([node for node in self.settings.nodes if self.daemons[node].process])
            if name in self.settings.nodes and self.daemons["slurmctld"].process:
                self._wait_for_nodes([name])

    def stop(self, name: str) -> None:
        """End one daemon in its own way (SIGTERM).

        Raises:
            Refused: There is no daemon of this name.
        """
        self._end(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """End one daemon at once (SIGKILL); what a node was running runs on.

        Raises:
            Refused: There is no daemon of this name.
        """
        self._end(name, signal.SIGKILL)

    def restart(self, name: str) -> None:
        """Stop and start one daemon, which finds its state again.

        Raises:
            Refused: There is no daemon of this name.
            Failed: It does not serve; with the last lines of its log.
        """
        self.stop(name)
        self.start(name)

    def _end(self, name: str, number: signal.Signals) -> None:
        daemon = self._daemon(name)
        with locked(self.state):
            if process := daemon.process:
                process.stop(number)

    def _daemon(self, name: str) -> Daemon:
        if not self.places.record.exists():
            raise Refused(f"no cluster at {self.state}: bring it up first")
        if name not in self.daemons:
            raise Refused(f"no daemon {name!r}; there are {', '.join(self.daemons)}")
        return self.daemons[name]

    def reconfigure(self, **changes: Any) -> None:
        """Change settings of a cluster that is up, with restarts where Slurm wants them. Jobs go on.

        Args:
            changes: Fields of `Settings` and their new values.

        Raises:
            Refused: A value makes no sense, or the setting is for the life of a cluster.
            Failed: Slurm does not take it.
        """
        if fixed := [name for name in changes if name in FIXED]:
            raise Refused(f"{', '.join(fixed)}: a running cluster cannot change this; bring up another")
        with locked(self.state):
            before, self.settings = self.settings, dataclasses.replace(self.settings, **changes)
            self._save()
            self._write()
            again = ["slurmctld"]
            if before.cred_expire_s != self.settings.cred_expire_s and self.settings.accounting:
                again.insert(0, "slurmdbd")
            for name in again:
                if process := self.daemons[name].process:
                    process.stop()
            if self.settings.accounting:
                self.daemons["slurmdbd"].start()
                self.sacctmgr(*accounts.later_lines(self.settings))
            self.daemons["slurmctld"].start()
            self._wait_for_controller()
            self.ask("scontrol", "reconfigure")
            self._wait_for_nodes(self.settings.nodes)

    def _wait_for_controller(self) -> None:
        def answers() -> bool:
            command = [program("scontrol"), "ping"]
            return subprocess.run(command, env=self._root(), capture_output=True, timeout=30).returncode == 0

        if not wait_for(answers, SECONDS_TO_REGISTER):
            raise Failed(f"slurmctld does not answer. {self.daemons['slurmctld'].last_lines()}")

    def sacctmgr(self, *lines: str) -> str:
        """Give lines to one session of sacctmgr as root.

        Returns:
            All that it printed: tables without header, fields separated by `|`. A refused line does not stop it.
        """
        done = subprocess.run(
            [program("sacctmgr"), "-i", "-n", "-P"], input="".join(f"{line}\n" for line in lines), env=self._root(),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        )  # fmt: skip
        return done.stdout

    def ask(self, command: str, *arguments: str) -> str:
        """Run one of Slurm's commands as root.

        Returns:
            What it printed.

        Raises:
            Failed: Its exit code was not 0.
        """
        done = subprocess.run(
            [program(command), *arguments], env=self._root(),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        if done.returncode:
            raise Failed(f"{command} {' '.join(arguments)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
        return done.stdout

    def cancel_all(self) -> None:
        """Cancel every job and wait until none is left.

        Raises:
            Failed: One does not end.
        """
        self.ask("scancel", "--quiet", "--full", "--user", self.user)

        def none() -> bool:
            return not self.ask("squeue", "-h", "-o", "%A")

        if not wait_for(none, SECONDS_TO_CANCEL):
            raise Failed(f"jobs do not end within {SECONDS_TO_CANCEL} s:\n{self.ask('squeue')}")

    def _root(self) -> dict[str, str]:
        # What the caller has set for its own submissions must not count here.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SALLOC"))}
        return {**kept, **self.environ}

    def as_user(self, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Arguments for `subprocess` that make a program the ordinary user's, in a clean environment.

        Args:
            env: Added to the environment.

        Raises:
            Refused: There is no such user: the cluster was never up.
        """
        if (who := user.find(self.user, self.places)) is None:
            raise Refused(f"no cluster at {self.state}: bring it up first")
        variables = {
            "PATH": f"{self.python.parent}:{os.defpath}",
            "HOME": who.pw_dir,
            "USER": who.pw_name,
            "LOGNAME": who.pw_name,
            "LANG": "C.UTF-8",
            **self.environ,
            **(env or {}),
        }
        return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": [], "cwd": who.pw_dir, "env": variables}

    def run(self, args: list[str], **kw: Any) -> subprocess.CompletedProcess[Any]:
        """Run a program as the ordinary user, in its home unless `cwd` is given.

        Args:
            args: The program and its arguments.
            kw: As for `subprocess.run`; `env` is added to a clean environment.
        """
        return subprocess.run(args, **{**self.as_user(kw.pop("env", None)), **kw})

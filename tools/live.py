"""The live system on one machine: `python tools/live.py up|down`, as root on Debian; the Makefile calls it.

Up brings up a Slurm cluster, and as its ordinary user a home that lives on the flights of New York in 2013, which pass
as if live at high speed; its controller; a Prefect server with a worker, set up to steer the home; and MLflow's pages.
All of it lies in the folder of the cluster, and down leaves nothing of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

from hpcretrain.adapters import nycflights
from minicluster import Cluster, Refused, Settings
from minicluster.errors import Failed

NAME = "live"
FROM = "2013-03-01"
DAYS_A_MINUTE = 30
APPROVALS = """
# Urgent trainings of this home wait for an approval; root is who can give it on a machine of one's own.
[approvals]
run = ["urgent"]
approvers = ["root"]
expires_h = {expires_h:g}
"""
MINUTES_TO_APPROVE = 5


class LiveSystem:
    """The live system of this machine."""

    def __init__(self) -> None:
        self.cluster = Cluster(settings=Settings(name=NAME))
        self.folder = self.cluster.state / "home" / "flights"
        self.inbox = self.folder / "inbox"
        self.environment: dict[str, str] = {}

    def up(self, days_a_minute: float) -> None:
        """Bring up what is not up yet, and say where to look."""
        say("a Slurm cluster")
        self.cluster.up()
        if not (self.folder / "home" / "live.json").exists():
            say("a home that lives on the flights of New York in 2013")
            self._home(days_a_minute)
        say("a Prefect server, and what the home needs there")
        prefect = self._told("prefect", "server", str(self.folder / "prefect"))
        self.environment["PREFECT_HOME"] = prefect["folder"]
        self._run("prefect", "setup", "--home", "home")
        say("the controller, MLflow's pages, a worker")
        self._start("controller", "controller", "--home", "home")
        until(lambda: (self.folder / "home" / "mlflow" / "mlflow.db").exists(), "the first champion is registered")
        mlflow = self._told("mlflow", "--home", "home")
        # Where Prefect's pages link to.
        self.environment["MLFLOW_TRACKING_URI"] = mlflow["page"]
        self._start("worker", "prefect", "worker")
        self._show(prefect, mlflow)

    def down(self) -> None:
        """End it, and leave nothing behind."""
        self.cluster.down()

    def _home(self, days_a_minute: float) -> None:
        self.cluster.run(["mkdir", "-p", str(self.folder)], check=True)
        config = nycflights.write(self.folder)
        expires_h = days_a_minute * 24 * MINUTES_TO_APPROVE
        policy = resources.files("hpcretrain.config").joinpath("standard.toml").read_text(encoding="utf-8")
        (self.folder / "policy.toml").write_text(policy + APPROVALS.format(expires_h=expires_h), encoding="utf-8")
        with config.open("a", encoding="utf-8") as file:
            file.write('\n[policy]\nfile = "policy.toml"\n')
        for path in self.folder.iterdir():
            if path.is_file() and not path.is_symlink():
                path.chmod(0o644)
        speed = days_a_minute * 24 * 60
        place = ["--home", "home", "--inbox", str(self.inbox), "--cluster", str(self.cluster.profile)]
        self._run("live", config.name, *place, "--from", FROM, "--speed", f"{speed:g}")

    def _run(self, *arguments: str) -> str:
        command = [str(self.cluster.python), "-m", "hpcretrain", *arguments]
        done = self.cluster.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"hpcretrain {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
        return str(done.stdout)

    def _told(self, *arguments: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self._run(*arguments, "--json"))
        return told

    def _start(self, name: str, *arguments: str) -> None:
        """Start a process of the ordinary user that stays, unless it is there."""
        command = [str(self.cluster.python), "-m", "hpcretrain", *arguments]
        if subprocess.run(
            ["pgrep", "--uid", self.cluster.user, "--full", " ".join(command)], capture_output=True
        ).stdout:
            return
        log = self.folder / f"{name}.log"
        with log.open("ab") as file:
            how = {**self.cluster.as_user(self.environment), "cwd": self.folder, "start_new_session": True}
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **how)

    def _show(self, prefect: dict[str, Any], mlflow: dict[str, Any]) -> None:
        as_user = f"su - {self.cluster.user} -c"
        home = self.folder / "home"
        hpcretrain = f"{self.cluster.python} -m hpcretrain"
        print(
            f"""
The flights of New York in 2013 pass as if live, and their model is kept fresh.

  Prefect   {prefect["page"]}    password: {Path(prefect["folder"]) / "password"}
  MLflow    {mlflow["page"]}    user and password: {mlflow["password_file"]}
  logs      {self.folder}/*.log

  how it stands    {as_user} '{hpcretrain} status --home {home}'
  ask for more     {as_user} '{hpcretrain} request --home {home} --class urgent --reason "an incident"'
  approve it       {sys.executable} -m hpcretrain approve --inbox {self.inbox}
  Slurm's queue    {as_user} squeue
  the page         {as_user} '{hpcretrain} report --home {home}'

`make live-down` ends it and leaves nothing behind."""
        )


def until(what: Any, because: str, within_s: float = 180.0) -> None:
    """Wait until `what()` is true."""
    deadline = time.monotonic() + within_s
    while not what():
        if time.monotonic() > deadline:
            raise Failed(f"it took longer than {within_s:g} s until {because}; `make live-down` ends what is up")
        time.sleep(0.5)


def say(what: str) -> None:
    """Say what is brought up."""
    print(f"{what} ...", file=sys.stderr, flush=True)


def main() -> int:
    """Do as the command line says; 2: cannot be here, 3: something did not come up."""
    parser = argparse.ArgumentParser(prog="make live", description="The live system on one machine.")
    parser.add_argument("verb", choices=("up", "down"))
    parser.add_argument("--days-a-minute", type=float, default=DAYS_A_MINUTE, help=f"how fast ({DAYS_A_MINUTE})")
    options = parser.parse_args()
    try:
        system = LiveSystem()
        system.up(options.days_a_minute) if options.verb == "up" else system.down()
    except Refused as error:
        print(f"live: {error}", file=sys.stderr)
        return 2
    except Failed as error:
        print(f"live: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The command line: `python3 -m minicluster VERB`."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from minicluster import programs
from minicluster.cluster import Cluster
from minicluster.errors import Failed, Refused
from minicluster.places import STATES, Places
from minicluster.settings import PreemptMode, Scheduler, Settings

DEFAULTS = Settings()
HELP = {
    "inference_nodes": "nodes that serve",
    "training_nodes": "nodes that train",
    "cpus": "processors claimed by each node",
    "memory_mb": "memory claimed by each node",
    "grace_s": "GraceTime of what can be preempted",
    "user_signal": "preemption sends a job's own signal",
    "preempt_mode": "what preemption does to a job",
    "requeue": "jobs can be requeued",
    "cred_expire_s": "how long a requeued job waits (Slurm's own: 120)",
    "scheduler": "intervals of a second or less, or Slurm's own",
    "accounting": "slurmdbd, QOS and sacct",
    "cgroups": "the kernel limits the memory of jobs",
    "kill_wait_s": "seconds from SIGTERM to SIGKILL",
    "slurmd_timeout_s": "seconds until a silent node is down",
}
CHOICES = {"preempt_mode": get_args(PreemptMode), "scheduler": get_args(Scheduler)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        0 done, 1 status found something down, 2 refused, 3 a program of the cluster failed.
    """
    options = parser().parse_args(arguments)
    try:
        return int(options.verb(options))
    except Refused as error:
        print(f"minicluster: {error}", file=sys.stderr)
        return 2
    except (Failed, subprocess.TimeoutExpired) as error:
        print(f"minicluster: {error}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """All verbs and options."""
    whole = argparse.ArgumentParser(
        prog="minicluster", description="A real Slurm cluster on this machine, on loopback."
    )
    which = argparse.ArgumentParser(add_help=False)
    which.add_argument("--name", default=DEFAULTS.name, help="of the cluster (default: %(default)s)")
    which.add_argument("--state", type=Path, help=f"its folder (default: {STATES}/NAME)")
    verbs = whole.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, function: object, text: str, **kw: object) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text, parents=[which])
        made.set_defaults(verb=function)
        return made

    up = verb("up", _up, "bring the cluster up, or what of it is down")
    up.add_argument("--write-profile", type=Path, metavar="FILE", help="keep this copy of the cluster profile true")
    _add_settings(up)
    verb("down", _down, "end all its processes; remove its files and its user")
    verb("status", _status, "each daemon and node")
    verb("env", _env, 'print what a shell needs: eval "$(python3 -m minicluster env)"')
    for name in ("start", "stop", "kill", "restart"):
        made = verb(name, _drill, f"{name} one daemon")
        made.add_argument("daemon", help="munged, mariadbd, slurmdbd, slurmctld, infer1.., train1..")
        made.set_defaults(drill=name)
    run = verb("run", _run, "run a command (by default, a shell) as the cluster's ordinary user")
    run.add_argument("command", nargs=argparse.REMAINDER)
    packages = verbs.add_parser("packages", help="name the Debian packages that are missing")
    packages.set_defaults(verb=_packages)
    return whole


def _add_settings(up: argparse.ArgumentParser) -> None:
    for field in dataclasses.fields(Settings):
        if field.name in ("name", "extra"):
            continue
        flag = "--" + field.name.removesuffix("_s").removesuffix("_mb").replace("_", "-")
        text = f"{HELP[field.name]} (default: {getattr(DEFAULTS, field.name)})"
        if isinstance(field.default, bool):
            up.add_argument(flag, dest=field.name, action=argparse.BooleanOptionalAction, help=text)
        elif field.name in CHOICES:
            up.add_argument(flag, dest=field.name, choices=CHOICES[field.name], help=text)
        else:
            up.add_argument(flag, dest=field.name, type=int, help=text, metavar="N")
    up.add_argument("--extra", action="append", metavar="LINE", help="a line at the end of slurm.conf; can be repeated")


def _cluster(options: argparse.Namespace) -> Cluster:
    return Cluster(options.state, Settings(name=options.name))


def _up(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    given = {field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)}
    given = {name: value for name, value in given.items() if value is not None}
    if "extra" in given:
        given["extra"] = tuple(given["extra"])
    cluster = Cluster(options.state, Settings(**given))
    other = [name for name, value in given.items() if getattr(cluster.settings, name) != value]
    if other:
        what = ", ".join(f"{name} = {getattr(cluster.settings, name)!r}" for name in other)
        raise Refused(f"cluster {options.name} is there with {what}; take it down first")
    cluster.up()
    if options.write_profile:
        _keep_true(options.write_profile, cluster.profile)
    print(f"cluster {options.name}: {len(cluster.settings.nodes)} nodes, up in {time.monotonic() - begun:.1f} s")
    print(f"profile: {options.write_profile or cluster.profile}")
    print(f"submit as its ordinary user: su - {cluster.user} -c 'sbatch --wrap hostname'")
    return 0


def _keep_true(copy: Path, original: Path) -> None:
    text = original.read_text()
    if not copy.exists() or copy.read_text() != text:
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text)


def _down(options: argparse.Namespace) -> int:
    _cluster(options).down()
    print(f"cluster {options.name}: nothing is left of it")
    return 0


def _status(options: argparse.Namespace) -> int:
    cluster = _cluster(options)
    if not Places(cluster.state).record.exists():
        print(f"cluster {options.name}: there is none")
        return 1
    status = cluster.status()
    for name, pid in status.items():
        print(f"{name:<10} {f'process {pid}' if pid else 'DOWN'}")
    if status["slurmctld"] and status["munged"]:
        print(cluster.ask("sinfo", "-N", "-o", "%N %P %t %C").rstrip())
    return 1 if None in status.values() else 0


def _env(options: argparse.Namespace) -> int:
    cluster = _cluster(options)
    if not cluster.conf.exists():
        raise Refused(f"no cluster at {cluster.state}: bring it up first")
    for name, value in cluster.environ.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _drill(options: argparse.Namespace) -> int:
    getattr(_cluster(options), options.drill)(options.daemon)
    return 0


def _run(options: argparse.Namespace) -> int:
    words = options.command[1:] if options.command[:1] == ["--"] else options.command
    try:
        return _cluster(options).run(words or ["bash"]).returncode
    except FileNotFoundError as error:
        raise Refused(f"no program {error.filename!r}") from None


def _packages(options: argparse.Namespace) -> int:
    print(" ".join(programs.missing()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

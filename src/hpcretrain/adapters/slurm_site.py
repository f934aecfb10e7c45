"""Looks at a site through Slurm's own commands, as any user may."""

from __future__ import annotations

import contextlib
import grp
import json
import math
import os
import pwd
import stat
import uuid
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from hpcretrain.adapters import slurm_script
from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_output import read_records
from hpcretrain.adapters.slurm_site_output import (
    preempted_by_trial,
    read_associations,
    read_config,
    read_memory,
    read_partition,
    read_qos,
    read_reservation,
)
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.errors import InputError, SlurmError
from hpcretrain.node.probe import PACKAGES
from hpcretrain.policy.retry import Ask
from hpcretrain.records import PriorityClass
from hpcretrain.site.facts import Folder, Partition, Reservation, Site, Trial

_COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sacct", "sacctmgr")
_CHANGE_SBATCH = ("SBATCH_", "SLURM_EXCLUSIVE", "SLURM_CLUSTERS")
_CHECKPOINTS = 200

Seen = TypeVar("Seen")


class SiteReader:
    """Asks Slurm what a site is like: each command once, and no job is submitted.

    Args:
        slurm: The door.
    """

    def __init__(self, slurm: Slurm) -> None:
        self._slurm = slurm
        self._unseen: dict[str, str] = {}

    def look(self) -> Site:
        """What can be seen without a profile; what Slurm does not tell is in `Site.unseen`."""
        ask = self._slurm.ask
        self._unseen = {}
        missing = self._missing()
        user = pwd.getpwuid(os.getuid()).pw_name
        config = self._see("config", lambda: read_config(ask("scontrol", "show", "config")))
        answers, name = config is not None, (config or {}).get("ClusterName", "")
        managed = answers and config is not None and "slurmdbd" in config.get("AccountingStorageType", "")
        why_not = self._unseen.get("config", "there is no slurmdbd")
        show = ("sacctmgr", "--parsable2", "--readonly", "show")
        return Site(
            user=user,
            groups=frozenset(_groups(user)),
            missing=missing,
            version=self._see("version", lambda: ask("sbatch", "--version").split()[-1]),
            config=config,
            partitions=self._see("partitions", self._partitions, answers, why_not),
            reservations=self._see("reservations", self._reservations, answers, why_not),
            node_memory_mb=self._see(
                "node_memory_mb", lambda: read_memory(ask("sinfo", "--noheader", "--exact", "--format=%R|%m")), answers,
                why_not,
            ),
            qos=self._see("qos", lambda: read_qos(ask(*show, "qos")), managed, why_not),
            associations=self._see(
                "associations",
                lambda: read_associations(ask(*show, "associations", f"user={user}", f"cluster={name}")),
                managed,
                why_not,
            ),
            accounting_trouble=self._accounting_trouble(),
            unseen=self._unseen,
            sbatch_variables=tuple(sorted(name for name in os.environ if name.startswith(_CHANGE_SBATCH))),
            here={name: version(name) for name in ("hpcretrain", *PACKAGES)},
        )  # fmt: skip

    def _see(self, name: str, look: Callable[[], Seen], possible: bool = True, why_not: str = "") -> Seen | None:
        if not possible:
            self._unseen[name] = why_not
            return None
        try:
            return look()
        except (SlurmError, InputError) as error:
            self._unseen[name] = str(error)
        except (ValueError, KeyError, IndexError) as error:
            self._unseen[name] = f"what Slurm printed is not understood: {error}"
        return None

    def _missing(self) -> dict[str, str]:
        missing = {}
        for name in _COMMANDS:
            try:
                self._slurm.command(name)
            except InputError as error:
                missing[name] = str(error)
        return missing

    def _partitions(self) -> dict[str, Partition]:
        # Hidden partitions count: training might reach inference through one.
        shown = read_records(self._slurm.ask("scontrol", "--all", "--oneliner", "show", "partition"))
        return {each["PartitionName"]: read_partition(each) for each in shown if "PartitionName" in each}

    def _reservations(self) -> dict[str, Reservation]:
        shown = self._slurm.show("reservation")
        return {each["ReservationName"]: read_reservation(each) for each in shown if "ReservationName" in each}

    def _accounting_trouble(self) -> str | None:
        try:
            self._slurm.ask("sacct", "--noheader", "--allocations", f"--user={os.getuid()}", "--starttime=now")
        except (SlurmError, InputError) as error:
            return str(error)
        return None


def try_classes(slurm: Slurm, profile: ClusterProfile) -> dict[PriorityClass, Trial]:
    """What Slurm would say to a job of each class; none is submitted."""
    return {each: _try(slurm, profile, each) for each in profile.classes.order}


def _try(slurm: Slurm, profile: ClusterProfile, priority_class: PriorityClass) -> Trial:
    wanted = profile.classes.of(priority_class)
    options = slurm_script.options(
        profile,
        priority_class,
        name="hpcretrain.doctor",
        ask=Ask(wanted.memory_mb, wanted.time_limit_min),
        cpus=1,
        tasks=1,
        root=profile.spool.path,
    )
    try:
        told = slurm.try_submission(options, "#!/bin/sh\n")
    except SlurmError as error:
        if error.trouble == "unreachable":
            raise
        return Trial(False, str(error))
    lines = [line.strip().removeprefix("sbatch: ") for line in told.splitlines()]
    return Trial(True, "; ".join(line for line in lines if line), preempted_by_trial(told))


def see_folder(path: Path) -> Folder:
    """What the spool is like from here; a file is written and renamed in it."""
    try:
        seen = path.stat()
    except FileNotFoundError:
        return Folder(exists=False)
    except OSError as error:
        return Folder(exists=True, trouble=str(error))
    mode, mine = stat.S_IMODE(seen.st_mode), seen.st_uid == os.getuid()
    if not stat.S_ISDIR(seen.st_mode):
        return Folder(True, mode, mine, f"{path} is no folder")
    fresh = path / f".doctor-{uuid.uuid4().hex}"
    try:
        fresh.touch(mode=0o600)
        fresh = fresh.rename(fresh.with_suffix(".renamed"))
        fresh.unlink()
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        return Folder(True, mode, mine, str(error))
    return Folder(True, mode, mine)


def longest_checkpoint(spool: Path) -> float | None:
    """The longest that a checkpoint took (s), by the newest lives that tell it."""
    told = sorted(spool.glob("*/jobs/*/lives/*/ended.json"), key=_changed_at, reverse=True)[:_CHECKPOINTS]
    found = []
    for path in told:
        try:
            seconds = json.loads(path.read_text(encoding="utf-8")).get("checkpoint_s")
        except (OSError, ValueError, AttributeError):
            # Of another version, or removed just now: there are others.
            continue
        if isinstance(seconds, int | float) and math.isfinite(seconds):
            found.append(float(seconds))
    return max(found, default=None)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _groups(user: str) -> list[str]:
    names = []
    for number in os.getgrouplist(user, os.getgid()):
        try:
            names.append(grp.getgrgid(number).gr_name)
        except KeyError:
            # A group without a name: no partition can name it.
            continue
    return names

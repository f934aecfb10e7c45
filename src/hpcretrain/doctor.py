"""Checks a live site as the user who runs it, and drafts the profile of a new one."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpcretrain.adapters.mounts import candidates
from hpcretrain.adapters.slurm import Slurm
from hpcretrain.adapters.slurm_output import expand
from hpcretrain.adapters.slurm_probe import Probes
from hpcretrain.adapters.slurm_site import SiteReader, longest_checkpoint, see_folder, try_classes
from hpcretrain.config.cluster import ClusterProfile, Commands, load_cluster
from hpcretrain.errors import InputError, SlurmError
from hpcretrain.records import Outcome, PriorityClass
from hpcretrain.site.check import check
from hpcretrain.site.draft import Around, Draft, draft
from hpcretrain.site.facts import Probe, Site, Trial
from hpcretrain.site.item import Item

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Checkup:
    """What was found at a site."""

    name: str
    user: str
    answers: bool
    """Whether slurmctld does."""
    items: tuple[Item, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong; what cannot be seen is not wrong."""
        return all(item.finding.outcome is not Outcome.FAIL for item in self.items)


def check_site(path: Path, wait_s: float, progress: Progress = lambda what: None) -> Checkup:
    """Check the site of a cluster profile. Sends one job of a few seconds for each class; leaves nothing behind.

    Args:
        path: The profile.
        wait_s: How long these jobs may wait until they start; 0 sends none.
        progress: Told what is done next.

    Raises:
        InputError: The profile or the time cannot be used, or there is no sbatch where the profile says.
    """
    if not (math.isfinite(wait_s) and wait_s >= 0):
        raise InputError(f"--wait: {wait_s:g} is no number of seconds from 0 on")
    profile = load_cluster(path)
    slurm = Slurm(profile.commands)
    progress("asking Slurm")
    site = SiteReader(slurm).look()
    answers = site.config is not None
    site = dataclasses.replace(
        site, folder=see_folder(profile.spool.path), checkpoint_s=longest_checkpoint(profile.spool.path)
    )
    if answers:
        site = _tried(slurm, profile, site)
        progress(f"sending short jobs, which may wait {wait_s:g} s to start")
        site = dataclasses.replace(site, probes=_probes(slurm, profile, site, wait_s))
    return Checkup(profile.name, site.user, answers, tuple(check(profile, site, expand)))


def _tried(slurm: Slurm, profile: ClusterProfile, site: Site) -> Site:
    try:
        return dataclasses.replace(site, trials=try_classes(slurm, profile))
    except SlurmError as error:
        return dataclasses.replace(site, unseen={**site.unseen, "trials": str(error)})


def _probes(slurm: Slurm, profile: ClusterProfile, site: Site, wait_s: float) -> dict[PriorityClass, Probe]:
    classes = profile.classes.order
    kept_back = {each: why for each in classes if (why := _not_to_send(site, site.trials.get(each), wait_s))}
    sent = [each for each in classes if each not in kept_back]
    done = Probes(slurm, profile).run(sent, wait_s) if sent else {}
    return done | {each: Probe(False, why) for each, why in kept_back.items()}


def _not_to_send(site: Site, trial: Trial | None, wait_s: float) -> str:
    """Why no job of a class may be sent; "" if one may."""
    if wait_s <= 0:
        return "no job was sent, as was asked (--wait 0)"
    if site.folder is None or not site.folder.exists or site.folder.trouble:
        return "no job was sent: the spool cannot be written here"
    if trial is None or not trial.accepted:
        return "no job was sent: Slurm would refuse it"
    if trial.preempts:
        return f"no job was sent: job {trial.preempts} would have had to make room for it"
    return ""


def draft_site(path: Path) -> Draft:
    """Draft the profile of the site that the commands on PATH belong to. What is there is never overwritten.

    Args:
        path: The file to be written.

    Raises:
        InputError: It is there already or cannot be written, or there are no commands of Slurm.
        SlurmError: Slurm does not answer; nothing was written.
    """
    if path.exists():
        raise InputError(f"{path}: is there already and is not overwritten; name another file")
    conf = os.environ.get("SLURM_CONF")
    site = SiteReader(Slurm(Commands())).look()
    if site.config is None:
        raise SlurmError(site.unseen.get("config", "slurmctld does not answer"), "unreachable")
    found = draft(site, Around(sys.executable, conf, candidates()))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(found.text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
    return found

"""The spool, and what short jobs saw on nodes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.site.asked import Asked
from hpcretrain.site.facts import Probe, Site
from hpcretrain.site.hosts import fold
from hpcretrain.site.item import Item, better, do, fine, operate, profile, unseen, wrong

NO_SPOOL, NOT_WRITABLE = 81, 82
"""Exit codes by which a probe says what is wrong with the spool on its node."""

_CLOCK_S = 10.0


def spool(terms: ClusterProfile, site: Site) -> Item:
    """The spool as it is seen here."""
    path, folder = shlex.quote(str(terms.spool.path)), site.folder
    if folder is None:
        return unseen("spool.here", "nobody looked", "nobody")
    if not folder.exists:
        return wrong("spool.here", f"there is no {path}", do(f"install -d -m 700 {path}"))
    if folder.trouble:
        mend = operate(f"install -d -m 700 -o {site.user} {path}")
        return wrong("spool.here", f"{path} cannot be written here: {folder.trouble}", mend)
    if folder.mode & 0o077:
        reason = f"others may enter {path} (mode {folder.mode:04o}): it holds rows of the table, and models"
        mend = do(f"chmod 700 {path}") if folder.mine else do(f"install -d -m 700 {path}/{site.user}")
        also = [] if folder.mine else [profile("spool", f'path = "{terms.spool.path}/{site.user}"')]
        return wrong("spool.here", reason, mend, *also, observed=f"{folder.mode:04o}", limit="0700")
    return fine("spool.here", f"{path} can be written, and is closed to others", f"{folder.mode:04o}")


def node(terms: ClusterProfile, asked: Asked, site: Site) -> Iterator[Item]:
    """What the short job of a class saw."""
    name = asked.name
    probe = site.probes.get(asked.priority_class)
    if probe is None or not probe.ran:
        who = "you, when a node is free: --wait 600" if probe else "you, once what is wrong above is mended"
        yield unseen(f"node.{name}", probe.why if probe else "no job was sent", who)
        return
    where = fold(probe.nodes) or "a node"
    trouble = _spool_there(terms, name, probe, where)
    yield trouble or fine(f"node.{name}.spool", f"{where} writes in the spool, and what it wrote is seen here")
    if trouble:
        return
    if probe.seen is None:
        last = probe.output.splitlines()[-1] if probe.output else f"nothing (exit code {probe.exit_code})"
        yield wrong(
            f"node.{name}.environment",
            f"{terms.environment.python} did not run on {where}: {last}",
            profile("environment", 'python = "/PATH/TO/python"'),
            observed=probe.exit_code,
        )
        return
    yield from _environment(terms, name, probe.seen, where, site)
    yield from _rights(terms, name, probe, probe.seen, where)
    yield _clock(name, probe, where)


def _spool_there(terms: ClusterProfile, name: str, probe: Probe, where: str) -> Item | None:
    check, path = f"node.{name}.spool", terms.spool.path
    mend = profile("spool", 'path = "/SHARED/FOLDER"')
    if probe.exit_code == NO_SPOOL:
        return wrong(check, f"{where} does not have {path}, or has another folder of that name", mend)
    if probe.exit_code == NOT_WRITABLE:
        return wrong(check, f"{where} cannot write in {path}", mend)
    if not probe.own:
        return wrong(check, f"what {where} writes in {path} belongs to another user, or others may read it", mend)
    if probe.seen is None and not probe.output and probe.exit_code == 0:
        return wrong(check, f"what {where} wrote in {path} is not seen here", mend)
    return None


def _environment(terms: ClusterProfile, name: str, seen: Any, where: str, site: Site) -> Iterator[Item]:
    check, errors, versions = f"node.{name}.environment", seen["errors"], seen["versions"]
    python = f"Python {seen['python']} ({seen['executable']}) on {where}"
    install = do(f"{terms.environment.python} -m pip install hpcretrain=={site.here.get('hpcretrain', '')}")
    change = profile("environment", 'python = "/PATH/TO/python"')
    if errors:
        what = "; ".join(f"{package}: {error}" for package, error in sorted(errors.items()))
        yield wrong(check, f"{python} cannot import {what}", install, change)
        return
    mine, theirs = site.here.get("hpcretrain"), versions.get("hpcretrain")
    if mine != theirs:
        reason = f"{python} has hpcretrain {theirs}, and it is {mine} here"
        yield wrong(check, reason, install, change, observed=theirs, limit=mine)
        return
    yield fine(check, f"{python} imports hpcretrain {theirs}", theirs)
    others = {package: at for package, at in versions.items() if at != site.here.get(package)}
    if others:
        told = ", ".join(f"{package} {at} (here {site.here.get(package)})" for package, at in sorted(others.items()))
        pins = " ".join(f"{package}=={site.here.get(package)}" for package in sorted(others))
        mend = do(f"{terms.environment.python} -m pip install {pins}")
        yield better(f"node.{name}.packages", f"models may differ from those trained here: {told}", mend)
    else:
        yield fine(f"node.{name}.packages", "the packages that train have the same versions as here")


def _rights(terms: ClusterProfile, name: str, probe: Probe, seen: Any, where: str) -> Iterator[Item]:
    check, wanted = f"node.{name}.scontrol", terms.preemption.requeue and terms.preemption.requeue_on_node
    mend = profile("preemption", "requeue_on_node = false")
    if seen["scontrol"] and wanted:
        yield wrong(check, f"a job cannot call scontrol on {where} to requeue itself: {seen['scontrol']}", mend)
    elif seen["scontrol"]:
        yield fine(check, f"a job cannot call scontrol on {where}, and need not")
    else:
        yield fine(check, f"a job can call scontrol on {where}")
    check = f"node.{name}.requeue"
    if probe.requeue is None:
        yield unseen(check, "Slurm does not tell whether the job might be requeued")
    elif terms.preemption.requeue and not probe.requeue:
        off = profile("preemption", "requeue = false")
        yield wrong(check, "the job asked to be requeued (--requeue), and the site took that away", off)
    else:
        yield fine(check, f"Slurm {'may' if probe.requeue else 'may not'} requeue the job, as was asked")


def _clock(name: str, probe: Probe, where: str) -> Item:
    check = f"node.{name}.clock"
    if abs(probe.behind_s) > _CLOCK_S:
        way = "behind" if probe.behind_s > 0 else "ahead"
        reason = f"the clock of {where} is {abs(probe.behind_s):.0f} s {way} of this one, or more"
        return better(check, reason, operate("systemctl restart chronyd", f"on {where}, or here"))
    return fine(check, f"the clocks of {where} and here agree within what can be seen")

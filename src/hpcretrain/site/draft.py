"""Drafts the profile of a site that was never seen: every guess says why, and what nobody could guess is left open."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpcretrain.priority import BUILT_IN, PriorityClass
from hpcretrain.site.facts import Association, Partition, Qos, Site

_SERVES = re.compile(r"infer|serv(e|ing)|online|production|\bprod\b", re.IGNORECASE)
_SHARED = ("nfs", "lustre", "gpfs", "beegfs", "ceph", "panfs", "afs", "orangefs", "gluster", "weka", "fuse")
_HOURS = {PriorityClass.URGENT: 1, PriorityClass.STANDARD: 4, PriorityClass.BACKGROUND: 12}
_MEMORY_MB = 4000


@dataclass(frozen=True)
class Around:
    """What is known where hpcretrain runs, beside Slurm.

    Attributes:
        python: The interpreter.
        conf: `SLURM_CONF`, if it is set.
        folders: Folders in which a spool might lie, with the types of their file systems, the likeliest first.
    """

    python: str
    conf: str | None
    folders: Sequence[tuple[Path, str]]


@dataclass(frozen=True)
class Draft:
    """A profile as text, and what is still to be filled in or looked at, a sentence each."""

    text: str
    open: tuple[str, ...]


@dataclass(frozen=True)
class _Guess:
    """What a class gets, and why."""

    partition: str
    qos: str | None
    account: str | None
    minutes: int
    memory_mb: int
    why: str


def draft(site: Site, around: Around) -> Draft:
    """The profile of a site.

    Args:
        site: What was seen of it, without a profile.
        around: What is known beside that.
    """
    serving = sorted(name for name in site.partitions or {} if _SERVES.search(name))
    classes = {each: _class(each, site, serving) for each in BUILT_IN}
    open_points: list[str] = []
    lines = [
        "# Drafted by `hpcretrain doctor --write`. Each guess says why; look at it, then run the same without --write.",
        f"name = {_text(site.setting('ClusterName') or 'cluster')}",
        "",
        *_commands(around),
        *_spool(around, open_points),
        *_inference(serving, site, open_points),
        "[environment]",
        "# The interpreter that runs here. Nodes must have the same one, at the same place.",
        f"python = {_text(around.python)}",
        '# modules = []   conda = ""   container = ""   setup = []',
        "",
        *_preemption(site, [classes[each] for each in (PriorityClass.STANDARD, PriorityClass.BACKGROUND)]),
        *_accounting(site),
    ]
    for priority_class, guess in classes.items():
        lines += _class_lines(priority_class, guess, open_points)
    return Draft("\n".join(lines).rstrip() + "\n", tuple(open_points))


def _commands(around: Around) -> list[str]:
    if around.conf is None:
        return []
    return ["[commands]", "# SLURM_CONF is set here.", f"conf = {_text(around.conf)}", ""]


def _spool(around: Around, open_points: list[str]) -> list[str]:
    shared = [(path, kind) for path, kind in around.folders if kind.lower().startswith(_SHARED)]
    path, kind = (shared or list(around.folders))[0]
    spool = path / "hpcretrain-spool"
    if shared:
        why = f"# {path} is on a shared file system ({kind})."
    else:
        kind = kind or "an unknown file system"
        why = f"# {path} is on {kind}: whether nodes share it is seen when doctor sends its jobs."
    open_points.append(f"spool.path: make it, closed to others: install -d -m 700 {spool}")
    return ["[spool]", why, f"path = {_text(str(spool))}", ""]


def _inference(serving: list[str], site: Site, open_points: list[str]) -> list[str]:
    lines = ["[inference]"]
    if serving:
        named = ", ".join(_text(name) for name in serving)
        open_points.append(f"inference: are {named} all partitions that serve? Name single nodes by nodes")
        return [*lines, "# By their names. Nothing that is trained may come there.", f"partitions = [{named}]", ""]
    seen = ", ".join(sorted(site.partitions or {})) or "none"
    open_points.append("inference.partitions or inference.nodes: name what serves; without it the profile is refused")
    return [
        *lines,
        f"# No partition bears a name that says that it serves; there are: {seen}. Name at least one of the two:",
        '# partitions = ["NAME"]',
        '# nodes = "NAME[1-4]"',
        "",
    ]


def _preemption(site: Site, victims: list[_Guess]) -> list[str]:
    kind = site.setting("PreemptType") or "not known"
    by_qos = "qos" in kind
    graces = [_grace(site, each, by_qos) for each in victims]
    mode = site.setting("PreemptMode") or "not known"
    default = site.setting("JobRequeue") or "not known"
    signal = site.has_words("SlurmctldParameters", "preempt_send_user_signal") or site.has_words(
        "PreemptParameters", "send_user_signal"
    )
    return [
        "[preemption]",
        "# The shortest GraceTime of what may be preempted.",
        f"grace_s = {int(min(graces, default=0))}",
        f"# Sent before the time limit{' and at preemption' if signal else '; this site sends none at preemption'}.",
        'signal = "USR2"',
        "lead_s = 60",
        f"# PreemptType is {kind}, PreemptMode {mode}, JobRequeue {default}.",
        f"requeue = {str('CANCEL' not in mode.upper()).lower()}",
        "# Whether nodes may call scontrol is seen when doctor sends its jobs.",
        "requeue_on_node = true",
        "",
    ]


def _grace(site: Site, guess: _Guess, by_qos: bool) -> float:
    if by_qos:
        qos = (site.qos or {}).get(guess.qos or "")
        return qos.grace_s if qos else 0
    partition = (site.partitions or {}).get(guess.partition)
    return partition.grace_s if partition else 0


def _accounting(site: Site) -> list[str]:
    there = site.accounting_trouble is None
    why = "sacct answers." if there else f"sacct does not answer: {site.accounting_trouble}"
    return ["[status]", f"# {why.splitlines()[0]}", f"accounting = {str(there).lower()}", ""]


def _class(priority_class: PriorityClass, site: Site, serving: list[str]) -> _Guess:
    qos, why_qos = _qos(priority_class, site, serving)
    account = _account(site, qos)
    partition, why_partition = _partition(priority_class, site, serving, qos, account)
    limits = [_HOURS[priority_class] * 60.0]
    if partition and partition.max_time_min is not None:
        limits.append(partition.max_time_min)
    if qos and qos.max_wall_min is not None:
        limits.append(qos.max_wall_min)
    node_mb = (site.node_memory_mb or {}).get(partition.name if partition else "", 2 * _MEMORY_MB)
    return _Guess(
        partition=partition.name if partition else "",
        qos=qos.name if qos else None,
        account=account.account if account else None,
        minutes=max(5, int(min(limits))),
        memory_mb=max(1, min(_MEMORY_MB, node_mb // 2)),
        why=f"{why_partition} {why_qos}".strip(),
    )


def _qos(priority_class: PriorityClass, site: Site, serving: list[str]) -> tuple[Qos | None, str]:
    mine = _allowed_qos(site, serving)
    if not mine:
        return None, ""
    for each in mine:
        if each.name.lower() == priority_class.value:
            return each, f"QOS {each.name} by its name."
    # Most urgent first: who preempts more, then by priority.
    ordered = sorted(mine, key=lambda each: (len(each.preempts), each.priority, each.name), reverse=True)
    place = {PriorityClass.URGENT: 0, PriorityClass.STANDARD: (len(ordered) - 1) // 2, PriorityClass.BACKGROUND: -1}
    chosen = ordered[place[priority_class]]
    rank = ", ".join(f"{each.name} ({each.priority})" for each in ordered)
    return chosen, f"QOS {chosen.name}: by what preempts what, and by priority, they are {rank}."


def _allowed_qos(site: Site, serving: list[str]) -> list[Qos]:
    names = set().union(*(each.qos for each in site.associations or ()))
    closed: set[str] = set()
    for name in serving:
        partition = (site.partitions or {})[name]
        closed |= partition.allow_qos or frozenset()
    return [each for name, each in sorted((site.qos or {}).items()) if name in names - closed]


def _account(site: Site, qos: Qos | None) -> Association | None:
    fitting = [each for each in site.associations or () if qos is None or qos.name in each.qos]
    return next(iter([*fitting, *(site.associations or ())]), None)


def _partition(
    priority_class: PriorityClass, site: Site, serving: list[str], qos: Qos | None, account: Association | None
) -> tuple[Partition | None, str]:
    every = site.partitions or {}
    busy = frozenset[str]().union(*(every[name].nodes for name in serving))
    able = [
        each
        for each in every.values()
        if each.name not in serving
        and each.state == "UP"
        and each.nodes
        and not each.nodes & busy
        and not each.needs_reservation
        and each.admits(qos=qos.name if qos else None, account=account.account if account else None, groups=site.groups)
    ]
    if not able:
        return None, "No partition that is up takes jobs of this user and QOS."
    for each in able:
        if each.name.lower() == priority_class.value:
            return each, f"Partition {each.name} by its name."
    default = [each for each in able if each.default]
    if default:
        return default[0], f"Partition {default[0].name} is the default one."
    most = max(able, key=lambda each: (len(each.nodes), each.name))
    return most, f"Partition {most.name} has most nodes of those that are open."


def _class_lines(priority_class: PriorityClass, guess: _Guess, open_points: list[str]) -> list[str]:
    name = priority_class.value
    lines = [f"[classes.{name}]", f"# {guess.why}"]
    if guess.partition:
        lines.append(f"partition = {_text(guess.partition)}")
    else:
        lines.append('# partition = "NAME"')
        open_points.append(f"classes.{name}.partition: name one; without it the profile is refused")
    lines += [f"qos = {_text(guess.qos)}"] if guess.qos else []
    lines += [f"account = {_text(guess.account)}"] if guess.account else []
    return [*lines, f"memory_mb = {guess.memory_mb}", f"time_limit_min = {guess.minutes}", ""]


def _text(value: str) -> str:
    # What JSON escapes, TOML escapes in the same way.
    return json.dumps(value, ensure_ascii=False)

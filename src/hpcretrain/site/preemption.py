"""Whether more urgent work really gets room: who preempts whom, what happens to a victim, and how long it has."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.site.asked import Asked, every_class
from hpcretrain.site.facts import Site
from hpcretrain.site.hosts import fold
from hpcretrain.site.item import Item, better, conf, conf_restart, fine, operate, profile, unseen, wrong

LEAST_CHECKPOINT_S = 5.0
"""How long a checkpoint is taken to last where none was measured: less than a second of writing, the end of the running
segment, and a call of scontrol."""

BY_QOS, BY_PARTITION = "preempt/qos", "preempt/partition_prio"


def preemption(terms: ClusterProfile, site: Site) -> Iterator[Item]:
    """All about preemption."""
    if site.config is None:
        yield unseen("preemption", "slurmctld does not answer")
        return
    kind = site.setting("PreemptType").lower()
    if kind not in (BY_QOS, BY_PARTITION):
        yield wrong(
            "preemption.type",
            f"nothing is ever preempted: PreemptType is {kind or 'not set'}; urgent work waits for other work",
            conf_restart(f"PreemptType={BY_QOS}\nPreemptMode=REQUEUE"),
            observed=kind,
            limit=BY_QOS,
        )
        return
    yield fine("preemption.type", f"PreemptType is {kind}", kind)
    classes = every_class(terms, site)
    for upper, lower in combinations(classes, 2):
        yield _order(kind, upper, lower, site)
    for victim in classes[1:]:
        yield _mode(kind, terms, victim, site)
        yield _grace(kind, terms, victim, site)
        yield from _exempt(kind, victim, site)
    yield _signal(terms, site)
    yield _requeue(terms, site)
    yield _wait_after_requeue(site)


def _order(kind: str, upper: Asked, lower: Asked, site: Site) -> Item:
    check = f"preemption.order.{upper.name}>{lower.name}"
    if kind == BY_PARTITION:
        return _order_by_partition(check, upper, lower)
    if site.qos is None:
        return unseen(check, site.unseen.get("qos", "sacctmgr does not answer"))
    if upper.qos is None or lower.qos is None:
        lacking = [each.name for each in (upper, lower) if each.qos is None]
        return unseen(check, f"the QOS of class {' and '.join(lacking)} is not known; see qos.{lacking[0]}", "nobody")
    if upper.qos.name == lower.qos.name:
        reason = f"both classes have QOS {upper.qos.name}, which does not preempt itself"
        return wrong(check, reason, operate(f"sacctmgr -i add qos {upper.name} Preempt={lower.qos.name}"))
    if lower.qos.name in upper.qos.preempts:
        return fine(check, f"QOS {upper.qos.name} preempts {lower.qos.name}")
    preempts = ", ".join(sorted(upper.qos.preempts)) or "none"
    return wrong(
        check,
        f"QOS {upper.qos.name} does not preempt {lower.qos.name} (only {preempts}): {upper.name} work would wait",
        operate(f"sacctmgr -i modify qos {upper.qos.name} set Preempt+={lower.qos.name}"),
    )


def _order_by_partition(check: str, upper: Asked, lower: Asked) -> Item:
    if not upper.partitions or not lower.partitions:
        return unseen(check, "a partition of these classes is not known")
    above = max(upper.partitions, key=lambda each: each.priority_tier)
    below = min(lower.partitions, key=lambda each: each.priority_tier)
    if above.priority_tier > below.priority_tier:
        return fine(check, f"partition {above.name} has a higher PriorityTier than {below.name}, and preempts it")
    reason = f"partition {above.name} (PriorityTier {above.priority_tier}) does not preempt {below.name} "
    reason += f"({below.priority_tier}): {upper.name} work would wait"
    tier = f"PriorityTier={below.priority_tier + 1}"
    if above.name != below.name:
        return wrong(check, reason, operate(f"scontrol update PartitionName={above.name} {tier}", "and in slurm.conf"))
    return wrong(
        check,
        f"{reason}; no partition preempts itself",
        conf(f"PartitionName={upper.name} Nodes={fold(above.nodes)} {tier} GraceTime={above.grace_s:g}"),
        profile(f"classes.{upper.name}", f'partition = "{upper.name}"'),
    )


def _mode(kind: str, terms: ClusterProfile, victim: Asked, site: Site) -> Item:
    check = f"preemption.mode.{victim.name}"
    mode, of, mend = site.setting("PreemptMode"), "PreemptMode of the cluster", conf_restart("PreemptMode=REQUEUE")
    if kind == BY_QOS:
        if victim.qos is None:
            return unseen(check, f"the QOS of class {victim.name} is not known", "nobody")
        if victim.qos.preempt_mode.lower() != "cluster":
            mode, of = victim.qos.preempt_mode, f"PreemptMode of QOS {victim.qos.name}"
            mend = operate(f"sacctmgr -i modify qos {victim.qos.name} set PreemptMode=requeue")
    elif victim.partitions and victim.partitions[0].preempt_mode:
        name = victim.partitions[0].name
        mode, of = victim.partitions[0].preempt_mode, f"PreemptMode of partition {name}"
        mend = operate(f"scontrol update PartitionName={name} PreemptMode=REQUEUE", "and in slurm.conf")
    words = {word.strip() for word in mode.upper().split(",")}
    what = f"{of} is {mode or 'not set'}"
    if "REQUEUE" in words:
        return fine(check, f"{what}: a preempted job is requeued", mode)
    if "CANCEL" in words:
        if not terms.preemption.requeue:
            return fine(check, f"{what}: a preempted job is canceled, and the controller submits it anew", mode)
        reason = f"{what}: a preempted job is canceled, and the profile says that it is requeued"
        return wrong(check, reason, mend, profile("preemption", "requeue = false"), observed=mode)
    does = "is suspended and keeps its memory" if "SUSPEND" in words else "does not make room"
    return wrong(check, f"{what}: a job that shall be preempted {does}", mend, observed=mode)


def _grace(kind: str, terms: ClusterProfile, victim: Asked, site: Site) -> Item:
    check = f"preemption.grace.{victim.name}"
    if kind == BY_QOS:
        if victim.qos is None:
            return unseen(check, f"the QOS of class {victim.name} is not known", "nobody")
        grace, of = victim.qos.grace_s, f"QOS {victim.qos.name}"
        change, note = f"sacctmgr -i modify qos {victim.qos.name} set GraceTime=", ""
    else:
        if not victim.partitions:
            return unseen(check, f"the partition of class {victim.name} is not known")
        grace, of = victim.partitions[0].grace_s, f"partition {victim.partitions[0].name}"
        change, note = f"scontrol update PartitionName={victim.partitions[0].name} GraceTime=", "and in slurm.conf"
    checkpoint = site.checkpoint_s if site.checkpoint_s is not None else LEAST_CHECKPOINT_S
    known = "measured here" if site.checkpoint_s is not None else "assumed: none was measured here yet"
    needed = math.ceil(2 * checkpoint)
    if grace < needed:
        return wrong(
            check,
            f"GraceTime of {of} is {grace:g} s, less than twice a checkpoint ({checkpoint:.3g} s, {known}): a "
            "preempted job loses what it did since its last checkpoint",
            operate(f"{change}{needed}", note),
            observed=grace,
            limit=needed,
        )
    if grace < terms.preemption.grace_s:
        return wrong(
            check,
            f"GraceTime of {of} is {grace:g} s, and the profile says {terms.preemption.grace_s} s",
            profile("preemption", f"grace_s = {int(grace)}"),
            operate(f"{change}{terms.preemption.grace_s}", note),
            observed=grace,
            limit=terms.preemption.grace_s,
        )
    return fine(check, f"GraceTime of {of} is {grace:g} s, a checkpoint lasts {checkpoint:.3g} s ({known})", grace)


def _exempt(kind: str, victim: Asked, site: Site) -> Iterator[Item]:
    own = victim.qos.exempt_min if kind == BY_QOS and victim.qos else None
    told = site.setting("PreemptExemptTime") if own is None else ""
    if own:
        name = victim.qos.name if victim.qos else ""
        mend = operate(f"sacctmgr -i modify qos {name} set PreemptExemptTime=00:00:00")
        what = f"{own:g} min (PreemptExemptTime of QOS {name})"
    elif told.strip("-0:"):
        mend, what = conf("PreemptExemptTime=00:00:00"), f"{told} (PreemptExemptTime of the cluster)"
    else:
        return
    reason = f"a job of class {victim.name} is preempted only after it has run for {what}: urgent work waits for that"
    yield better(f"preemption.exempt.{victim.name}", reason, mend)


def _signal(terms: ClusterProfile, site: Site) -> Item:
    check = "preemption.signal"
    # The option moved in 23.02, where PreemptParameters came; a list that is there is shown even when it is empty.
    place, word = ("SlurmctldParameters", "preempt_send_user_signal")
    if "PreemptParameters" in (site.config or {}):
        place, word = ("PreemptParameters", "send_user_signal")
    on = site.has_words("SlurmctldParameters", "preempt_send_user_signal") or site.has_words(
        "PreemptParameters", "send_user_signal"
    )
    wanted = terms.preemption.signal
    if on and wanted:
        return fine(check, f"a job hears {wanted} when it is preempted ({place}={word})")
    if on:
        mend = profile("preemption", 'signal = "USR2"')
        return better(check, "the site would send a job's signal at preemption, and the profile asks for none", mend)
    others = [part for part in site.setting(place).split(",") if part]
    mend_conf = conf(f"{place}={','.join([*others, word])}")
    if not wanted:
        return better(check, "a preempted job hears TERM alone, as the profile says", mend_conf)
    return wrong(
        check,
        f"preemption does not send {wanted}: {place} lacks {word}; a preempted job hears TERM alone",
        mend_conf,
        observed=site.setting(place),
        limit=word,
    )


def _requeue(terms: ClusterProfile, site: Site) -> Item:
    check = "preemption.requeue"
    default, wanted = site.setting("JobRequeue"), terms.preemption.requeue
    if wanted and default == "0":
        return better(
            check,
            "requeueing is off by default (JobRequeue=0), and jobs ask for it themselves (--requeue); whether they get "
            "it is seen at node.CLASS.requeue",
            conf("JobRequeue=1"),
        )
    if wanted:
        return fine(check, f"jobs ask to be requeued, and that is the site's default (JobRequeue={default})")
    reason = "requeueing is off: after preemption or a node's failure the controller submits a job anew"
    mends = [profile("preemption", "requeue = true")]
    return better(f"{check}", reason, *([conf("JobRequeue=1")] if default == "0" else []), *mends)


def _wait_after_requeue(site: Site) -> Item:
    wait = next(
        (
            part.partition("=")[2]
            for part in site.setting("AuthInfo").split(",")
            if part.strip().startswith("cred_expire=")
        ),
        "120",
    )
    reason = (
        f"Slurm lets a requeued job wait about {wait} s (cred_expire of AuthInfo); the controller starts ours at once"
    )
    return fine("preemption.wait_after_requeue", reason, int(wait) if wait.isdigit() else None)

"""Whether Slurm answers, and whether this user may submit jobs of each class."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.site.asked import Asked
from hpcretrain.site.facts import Association, Partition, Site
from hpcretrain.site.item import Item, Mend, better, conf_restart, fine, operate, profile, unseen, wrong

_WITHOUT = ("sacct", "sacctmgr")


def commands(terms: ClusterProfile, site: Site) -> Iterator[Item]:
    """Slurm's commands, their version, and whether the controller answers them."""
    needed = [name for name in site.missing if name not in _WITHOUT or terms.status.accounting]
    for name in needed:
        if name in _WITHOUT:
            yield wrong("commands", site.missing[name], profile("status", "accounting = false"))
        else:
            yield wrong("commands", site.missing[name], profile("commands", 'folder = "/usr/bin"'))
    if not needed:
        yield fine("commands", f"Slurm's commands are there, version {site.version or 'unknown'}", site.version)
    if site.config is None:
        yield wrong(
            "controller",
            site.unseen.get("config", "scontrol does not answer"),
            operate("systemctl start slurmctld", "on the controller's host; `scontrol ping` names it"),
        )
    else:
        yield fine("controller", f"slurmctld {site.setting('SLURM_VERSION')} answers", site.setting("SLURM_VERSION"))
    names = ", ".join(site.sbatch_variables)
    yield fine(
        "variables", f"{names} are set, and not passed on to Slurm" if names else "none changes what sbatch does"
    )


def accounting(terms: ClusterProfile, site: Site) -> Iterator[Item]:
    """Whether there is accounting, as the profile says."""
    if site.config is None:
        yield unseen("accounting", "slurmctld does not answer")
        return
    kind = site.setting("AccountingStorageType")
    there = bool(kind) and not kind.endswith("/none")
    wanted = terms.status.accounting
    if not there and wanted:
        yield wrong(
            "accounting",
            "there is no accounting (AccountingStorageType): how a job ended is known only while squeue tells",
            profile("status", "accounting = false"),
            conf_restart("AccountingStorageType=accounting_storage/slurmdbd"),
        )
    elif not there:
        yield fine("accounting", "there is none, as the profile says")
    elif site.accounting_trouble is not None and wanted:
        yield wrong(
            "accounting",
            f"sacct does not answer: {site.accounting_trouble}",
            operate("systemctl start slurmdbd", f"on {site.setting('AccountingStorageHost') or 'its host'}"),
            profile("status", "accounting = false"),
        )
    elif not wanted:
        mend = profile("status", "accounting = true")
        yield better("accounting", "there is accounting, and the profile leaves it unused", mend)
    else:
        yield fine("accounting", "sacct answers")
    yield from _remembered(terms, site, there and wanted)


def _remembered(terms: ClusterProfile, site: Site, accounted: bool) -> Iterator[Item]:
    age = _first_number(site.setting("MinJobAge"))
    least = 2 * terms.status.every_s
    if age is None:
        yield unseen("memory_of_jobs", "MinJobAge is not told")
    elif age >= least or accounted:
        yield fine("memory_of_jobs", f"squeue tells of a job for {age:g} s after its end (MinJobAge)", age)
    else:
        yield wrong(
            "memory_of_jobs",
            f"squeue forgets a job {age:g} s after its end (MinJobAge) and nothing else tells how it ended; jobs are "
            f"looked at every {terms.status.every_s:g} s",
            profile("status", f"every_s = {max(1, int(age // 2))}"),
            conf_restart(f"MinJobAge={int(least)}"),
            observed=age,
            limit=least,
        )


def _first_number(text: str) -> float | None:
    word = text.split()[0] if text.split() else ""
    return float(word) if word.isdigit() else None


def admission(asked: Asked, site: Site) -> Iterator[Item]:
    """Whether partition, account and QOS of a class exist, and may be used together by this user."""
    yield from _partition(asked, site)
    if site.associations is not None:
        yield _account(asked, site)
    elif site.config is not None and "associations" in site.unseen and _managed(site):
        yield unseen(f"account.{asked.name}", site.unseen["associations"])
    if site.qos is not None:
        yield _qos(asked, site)
    elif site.config is not None and _managed(site):
        yield unseen(f"qos.{asked.name}", site.unseen.get("qos", "sacctmgr does not answer"))
    yield _trial(asked, site)


def _managed(site: Site) -> bool:
    return "slurmdbd" in site.setting("AccountingStorageType")


def _partition(asked: Asked, site: Site) -> Iterator[Item]:
    check = f"partition.{asked.name}"
    if site.partitions is None:
        yield unseen(check, site.unseen.get("partitions", "scontrol does not answer"))
        return
    table = f"classes.{asked.name}"
    for name in asked.unknown_partitions:
        others = ", ".join(sorted(site.partitions)) or "none"
        reason = f"there is no partition {name} that this user may see; there are: {others}"
        yield wrong(check, reason, profile(table, f'partition = "{_open_to(asked, site)}"'))
    for partition in asked.partitions:
        yield _usable(check, partition, asked, site)


def _usable(check: str, partition: Partition, asked: Asked, site: Site) -> Item:
    name, update = partition.name, f"scontrol update PartitionName={partition.name}"
    other = profile(f"classes.{asked.name}", f'partition = "{_open_to(asked, site)}"')
    if partition.state != "UP":
        return wrong(
            check, f"partition {name} is {partition.state or 'in no known state'}", operate(f"{update} State=UP")
        )
    if partition.root_only:
        return wrong(check, f"partition {name} is for root alone", operate(f"{update} RootOnly=NO"), other)
    if partition.needs_reservation and not asked.wanted.reservation:
        mend = profile(f"classes.{asked.name}", 'reservation = "NAME"')
        return wrong(check, f"partition {name} may be used within a reservation only", mend, other)
    if partition.allow_groups is not None and not partition.allow_groups & site.groups:
        groups = ",".join(sorted(partition.allow_groups))
        reason = f"partition {name} is for the groups {groups}; {site.user} is in {', '.join(sorted(site.groups))}"
        return wrong(check, reason, operate(f"usermod -aG {sorted(partition.allow_groups)[0]} {site.user}"), other)
    if not partition.admits(qos=asked.qos_name, account=None, groups=site.groups):
        return wrong(check, f"partition {name} does not take QOS {asked.qos_name}", *_open_qos(partition, asked), other)
    if not partition.admits(qos=asked.qos_name, account=asked.account, groups=site.groups):
        reason = f"partition {name} does not take account {asked.account}"
        accounts = ",".join(sorted({*(partition.allow_accounts or ()), asked.account or ""}))
        denied = ",".join(sorted(partition.deny_accounts - {asked.account or ""}))
        change = f"DenyAccounts={denied}" if partition.allow_accounts is None else f"AllowAccounts={accounts}"
        return wrong(check, reason, operate(f"{update} {change}", "and in slurm.conf"), other)
    return fine(check, f"partition {name} is up and takes QOS {asked.qos_name or '(none)'}")


def _open_qos(partition: Partition, asked: Asked) -> list[Mend]:
    if asked.qos_name is None:
        allowed = sorted(partition.allow_qos or ("NAME",))
        return [profile(f"classes.{asked.name}", f'qos = "{allowed[0]}"')]
    update = f"scontrol update PartitionName={partition.name}"
    if partition.allow_qos is None:
        return [
            operate(f"{update} DenyQos={','.join(sorted(partition.deny_qos - {asked.qos_name}))}", "and in slurm.conf")
        ]
    return [
        operate(f"{update} AllowQos={','.join(sorted({*partition.allow_qos, asked.qos_name}))}", "and in slurm.conf")
    ]


def _open_to(asked: Asked, site: Site) -> str:
    """A partition that would take the class, for a line of the profile."""
    every = sorted((site.partitions or {}).values(), key=lambda each: (not each.default, each.name))
    for partition in every:
        if partition.state == "UP" and partition.admits(qos=asked.qos_name, account=asked.account, groups=site.groups):
            return partition.name
    return "NAME"


def _account(asked: Asked, site: Site) -> Item:
    check, wanted = f"account.{asked.name}", asked.wanted.account
    if asked.associations:
        return fine(check, f"{site.user} may use account {asked.associations[0].account}")
    others = sorted({each.account for each in site.associations or ()})
    mends = [profile(f"classes.{asked.name}", f'account = "{name}"') for name in others[:1]]
    if wanted:
        mends.append(operate(f"sacctmgr -i add user {site.user} account={wanted}"))
    had = f"; it may use {', '.join(others)}" if others else "; it may use none"
    what = f"account {wanted} in partition {asked.wanted.partition}" if wanted else "any account"
    return wrong(check, f"{site.user} may not use {what}{had}", *mends)


def _qos(asked: Asked, site: Site) -> Item:
    check, name = f"qos.{asked.name}", asked.qos_name
    if name is None:
        return unseen(check, "the profile names no QOS, and the user has no default one that is seen")
    table = f"classes.{asked.name}"
    mine = sorted(set().union(*(each.qos for each in asked.associations)))
    # A slip of the pen is likelier than a QOS that was never made.
    near = get_close_matches(name, mine, 1)
    others = [profile(table, f'qos = "{each}"') for each in near or [each for each in mine if each != name][-1:]]
    if asked.qos is None:
        add = operate(f"sacctmgr -i add qos {name}\nsacctmgr -i modify user {site.user} set qos+={name}")
        return wrong(check, f"there is no QOS {name}", *([*others, add] if near else [add, *others]))
    if asked.associations and not any(_may(each, name) for each in asked.associations):
        account = asked.associations[0].account
        line = f"sacctmgr -i modify user {site.user} where account={account} set qos+={name}"
        had = ", ".join(mine) or "none"
        return wrong(
            check, f"{site.user} may not use QOS {name} by account {account}, only {had}", operate(line), *others
        )
    return fine(check, f"QOS {name} exists and {site.user} may use it")


def _may(association: Association, qos: str) -> bool:
    return qos in association.qos or qos == association.default_qos


def _trial(asked: Asked, site: Site) -> Item:
    check = f"submission.{asked.name}"
    trial = site.trials.get(asked.priority_class)
    if trial is None:
        return unseen(check, site.unseen.get("trials", "sbatch was not asked"))
    if not trial.accepted:
        # The line that mends it stands with the check of what was refused; a rule that only this site has, has none.
        return wrong(check, f"a job would be refused: {trial.told}; see what else is wrong with class {asked.name}")
    return fine(check, f"a job would be taken: {trial.told}")

"""Whether what the profile asks for lies within the site's limits."""

from __future__ import annotations

from collections.abc import Iterator

from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.site.asked import Asked
from hpcretrain.site.facts import Site
from hpcretrain.site.item import Item, Mend, better, conf, conf_restart, fine, operate, profile, unseen, wrong


def sizes(terms: ClusterProfile, site: Site) -> Iterator[Item]:
    """Arrays, jobs, and what becomes of a job that can never run."""
    if site.config is None:
        yield unseen("limits", "slurmctld does not answer")
        return
    wanted = terms.limits.array_size
    for name, spare, check in (("MaxArraySize", 1, "limits.array"), ("MaxJobCount", 0, "limits.jobs")):
        told = site.setting(name)
        if not told.isdigit():
            yield unseen(check, f"{name} is not told")
        elif int(told) - spare < wanted:
            yield _too_many(
                check, f"{name} is {told}", int(told) - spare, wanted, conf_restart(f"{name}={wanted + spare}")
            )
        else:
            yield fine(check, f"{name} is {told}, arrays have at most {wanted} tasks", int(told))
    if site.setting("EnforcePartLimits").upper() in ("ALL", "ANY", "YES"):
        yield fine("limits.enforced", "a job beyond a partition's limits is refused")
    else:
        reason = "EnforcePartLimits is NO: a job beyond a partition's limits is taken, and waits for ever"
        yield better("limits.enforced", reason, conf("EnforcePartLimits=ALL"))


def _too_many(check: str, what: str, possible: int, wanted: int, other: Mend) -> Item:
    return wrong(
        check,
        f"{what}, and an array may have {wanted} tasks (limits.array_size)",
        *([profile("limits", f"array_size = {possible}")] if possible >= 1 else []),
        other,
        observed=possible,
        limit=wanted,
    )


def of_class(terms: ClusterProfile, asked: Asked, site: Site) -> Iterator[Item]:
    """Time, memory and number of the jobs of a class."""
    yield _time(asked, site)
    memory = _memory(asked, site)
    if memory:
        yield memory
    yield _submit(terms, asked, site)
    if asked.qos is not None:
        name = asked.qos.name
        if "denyonlimit" in {flag.lower() for flag in asked.qos.flags}:
            yield fine(f"limits.denied.{asked.name}", f"QOS {name} refuses what is beyond its limits (DenyOnLimit)")
        else:
            reason = f"QOS {name} lacks DenyOnLimit: a job beyond its limits is taken, and waits for ever"
            mend = operate(f"sacctmgr -i modify qos {name} set Flags+=DenyOnLimit")
            yield better(f"limits.denied.{asked.name}", reason, mend)


def _time(asked: Asked, site: Site) -> Item:
    check, wanted = f"limits.time.{asked.name}", asked.wanted.time_limit_min
    if site.partitions is None:
        return unseen(check, site.unseen.get("partitions", "scontrol does not answer"))
    limits = {f"MaxTime of partition {each.name}": each.max_time_min for each in asked.partitions}
    if asked.qos:
        limits[f"MaxWall of QOS {asked.qos.name}"] = asked.qos.max_wall_min
    # The limit of a QOS counts before that of an association.
    if asked.associations and not (asked.qos and asked.qos.max_wall_min is not None):
        limits[f"MaxWall of account {asked.associations[0].account}"] = asked.associations[0].max_wall_min
    known = {what: limit for what, limit in limits.items() if limit is not None}
    if not known:
        return fine(check, f"{wanted} min, and nothing limits it", wanted)
    what, limit = min(known.items(), key=lambda each: each[1])
    if wanted <= limit:
        return fine(check, f"{wanted} min, within {limit:g} min ({what})", wanted)
    mend = profile(f"classes.{asked.name}", f"time_limit_min = {int(limit)}")
    return wrong(check, f"{wanted} min is longer than {limit:g} min, the {what}", mend, observed=wanted, limit=limit)


def _memory(asked: Asked, site: Site) -> Item | None:
    check, wanted = f"limits.memory.{asked.name}", asked.wanted.memory_mb
    limits: dict[str, float] = {}
    for partition in asked.partitions:
        if partition.max_memory_mb is not None:
            limits[f"MaxMemPerNode of partition {partition.name}"] = partition.max_memory_mb
        largest = (site.node_memory_mb or {}).get(partition.name)
        if largest is not None:
            limits[f"memory of the largest node of partition {partition.name}"] = largest
    if not limits or wanted is None:
        return None
    what, limit = min(limits.items(), key=lambda each: each[1])
    if wanted <= limit:
        return fine(check, f"{wanted} MB, within {limit:g} MB ({what})", wanted)
    mend = profile(f"classes.{asked.name}", f"memory_mb = {int(limit)}")
    return wrong(check, f"{wanted} MB is more than {limit:g} MB, the {what}", mend, observed=wanted, limit=limit)


def _submit(terms: ClusterProfile, asked: Asked, site: Site) -> Item:
    check, wanted = f"limits.submit.{asked.name}", terms.limits.array_size
    if site.qos is None and site.associations is None:
        if "slurmdbd" in site.setting("AccountingStorageType") or site.config is None:
            return unseen(check, site.unseen.get("qos", "sacctmgr does not answer"))
        return fine(check, "without accounting nothing limits how many jobs are submitted")
    found: list[tuple[int, str, Mend]] = []
    if asked.qos:
        for option, limit in asked.qos.submit_limits.items():
            mend = operate(f"sacctmgr -i modify qos {asked.qos.name} set {option}={wanted}")
            found.append((limit, f"{option} of QOS {asked.qos.name}", mend))
    for each in asked.associations[:1]:
        for option, limit in each.submit_limits.items():
            where = f"user {site.user} where account={each.account}"
            found.append((limit, f"{option} of {where}", operate(f"sacctmgr -i modify {where} set {option}={wanted}")))
    if not found:
        return fine(check, "nothing limits how many jobs are submitted")
    limit, what, mend = min(found, key=lambda each: each[0])
    if limit < wanted:
        return _too_many(check, f"{what} is {limit}", limit, wanted, mend)
    return fine(check, f"{limit} jobs at a time ({what}), arrays have at most {wanted} tasks", limit)

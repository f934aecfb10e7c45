"""Whether retraining can come near what serves: by its own classes, or by any other way that is open to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.policy.reach import reachable
from hpcretrain.records import Outcome
from hpcretrain.site.asked import Asked
from hpcretrain.site.facts import Partition, Site
from hpcretrain.site.hosts import fold
from hpcretrain.site.item import Item, Mend, fine, operate, profile, unseen, wrong

WHO = "whoever runs the inference service"


def inference(
    terms: ClusterProfile, classes: list[Asked], site: Site, expand: Callable[[str], list[str]]
) -> Iterator[Item]:
    """The nodes that serve against those that each class, and each open partition and reservation, can reach.

    Args:
        terms: Names what serves.
        classes: The classes.
        site: What was seen.
        expand: Gives the names in a host list.
    """
    if site.partitions is None:
        yield unseen("inference", site.unseen.get("partitions", "scontrol does not answer"))
        return
    known = {node for partition in site.partitions.values() for node in partition.nodes}
    serving: set[str] = set()
    for name in terms.inference.partitions:
        if name not in site.partitions:
            reason = f"there is no partition {name}; there are: {', '.join(sorted(site.partitions))}"
            yield wrong("inference.named", reason, profile("inference", 'partitions = ["NAME"]'))
        else:
            serving |= site.partitions[name].nodes
    try:
        named = set(expand(terms.inference.nodes)) if terms.inference.nodes else set()
    except ValueError as error:
        yield wrong("inference.named", str(error), profile("inference", 'nodes = "NAME[1-2]"'))
        return
    if named - known:
        mend = profile("inference", f'nodes = "{fold(named & known) or "NAME[1-2]"}"')
        yield wrong("inference.named", f"no partition that is seen has the nodes {fold(named - known)}", mend)
    serving |= named
    if serving and not named - known:
        yield fine("inference.named", f"{len(serving)} nodes serve: {fold(serving)}", len(serving))
    for asked in classes:
        yield _by_class(asked, site, frozenset(serving))
    if serving:
        yield from _by_other_ways(terms, classes, site, frozenset(serving))


def _by_class(asked: Asked, site: Site, serving: frozenset[str]) -> Item:
    reached = {f"partition {name}": frozenset[str]() for name in asked.unknown_partitions}
    reached |= {f"partition {each.name}": each.nodes for each in asked.partitions}
    reservation = asked.wanted.reservation
    if reservation:
        held = (site.reservations or {}).get(reservation)
        reached[f"reservation {reservation}"] = held.nodes if held else frozenset()
    found = reachable(reached, serving)
    check = f"inference.reach.{asked.name}"
    if found.outcome is Outcome.PASS:
        return fine(check, found.reason, 0)
    if found.outcome is not Outcome.FAIL:
        return unseen(check, found.reason, WHO)
    mends = [
        operate(f"scontrol update PartitionName={each.name} Nodes={fold(each.nodes - serving)}", "and in slurm.conf")
        for each in asked.partitions
        if each.nodes & serving and each.nodes - serving
    ]
    if reservation and reached[f"reservation {reservation}"] & serving:
        mends.append(_release(reservation, reached[f"reservation {reservation}"] - serving))
    if not mends:
        mends = [profile(f"classes.{asked.name}", 'partition = "NAME"')]
    return wrong(check, found.reason, *mends, observed=found.observed, limit=0)


def _by_other_ways(terms: ClusterProfile, classes: list[Asked], site: Site, serving: frozenset[str]) -> Iterator[Item]:
    own = {partition.name for asked in classes for partition in asked.partitions}
    open_ones = []
    for partition in (site.partitions or {}).values():
        if partition.name in own or not partition.nodes & serving or partition.state != "UP":
            continue
        by = [
            asked
            for asked in classes
            if partition.admits(qos=asked.qos_name, account=asked.account, groups=site.groups)
            and (asked.wanted.reservation or not partition.needs_reservation)
        ]
        if by:
            open_ones.append((partition, by))
    for partition, by in open_ones:
        names = ", ".join(asked.name for asked in by)
        yield wrong(
            "inference.closed",
            f"partition {partition.name} has {fold(partition.nodes & serving)}, which serve, and is open to {names}",
            _close(partition, by, site),
            observed=partition.name,
        )
    if not open_ones:
        yield fine("inference.closed", "no partition with nodes that serve takes jobs of retraining")
    for reservation in (site.reservations or {}).values():
        accounts = {asked.account for asked in classes if asked.account}
        mine = site.user in reservation.users or bool(reservation.accounts & accounts)
        if mine and reservation.nodes & serving:
            reason = f"reservation {reservation.name} holds {fold(reservation.nodes & serving)}, which serve"
            yield wrong("inference.reserved", reason, _release(reservation.name, reservation.nodes - serving))
    yield from _preempted(terms, classes, site)


def _release(reservation: str, kept: frozenset[str]) -> Mend:
    if not kept:
        return operate(f"scontrol delete ReservationName={reservation}")
    return operate(f"scontrol update ReservationName={reservation} Nodes={fold(kept)}")


def _close(partition: Partition, by: list[Asked], site: Site) -> Mend:
    retraining = {asked.qos_name for asked in by if asked.qos_name}
    update = f"scontrol update PartitionName={partition.name}"
    if not retraining:
        return operate(f"{update} AllowGroups=GROUP", "the group of the inference service; and in slurm.conf")
    if partition.allow_qos is None:
        return operate(f"{update} DenyQos={','.join(sorted(retraining | partition.deny_qos))}", "and in slurm.conf")
    kept = sorted(partition.allow_qos - retraining) or ["NAME"]
    return operate(f"{update} AllowQos={','.join(kept)}", "and in slurm.conf")


def _preempted(terms: ClusterProfile, classes: list[Asked], site: Site) -> Iterator[Item]:
    """Whether a QOS of retraining may preempt one that is for inference alone."""
    retraining = {asked.qos_name for asked in classes}
    serving: set[str] = set()
    for name in terms.inference.partitions:
        partition = (site.partitions or {}).get(name)
        serving |= (partition.allow_qos if partition and partition.allow_qos else frozenset()) - retraining
    if not serving or site.qos is None:
        return
    bad = False
    for qos in {asked.qos.name: asked.qos for asked in classes if asked.qos}.values():
        for victim in sorted(qos.preempts & serving):
            bad = True
            mend = operate(f"sacctmgr -i modify qos {qos.name} set Preempt-={victim}")
            yield wrong("inference.preempted", f"QOS {qos.name} may preempt {victim}, the QOS of inference", mend)
    if not bad:
        yield fine("inference.preempted", f"no QOS of retraining preempts {', '.join(sorted(serving))}")

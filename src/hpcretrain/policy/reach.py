"""Whether training can come near inference: the nodes that it may use, and those that it used, must not serve."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from hpcretrain.records import Finding, Outcome


def reachable(reached: Mapping[str, Collection[str]], serving: Collection[str]) -> Finding:
    """Whether none of the places where a job may start has a node that serves.

    Args:
        reached: Names of nodes by place (a partition, a reservation).
        serving: Names of the nodes that serve.
    """
    check = "inference:before"
    if not serving:
        return _nothing(check, "no node is known to serve; name the nodes in [inference] of the cluster profile")
    empty = sorted(place for place, nodes in reached.items() if not nodes)
    if empty or not reached:
        return _nothing(check, f"Slurm names no node of {', '.join(empty) or 'any place'}; nothing can be proven")
    touched = {place: sorted(set(nodes) & set(serving)) for place, nodes in reached.items()}
    bad = [f"{place} reaches {_names(nodes)}" for place, nodes in sorted(touched.items()) if nodes]
    count = len({node for nodes in touched.values() for node in nodes})
    if bad:
        reason = f"{'; '.join(bad)}: nodes that serve. Take them out of there, or mend [inference] or the class"
        return Finding(check=check, outcome=Outcome.FAIL, reason=reason, observed=count, limit=0)
    nodes = len({node for nodes in reached.values() for node in nodes})
    reason = f"none of the {nodes} nodes of {', '.join(sorted(reached))} is among the {len(set(serving))} that serve"
    return Finding(check=check, outcome=Outcome.PASS, reason=reason, observed=0, limit=0)


def untouched(ran_on: Mapping[str, Collection[str] | None], serving: Collection[str]) -> Finding:
    """Whether a job kept off the nodes that serve.

    Args:
        ran_on: For each of its lives the nodes that Slurm names; None where Slurm has not told.
        serving: Names of the nodes that serve.
    """
    check = "inference:after"
    if not serving:
        return _nothing(check, "no node is known to serve; name the nodes in [inference] of the cluster profile")
    unknown = sorted(life for life, nodes in ran_on.items() if not nodes)
    if unknown or not ran_on:
        return _nothing(check, f"Slurm does not tell where {', '.join(unknown) or 'it'} ran")
    used = {node for nodes in ran_on.values() if nodes for node in nodes}
    touched = sorted(used & set(serving))
    if touched:
        reason = f"it ran on {_names(touched)}, which serve; tell the cluster's operators, and see `doctor`"
        return Finding(check=check, outcome=Outcome.FAIL, reason=reason, observed=len(touched), limit=0)
    reason = f"it ran on {_names(sorted(used))}; none of them serves"
    return Finding(check=check, outcome=Outcome.PASS, reason=reason, observed=0, limit=0)


def _nothing(check: str, reason: str) -> Finding:
    return Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=reason, observed=None, limit=0)


def _names(nodes: list[str]) -> str:
    return ", ".join(nodes[:5]) + (f" and {len(nodes) - 5} more" if len(nodes) > 5 else "")

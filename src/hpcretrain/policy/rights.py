"""Who may do what: by the roles of the policy, or, where it has none, by the names in its approvals."""

from __future__ import annotations

import enum

from hpcretrain.messages import Person
from hpcretrain.policy.types import Policy, Role
from hpcretrain.records import Asked, Finding, Outcome, PriorityClass


class Act(enum.Enum):
    """What somebody wants to do."""

    ASK = "ask"
    APPROVE_RUN = "approve_run"
    APPROVE_RELEASE = "approve_release"
    STOP = "stop"
    ROLL_BACK = "roll_back"
    PROPOSE = "propose"
    ACTIVATE = "activate"
    BREAK_GLASS = "break_glass"
    REVIEW = "review"


APPROVES = {Asked.RUN: Act.APPROVE_RUN, Asked.RELEASE: Act.APPROVE_RELEASE, Asked.POLICY: Act.ACTIVATE}
"""The act that answers what is asked."""

_OWNERS = frozenset({Act.ASK, Act.STOP, Act.ROLL_BACK, Act.PROPOSE})
"""What the owner of a home may always do: what runs on its behalf must work whatever a policy says."""


_NOBODY = "nobody"


def holders(act: Act, policy: Policy, priority_class: PriorityClass | None = None) -> tuple[str, ...]:
    """Users, and groups behind a percent sign, who may do it; the owner of the home apart."""
    if policy.roles is None:
        return _named(act, policy)
    roles = [role for role in policy.roles.values() if _allows(role, act, priority_class)]
    return tuple(dict.fromkeys(member for role in roles for member in role.members))


def may(person: Person, act: Act, policy: Policy, priority_class: PriorityClass | None = None) -> Finding:
    """Whether somebody may do it; who may otherwise is its limit."""
    names = holders(act, policy, priority_class)
    by = right(person, act, policy, priority_class)
    what = act.value.replace("_", " ") + (f" what is {priority_class.value}" if priority_class else "")
    who = ", ".join((*names, *(["the owner of the home"] if act in _OWNERS else ()))) or _NOBODY
    rules = "roles" if policy.roles is not None else "approvals"
    refusal = f"by the policy's {rules}, who may {what}: {who}; ask them"
    if who == _NOBODY:
        refusal = f"the policy's {rules} allow nobody to {what}; `hpcretrain policy activate` has another take effect"
    return Finding(
        check=f"may_{act.value}",
        outcome=Outcome.PASS if by is not None else Outcome.FAIL,
        reason=f"may {what} {by}" if by is not None else refusal,
        observed=person.name,
        limit=who,
    )


def right(person: Person, act: Act, policy: Policy, priority_class: PriorityClass | None = None) -> str | None:
    """By what somebody may do it, for the record: the role, and the group through which the person is in it."""
    if policy.roles is not None:
        for name, role in policy.roles.items():
            through = _through(person, role.members)
            if through is not None and _allows(role, act, priority_class):
                return f"as {name}{through}"
    else:
        through = _through(person, _named(act, policy))
        if through is not None:
            return f"by name{through}"
    return "as the owner of the home" if person.owner and act in _OWNERS else None


def known(person: Person, policy: Policy) -> bool:
    """Whether somebody has any say in a home."""
    return any(
        right(person, act, policy, each) is not None for act in Act for each in (None, *policy.classes.order)
    )  # fmt: skip


def _named(act: Act, policy: Policy) -> tuple[str, ...]:
    """Where a policy has no roles: its approvers may do all but break the glass, requesters ask, and stop."""
    rules = policy.approvals
    if rules is None or act in (Act.BREAK_GLASS, Act.REVIEW):
        return ()
    return (*rules.approvers, *rules.requesters) if act in (Act.ASK, Act.STOP) else rules.approvers


def _allows(role: Role, act: Act, priority_class: PriorityClass | None) -> bool:
    if act is Act.PROPOSE:
        return role.activate
    allowed: bool | tuple[PriorityClass, ...] = getattr(role, act.value)
    if isinstance(allowed, bool):
        return allowed
    return bool(allowed) if priority_class is None else priority_class in allowed


def _through(person: Person, names: tuple[str, ...]) -> str | None:
    """How somebody is among names: "" by his own, else through which group; None where he is not."""
    if person.name in names:
        return ""
    group = next((name for name in names if name.startswith("%") and name[1:] in person.groups), None)
    return f" (member of {group[1:]})" if group else None

"""Activate: a policy takes effect by a record of it, once whoever must approve has."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hpcretrain.config.load import under
from hpcretrain.cycle import answer
from hpcretrain.messages import Message, Person
from hpcretrain.policy import approve as policy
from hpcretrain.records import (
    RULE_VERSION,
    Activation,
    Approval,
    Ask,
    Asked,
    Finding,
    Outcome,
    PriorityClass,
    Proposal,
)
from hpcretrain.steps.desk import Desk


def propose(desk: Desk, message: Message, person: Person) -> Proposal | None:
    """Record that somebody wants another policy to take effect; None where it is in force already.

    Where the policy in force has rules on approvals it is asked about, else it takes effect at once.

    Raises:
        InputError: It is no policy, or none that what the home works with can follow.
    """
    wanted = under(desk.terms, message.policy or "")
    desk.fits(wanted.policy)
    in_force = desk.history.activation
    assert in_force is not None
    if wanted.policy_digest == in_force.policy_digest:
        return None
    proposal = Proposal(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=(in_force.id,),
        policy_digest=wanted.policy_digest,
        policy=wanted.policy_text,
        actor=person.name,
        reason=message.reason,
    )
    desk.book.enter(proposal)
    rules = desk.terms.policy.approvals
    if rules is None:
        activate(desk, proposal)
        return proposal
    desk.book.enter(
        Ask(
            model=proposal.model,
            at=desk.now,
            answers=(proposal.id,),
            asked=Asked.POLICY,
            subject=proposal.id,
            model_digest=None,
            policy_digest=in_force.policy_digest,
            priority_class=PriorityClass.STANDARD,
            requester=person.name,
            overrules=(),
            facts=changes(in_force.policy, proposal.policy),
            expires_at=policy.expiry(desk.now, rules),
            needed=rules.needed.policy if rules.needed else 1,
        )
    )
    return proposal


def activate(desk: Desk, proposal: Proposal, approvals: Sequence[Approval] = ()) -> Activation:
    """Record that a proposed policy takes effect, and go by it from now on."""
    activation = Activation(
        model=proposal.model,
        at=desk.now,
        answers=(proposal.id, *(each.id for each in approvals)),
        policy_digest=proposal.policy_digest,
        policy=proposal.policy,
        rule_version=RULE_VERSION,
        actor=proposal.actor,
    )
    desk.book.enter(activation)
    desk.terms = under(desk.terms, activation.policy)
    return activation


def renew(desk: Desk) -> None:
    """Record that the policy in force counts under the rules of this version from now on, where it did under others."""
    before = desk.history.activation
    if before is not None and before.rule_version != RULE_VERSION:
        desk.book.enter(replace(before, at=desk.now, answers=(before.id,), rule_version=RULE_VERSION, actor=None))


def standing(desk: Desk, identifier: str) -> policy.Standing | None:
    """How it stands with what was asked about a proposal; None where that was not asked."""
    for subject, (ask, said) in desk.history.asked.items():
        if ask.id == identifier:
            return policy.Standing(
                ask=ask,
                said=tuple(said),
                answer=answer(ask, said),
                subject=subject if subject in desk.history.proposals else None,
                model_digest=None,
                policy_digest=desk.terms.policy_digest,
            )
    return None


def changes(before: str, after: str) -> tuple[Finding, ...]:
    """What differs between two policies, by their canonical texts: a finding for each key."""
    old, new = _flat(json.loads(before)), _flat(json.loads(after))
    return tuple(
        Finding(
            check=f"policy:{key}",
            outcome=Outcome.PASS,
            reason="added" if key not in old else "taken away" if key not in new else "changed",
            observed=_shown(new.get(key)),
            limit=_shown(old.get(key)),
        )
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key) or (key in old) != (key in new)
    )


def _flat(content: Any, path: str = "") -> dict[str, Any]:
    if isinstance(content, dict):
        parts = [_flat(value, f"{path}.{key}" if path else key) for key, value in content.items()]
        return {key: value for part in parts for key, value in part.items()}
    return {path: content}


def _shown(value: Any) -> float | int | str | None:
    if value is None or (isinstance(value, float | int | str) and not isinstance(value, bool)):
        return value
    return json.dumps(value)

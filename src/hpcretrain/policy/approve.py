"""Who must say yes before a thing is done, who may, and what an answer is worth.

An approval is bound to what was asked: the request or the candidate with its digest, and the policy. Nobody approves
what he asked for himself, and what was asked can be answered once, until it expires.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hpcretrain.messages import Person
from hpcretrain.policy.types import Approvals
from hpcretrain.records import Approval, Ask, Asked, Finding, Outcome, PriorityClass

CHECK = "approval"

_WHAT = {Asked.RUN: "the training", Asked.RELEASE: "the release", Asked.POLICY: "the policy"}


@dataclass(frozen=True)
class Standing:
    """How it stands with what was asked.

    Attributes:
        ask: The ask.
        approval: What was answered to it; None while nothing was.
        subject: What would be done now: the request's or candidate's identifier; None where nothing would any more.
        model_digest: The digest of that candidate.
        policy_digest: The policy that is in force now.
    """

    ask: Ask
    approval: Approval | None
    subject: str | None
    model_digest: str | None
    policy_digest: str


def may_ask(person: Person, rules: Approvals | None) -> Finding:
    """Whether a person may request a retraining, or end one."""
    allowed = (*rules.approvers, *rules.requesters) if rules else ()
    passes = person.owner or person.among(allowed)
    who = ", ".join(allowed) or "nobody else"
    return Finding(
        check="may_ask",
        outcome=Outcome.PASS if passes else Outcome.FAIL,
        reason=f"the owner of the home may ask, and by the policy's approvals {who}",
        observed=person.name,
        limit=who,
    )


def may_propose(person: Person, rules: Approvals | None) -> Finding:
    """Whether a person may propose another policy."""
    allowed = rules.approvers if rules else ()
    passes = person.owner or person.among(allowed)
    who = ", ".join(allowed) or "nobody else"
    return Finding(
        check="may_propose",
        outcome=Outcome.PASS if passes else Outcome.FAIL,
        reason=f"the owner of the home may propose a policy, and by the policy's approvals {who}",
        observed=person.name,
        limit=who,
    )


def accept(person: Person, standing: Standing, rules: Approvals | None, now: datetime) -> tuple[Finding, ...]:
    """Whether a person's answer counts; every check, so that a refusal names all that is wrong with it."""
    ask = standing.ask
    approvers = ", ".join(rules.approvers) if rules else "nobody: the policy has no [approvals]"
    return (
        _check(
            "approver",
            bool(rules) and person.among(rules.approvers if rules else ()),
            f"approvers by the policy: {approvers}; ask one of them",
            person.name,
            approvers,
        ),
        _check(
            "four_eyes",
            person.name != ask.requester,
            "who asked for it does not approve it; ask another approver",
            person.name,
            f"not {ask.requester}" if ask.requester else "anybody: nobody in person asked for it",
        ),
        _check(
            "expiry",
            now < ask.expires_at,
            "it can be answered until it expires; what is still wanted is asked anew",
            now.isoformat(timespec="seconds"),
            ask.expires_at.isoformat(timespec="seconds"),
        ),
        _check(
            "unanswered",
            standing.approval is None,
            f"answered already by {standing.approval.actor}" if standing.approval else "not answered yet",
            standing.approval.id if standing.approval else "",
            "one answer",
        ),
        _check(
            "subject",
            standing.subject == ask.subject and standing.model_digest == ask.model_digest,
            "what was asked about must still be what would be done; look at what is asked now",
            _about(standing.subject, standing.model_digest),
            _about(ask.subject, ask.model_digest),
        ),
        _check(
            "policy",
            standing.policy_digest == ask.policy_digest,
            "it was asked under the policy of that time, which must be the one of now",
            standing.policy_digest[:16],
            ask.policy_digest[:16],
        ),
    )


def overrulable(
    priority_class: PriorityClass, findings: Sequence[Finding], rules: Approvals, *, in_person: bool
) -> tuple[str, ...] | None:
    """What an approval would have to set aside so that a training may begin.

    Args:
        priority_class: Its class.
        findings: Of the decision.
        rules: The policy's.
        in_person: Whether somebody asked for it.

    Returns:
        The checks that do not pass, perhaps none; None where no approval is called for, or none would help.
    """
    failing = tuple(finding.check for finding in findings if finding.outcome is not Outcome.PASS)
    if set(failing) - set(rules.overrule) or (failing and not in_person):
        return None
    return failing if failing or priority_class in rules.run else None


def denied(approval: Approval | None) -> bool:
    """Whether the answer was no."""
    return approval is not None and approval.outcome is not Outcome.PASS


def holds(ask: Ask, priority_class: PriorityClass, now: datetime) -> bool:
    """Whether an approval of what was asked still counts: until the ask expires, and for that class alone."""
    return now < ask.expires_at and ask.priority_class is priority_class


def overrule(findings: Sequence[Finding], ask: Ask, approval: Approval) -> tuple[Finding, ...]:
    """The findings of a decision once an approval set aside what it covers."""
    return tuple(
        replace(finding, outcome=Outcome.PASS, reason=f"{finding.reason}; set aside by {approval.actor}")
        if finding.check in ask.overrules and finding.outcome is Outcome.WAIT
        else finding
        for finding in findings
    )


def needed(asked: Asked, until: datetime) -> Finding:
    """That an approval is needed, which is asked for now, until some time."""
    return Finding(
        check=CHECK,
        outcome=Outcome.WAIT,
        reason=f"{_WHAT[asked]} awaits an approval: `hpcretrain approve` shows what is asked",
        observed=None,
        limit=until.isoformat(timespec="seconds"),
    )


def awaited(ask: Ask, approval: Approval | None, now: datetime) -> Finding:
    """How it stands with an approval that was asked for: FAIL once it was denied or came to nothing."""
    what = _WHAT[ask.asked]
    until = ask.expires_at.isoformat(timespec="seconds")
    if approval is not None:
        said = "approved" if approval.outcome is Outcome.PASS else "denied"
        reason = f"{what} was {said} by {approval.actor}" + (f": {approval.reason}" if approval.reason else "")
        return Finding(check=CHECK, outcome=approval.outcome, reason=reason, observed=approval.actor, limit=until)
    if now >= ask.expires_at:
        reason = f"nobody approved {what} before {ask.id} expired; ask anew with `hpcretrain request`"
        return Finding(check=CHECK, outcome=Outcome.FAIL, reason=reason, observed=now.isoformat(), limit=until)
    return needed(ask.asked, ask.expires_at)


def expiry(now: datetime, rules: Approvals) -> datetime:
    """When what is asked now can no longer be answered."""
    return now + timedelta(hours=rules.expires_h)


def _check(check: str, passes: bool, reason: str, observed: str, limit: str) -> Finding:
    outcome = Outcome.PASS if passes else Outcome.FAIL
    return Finding(check=f"{CHECK}:{check}", outcome=outcome, reason=reason, observed=observed, limit=limit)


def _about(subject: str | None, digest: str | None) -> str:
    return f"{subject or 'nothing'}{f' of {digest[:16]}' if digest else ''}"

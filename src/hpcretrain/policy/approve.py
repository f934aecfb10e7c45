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
WHO = (f"{CHECK}:approver", f"{CHECK}:four_eyes")
"""The checks of who may answer, by right and beside whoever asked."""

_WHAT = {Asked.RUN: "the training", Asked.RELEASE: "the release", Asked.POLICY: "the policy"}


@dataclass(frozen=True)
class Standing:
    """How it stands with what was asked.

    Attributes:
        ask: The ask.
        said: What was said to it so far.
        answer: What that comes to; None while more must be said.
        subject: What would be done now: the request's or candidate's identifier; None where nothing would any more.
        model_digest: The digest of that candidate.
        policy_digest: The policy that is in force now.
        approved_run: Who approved the training.
    """

    ask: Ask
    said: tuple[Approval, ...]
    answer: Approval | None
    subject: str | None
    model_digest: str | None
    policy_digest: str
    approved_run: tuple[str, ...] = ()


def accept(
    person: Person, standing: Standing, right: Finding, others: Sequence[str], rules: Approvals | None, now: datetime
) -> tuple[Finding, ...]:
    """Whether a person's answer counts; every check, so that a refusal names all that is wrong with it.

    Args:
        person: Who answers.
        standing: How it stands with what was asked.
        right: Whether the person may answer such things.
        others: Who may.
        rules: The policy's.
        now: The time.
    """
    ask = standing.ask
    return (
        _check("approver", right.outcome is Outcome.PASS, right.reason, person.name, str(right.limit)),
        *_apart(person, standing, others, rules),
        _check(
            "expiry",
            now < ask.expires_at,
            "it can be answered until it expires; what is still wanted is asked anew",
            now.isoformat(timespec="seconds"),
            ask.expires_at.isoformat(timespec="seconds"),
        ),
        _check(
            "unanswered",
            standing.answer is None,
            f"answered already by {standing.answer.actor}" if standing.answer else "not answered yet",
            standing.answer.id if standing.answer else "",
            f"{ask.needed} to approve it, or one to deny it",
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


def _apart(person: Person, standing: Standing, others: Sequence[str], rules: Approvals | None) -> tuple[Finding, ...]:
    """That who asked, who approves, who approves too, and perhaps who releases, are different people."""
    ask = standing.ask
    rest = ", ".join(name for name in others if name != person.name)
    whom = f"ask {rest}" if rest else "nobody else may: whoever keeps the policy must name another approver"
    mine = next((each for each in standing.said if each.actor == person.name), None)
    checks = [
        _check(
            "four_eyes",
            person.name != ask.requester,
            f"who asked for it does not approve it; {whom}",
            person.name,
            f"not {ask.requester}" if ask.requester else "anybody: nobody in person asked for it",
        ),
        _check(
            "each_once",
            mine is None,
            f"who answered it does not answer it again; {whom}" if mine else "has not answered it before",
            person.name,
            f"{ask.needed} people, each once",
        ),
    ]
    if rules and rules.other_releaser and ask.asked is Asked.RELEASE:
        checks.append(
            _check(
                "other_releaser",
                person.name not in standing.approved_run,
                f"who approved the training does not approve its release; {whom}",
                person.name,
                f"not {', '.join(standing.approved_run)}" if standing.approved_run else "anybody",
            )
        )
    return tuple(checks)


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
    return now < ask.expires_at and ask.priority_class == priority_class


def overrule(findings: Sequence[Finding], ask: Ask, approval: Approval) -> tuple[Finding, ...]:
    """The findings of a decision once an approval set aside what it covers."""
    return tuple(
        replace(finding, outcome=Outcome.PASS, reason=f"{finding.reason}; set aside by {approval.actor}")
        if finding.check in ask.overrules and finding.outcome is Outcome.WAIT
        else finding
        for finding in findings
    )


def needed(asked: Asked, until: datetime, people: int = 1, so_far: str = "") -> Finding:
    """That an approval is needed, of so many people more, which is asked for now, until some time."""
    whose = "an approval" if people == 1 else f"{people} approvals"
    known = f" beside that of {so_far}" if so_far else ""
    return Finding(
        check=CHECK,
        outcome=Outcome.WAIT,
        reason=f"{_WHAT[asked]} awaits {whose}{known}: `hpcretrain approve` shows what is asked",
        observed=None,
        limit=until.isoformat(timespec="seconds"),
    )


def awaited(ask: Ask, approval: Approval | None, now: datetime, said: Sequence[Approval] = ()) -> Finding:
    """How it stands with an approval that was asked for: FAIL once it was denied or came to nothing.

    Args:
        ask: What was asked.
        approval: The answer; None while there is none.
        now: The time.
        said: What was said so far.
    """
    what = _WHAT[ask.asked]
    until = ask.expires_at.isoformat(timespec="seconds")
    if approval is not None:
        done = "approved" if approval.outcome is Outcome.PASS else "denied"
        reason = f"{what} was {done} by {approval.actor}" + (f": {approval.reason}" if approval.reason else "")
        return Finding(check=CHECK, outcome=approval.outcome, reason=reason, observed=approval.actor, limit=until)
    if now >= ask.expires_at:
        reason = f"nobody approved {what} before {ask.id} expired; ask anew with `hpcretrain request`"
        return Finding(check=CHECK, outcome=Outcome.FAIL, reason=reason, observed=now.isoformat(), limit=until)
    so_far = ", ".join(each.actor for each in said)
    return needed(ask.asked, ask.expires_at, ask.needed - len(said), so_far)


def expiry(now: datetime, rules: Approvals) -> datetime:
    """When what is asked now can no longer be answered."""
    return now + timedelta(hours=rules.expires_h)


def _check(check: str, passes: bool, reason: str, observed: str, limit: str) -> Finding:
    outcome = Outcome.PASS if passes else Outcome.FAIL
    return Finding(check=f"{CHECK}:{check}", outcome=outcome, reason=reason, observed=observed, limit=limit)


def _about(subject: str | None, digest: str | None) -> str:
    return f"{subject or 'nothing'}{f' of {digest[:16]}' if digest else ''}"

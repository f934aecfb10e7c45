"""Does what a message asks for, at the clock's time, or says why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcretrain.backlog import ALL, MODEL
from hpcretrain.canonical import plain
from hpcretrain.errors import InputError
from hpcretrain.messages import Message, Person, Verb
from hpcretrain.policy import emergency
from hpcretrain.policy.approve import WHO, Standing, accept
from hpcretrain.policy.rights import APPROVES, Act, holders, known, may, right
from hpcretrain.policy.types import Policy
from hpcretrain.records import Approval, Asked, Finding, Outcome, PriorityClass
from hpcretrain.report.explain import numbers
from hpcretrain.steps import activate as activating
from hpcretrain.steps import outside
from hpcretrain.steps.ask import answer, standing
from hpcretrain.steps.assess import assess
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.emergency import break_glass, find, review
from hpcretrain.steps.tick import conclude_asked, judge, settle


@dataclass(frozen=True)
class Answer:
    """What came of a message.

    Attributes:
        done: Whether it was done.
        reason: What was done, or why nothing was.
        subject: The request or ask that it is about; None where there is none.
        findings: What was checked.
    """

    done: bool
    reason: str
    subject: str | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def content(self) -> dict[str, Any]:
        """As what JSON can hold."""
        return {
            "done": self.done,
            "reason": self.reason,
            "subject": self.subject,
            "findings": plain(self.findings),
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Answer:
        """An answer from what its JSON holds."""
        findings = tuple(Finding(**{**each, "outcome": Outcome(each["outcome"])}) for each in content["findings"])
        return cls(content["done"], content["reason"], content["subject"], findings)


def stranger(desk: Desk, person: Person) -> Answer | None:
    """The refusal of somebody who has no say in a home; None for who has. Nothing of it is written down."""
    own = any(cycle.in_person == person.name for cycle in desk.history.cycles if cycle.review is None)
    return None if known(person, desk.terms.policy) or own else _refused((may(person, Act.ASK, desk.terms.policy),))


def require_class(message: Message, policy: Policy) -> None:
    """Let nobody ask for, or stop, what is of no class; a stop of a class that is no more can be lifted.

    Raises:
        InputError: The policy has no such class.
    """
    wanted = message.priority_class if message.verb is Verb.REQUEST else None
    if message.verb is Verb.STOP and message.subject not in (MODEL, ALL):
        wanted = PriorityClass(message.subject or "")
    if wanted is not None and wanted not in policy.classes.order:
        raise InputError(f"{wanted} is no class of policy {policy.name}; there are {', '.join(policy.classes.order)}")


def act(desk: Desk, message: Message, person: Person) -> Answer:
    """Do what a message asks for. Records are made only where it is done."""
    try:
        require_class(message, desk.terms.policy)
        if message.verb is Verb.REQUEST:
            return _request(desk, message, person)
        if message.verb is Verb.CANCEL:
            return _cancel(desk, message, person)
        if message.verb in (Verb.STOP, Verb.RESUME, Verb.ROLLBACK):
            return _order(desk, message, person)
        if message.verb is Verb.BREAK_GLASS:
            return _break_glass(desk, message, person)
        if message.verb is Verb.REVIEW:
            return _review(desk, message, person)
        if message.verb is Verb.PROPOSE:
            return _propose(desk, message, person)
        if message.verb is Verb.TELL:
            return _tell(desk, message, person)
        return _answer(desk, message, person)
    except InputError as error:
        return Answer(False, str(error))


def _request(desk: Desk, message: Message, person: Person) -> Answer:
    allowed = may(person, Act.ASK, desk.terms.policy, message.priority_class)
    if allowed.outcome is not Outcome.PASS:
        return _refused((allowed,))
    opened = outside.request(desk, message, person)
    if opened is None:
        stands = desk.history.open_cycle or desk.history.training
        assert stands is not None
        return Answer(True, f"{stands.request.id} stands already, and is as urgent", stands.request.id)
    assessment, cycle = opened
    settle(desk, cycle, assessment)
    return _decided(desk, cycle.request.id)


def _tell(desk: Desk, message: Message, person: Person) -> Answer:
    allowed = may(person, Act.ASK, desk.terms.policy)
    if allowed.outcome is not Outcome.PASS:
        return _refused((allowed,))
    told = outside.tell(desk, message, person)
    said = [f"{len(told.counting)} signals are new"]
    said += [f"{told.known} were known already"] if told.known else []
    said += [f"{len(told.before)} are about a model that served before, and do not count"] if told.before else []
    if not told.counting:
        return Answer(True, "; ".join(said))
    assessment = assess(desk)
    judge(desk, assessment)
    said.append(f"score {assessment.score} of 1000: {assessment.action.value.replace('_', ' ')}")
    cycle = desk.history.open_cycle or desk.history.training
    if cycle is None or not cycle.decisions:
        return Answer(True, "; ".join(said), assessment.id, assessment.findings)
    decided = _decided(desk, cycle.request.id)
    return Answer(True, "; ".join([*said, decided.reason]), decided.subject, decided.findings)


def _cancel(desk: Desk, message: Message, person: Person) -> Answer:
    cycle = outside.find(desk, message.subject or "")
    allowed = may(person, Act.STOP, desk.terms.policy)
    if allowed.outcome is not Outcome.PASS and person.name != cycle.in_person:
        return _refused((allowed,))
    cycle = outside.cancel(desk, message, person)
    return Answer(True, f"{cycle.request.id} is ended; its jobs are told to leave a checkpoint", cycle.request.id)


def _order(desk: Desk, message: Message, person: Person) -> Answer:
    """Stop, resume, roll back."""
    wanted = Act.ROLL_BACK if message.verb is Verb.ROLLBACK else Act.STOP
    allowed = may(person, wanted, desk.terms.policy)
    if allowed.outcome is not Outcome.PASS:
        return _refused((allowed,))
    scope = message.subject or ""
    if message.verb is Verb.ROLLBACK:
        release = outside.take_back(desk, message, person)
        said, decided = f"{release.candidate} serves again ({release.id})", _anew(desk)
        return Answer(
            True, f"{said}; {decided.reason}" if decided else said, release.id, decided.findings if decided else ()
        )
    if message.verb is Verb.RESUME:
        outside.resume(desk, message, person)
        said, decided = f"{_about(scope)} goes on", _anew(desk)
        if decided is None:
            return Answer(True, said)
        return Answer(True, f"{said}; {decided.reason}", decided.subject, decided.findings)
    before = outside.standing_stop(desk, scope)
    ended = outside.stop(desk, message, person)
    what = f"; {ended[0].request.id} is ended, its jobs are told to leave a checkpoint" if ended else ""
    if before is not None:
        since = f"since {before.at:%Y-%m-%d %H:%M} UTC, by {before.by}: {before.reason}"
        return Answer(True, f"{_about(scope)} is stopped already, {since}{what}")
    return Answer(True, f"{_about(scope)} is stopped: nothing is trained or released until `hpcretrain resume`{what}")


def _anew(desk: Desk) -> Answer | None:
    """Decide about the open request anew, since what it waited for is no more; None where nothing is to be decided."""
    cycle, assessment = desk.history.open_cycle, desk.history.assessment
    # A release leaves no assessment. That nothing is known of what serves again is no reason to drop what its decline
    # asked for: the next batch tells. What somebody asked for stands in any case.
    if cycle is None or (assessment is None and cycle.in_person is None):
        return None
    settle(desk, cycle, assessment or assess(desk))
    return _decided(desk, cycle.request.id)


def _about(scope: str) -> str:
    return {"model": "the model", ALL: "every model of the board"}.get(scope, f"class {scope}")


def _break_glass(desk: Desk, message: Message, person: Person) -> Answer:
    policy, cycle = desk.terms.policy, outside.find(desk, message.subject or "")
    ends = "ended" if cycle.review else "serves" if cycle.release else None
    if ends is None and cycle.run and not cycle.asked(Asked.RELEASE):
        ends = "is in training"
    checks = emergency.accept(may(person, Act.BREAK_GLASS, policy), desk.history.review_owed, ends, desk.now)
    if any(check.outcome is not Outcome.PASS for check in checks):
        return _refused(checks, cycle.request.id)
    broken = break_glass(desk, message, person, cycle.request, right(person, Act.BREAK_GLASS, policy) or "")
    if cycle.run:
        conclude_asked(desk, cycle)
        came = f"{cycle.request.id}: serves" if cycle.release else f"{cycle.request.id}: does not serve"
    else:
        assert desk.history.assessment is not None
        settle(desk, cycle, desk.history.assessment)
        came = _decided(desk, cycle.request.id).reason
    until = f"{broken.expires_at:%H:%M} UTC"
    reason = f"{came}; it counts until {until}; somebody else must `hpcretrain review {broken.id}`"
    return Answer(True, reason, broken.id, checks)


def _review(desk: Desk, message: Message, person: Person) -> Answer:
    broken = find(desk, message.subject or "")
    reviewed = broken.id in desk.history.glass_reviews
    allowed = may(person, Act.REVIEW, desk.terms.policy)
    checks = emergency.may_review(person, allowed, broken, reviewed)
    if any(check.outcome is not Outcome.PASS for check in checks):
        return _refused(checks, broken.id)
    said = review(desk, message, person, broken, right(person, Act.REVIEW, desk.terms.policy) or "")
    return Answer(True, f"{broken.id} is reviewed", said.id, checks)


def _propose(desk: Desk, message: Message, person: Person) -> Answer:
    allowed = may(person, Act.PROPOSE, desk.terms.policy)
    if allowed.outcome is not Outcome.PASS:
        return _refused((allowed,))
    proposal = activating.propose(desk, message, person)
    if proposal is None:
        return Answer(True, "this policy is in force already")
    if proposal.id not in desk.history.proposals:
        unasked = "without anybody's approval: the policy before it has no [approvals]"
        return Answer(True, f"policy {proposal.policy_digest[:16]} is in force, {unasked}", proposal.id)
    ask, _ = desk.history.asked[proposal.id]
    return Answer(True, f"{ask.id} asks whether it may take effect, until {ask.expires_at}", ask.id, ask.facts)


def _answer_proposal(desk: Desk, message: Message, person: Person, how: Standing) -> Answer:
    said, checks = _said(desk, message, person, how)
    if said is None:
        return _refused(checks, how.ask.id)
    proposal = desk.history.proposals.get(how.ask.subject)
    if proposal is None:
        done = "withdrawn" if person.name == how.ask.requester else "denied"
        return Answer(True, f"{done}; the policy in force stays", how.ask.id, checks)
    _, approvals = desk.history.asked[proposal.id]
    if len(approvals) < how.ask.needed:
        left = how.ask.needed - len(approvals)
        return Answer(True, f"approved; it takes {left} more", how.ask.id, checks)
    activating.activate(desk, proposal, approvals)
    return Answer(True, f"approved; policy {proposal.policy_digest[:16]} is in force", how.ask.id, checks)


def _said(desk: Desk, message: Message, person: Person, how: Standing) -> tuple[Approval | None, tuple[Finding, ...]]:
    """What somebody said to what was asked, recorded if it counts; and every check of that."""
    policy, act = desk.terms.policy, APPROVES[how.ask.asked]
    wanted = None if how.ask.asked is Asked.POLICY else how.ask.priority_class
    allowed = may(person, act, policy, wanted)
    checks = accept(person, how, allowed, holders(act, policy, wanted), policy.approvals, desk.now)
    by = right(person, act, policy, wanted) or ""
    if how.ask.asked is Asked.POLICY and message.verb is Verb.DENY and person.name == how.ask.requester:
        # Whoever proposed a policy may withdraw it, whether or not he may answer what others propose.
        checks, by = tuple(each for each in checks if each.check not in WHO), "as who proposed it"
    if any(check.outcome is not Outcome.PASS for check in checks):
        return None, checks
    return answer(desk, message, person, how.ask, by), checks


def _answer(desk: Desk, message: Message, person: Person) -> Answer:
    proposed = activating.standing(desk, message.subject or "")
    if proposed is not None:
        return _answer_proposal(desk, message, person, proposed)
    found = standing(desk, message.subject or "")
    if found is None:
        return Answer(False, f"nothing asks for {message.subject}; `hpcretrain approve` lists what is asked")
    cycle, how = found
    approval, checks = _said(desk, message, person, how)
    if approval is None:
        return _refused(checks, how.ask.id)
    said = "approved" if approval.outcome is Outcome.PASS else "denied"
    assessment = desk.history.assessment
    if how.ask.asked is Asked.RELEASE:
        conclude_asked(desk, cycle)
        serves = f"; {cycle.release.id} serves" if cycle.release else "; it does not serve"
        return Answer(True, f"{said}{serves}", how.ask.id, checks)
    if assessment is not None:
        settle(desk, cycle, assessment)
        decided = _decided(desk, cycle.request.id)
        return Answer(True, f"{said}; {decided.reason}", how.ask.id, checks)
    return Answer(True, said, how.ask.id, checks)


def _decided(desk: Desk, request: str) -> Answer:
    cycle = outside.find(desk, request)
    decision = cycle.decisions[-1]
    open_ = [finding for finding in decision.findings if finding.outcome is not Outcome.PASS]
    why = "; ".join(f"{finding.check}: {finding.reason}{numbers(finding)}" for finding in open_) or "every check passes"
    return Answer(True, f"{request}: {decision.action.value} ({why})", request, decision.findings)


def _refused(checks: tuple[Finding, ...], subject: str | None = None) -> Answer:
    wrong = [check for check in checks if check.outcome is not Outcome.PASS]
    reason = "; ".join(f"{check.check}: {check.reason} (seen {check.observed}, limit {check.limit})" for check in wrong)
    return Answer(False, reason, subject, checks)

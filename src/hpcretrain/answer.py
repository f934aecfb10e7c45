"""Does what a message asks for, at the clock's time, or says why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpcretrain.backlog import ALL
from hpcretrain.canonical import plain
from hpcretrain.errors import InputError
from hpcretrain.messages import Message, Person, Verb
from hpcretrain.policy.approve import Standing, accept, may_ask, may_propose
from hpcretrain.records import Asked, Finding, Outcome
from hpcretrain.steps import activate as activating
from hpcretrain.steps import outside
from hpcretrain.steps.ask import answer, standing
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.tick import conclude_asked, settle


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
    allowed = may_ask(person, desk.terms.policy.approvals)
    own = any(cycle.in_person == person.name for cycle in desk.history.cycles if cycle.review is None)
    return None if allowed.outcome is Outcome.PASS or own else _refused((allowed,))


def act(desk: Desk, message: Message, person: Person) -> Answer:
    """Do what a message asks for. Records are made only where it is done."""
    try:
        if message.verb is Verb.REQUEST:
            return _request(desk, message, person)
        if message.verb is Verb.CANCEL:
            return _cancel(desk, message, person)
        if message.verb in (Verb.STOP, Verb.RESUME, Verb.ROLLBACK):
            return _order(desk, message, person)
        if message.verb is Verb.PROPOSE:
            return _propose(desk, message, person)
        return _answer(desk, message, person)
    except InputError as error:
        return Answer(False, str(error))


def _request(desk: Desk, message: Message, person: Person) -> Answer:
    allowed = may_ask(person, desk.terms.policy.approvals)
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


def _cancel(desk: Desk, message: Message, person: Person) -> Answer:
    cycle = outside.find(desk, message.subject or "")
    allowed = may_ask(person, desk.terms.policy.approvals)
    if allowed.outcome is not Outcome.PASS and person.name != cycle.in_person:
        return _refused((allowed,))
    cycle = outside.cancel(desk, message, person)
    return Answer(True, f"{cycle.request.id} is ended; its jobs are told to leave a checkpoint", cycle.request.id)


def _order(desk: Desk, message: Message, person: Person) -> Answer:
    """Stop, resume, roll back."""
    allowed = may_ask(person, desk.terms.policy.approvals)
    if allowed.outcome is not Outcome.PASS:
        return _refused((allowed,))
    scope = message.subject or ""
    if message.verb is Verb.ROLLBACK:
        release = outside.take_back(desk, message, person)
        return Answer(True, f"{release.candidate} serves again ({release.id})", release.id)
    if message.verb is Verb.RESUME:
        outside.resume(desk, message, person)
        cycle, assessment = desk.history.open_cycle, desk.history.assessment
        if cycle is None or assessment is None:
            return Answer(True, f"{_said(scope)} goes on")
        settle(desk, cycle, assessment)
        decided = _decided(desk, cycle.request.id)
        return Answer(True, f"{_said(scope)} goes on; {decided.reason}", cycle.request.id, decided.findings)
    ended = outside.stop(desk, message, person)
    what = f"; {ended[0].request.id} is ended, its jobs are told to leave a checkpoint" if ended else ""
    return Answer(True, f"{_said(scope)} is stopped: nothing is trained or released until `hpcretrain resume`{what}")


def _said(scope: str) -> str:
    return {"model": "the model", ALL: "every model of the board"}.get(scope, f"class {scope}")


def _propose(desk: Desk, message: Message, person: Person) -> Answer:
    allowed = may_propose(person, desk.terms.policy.approvals)
    if allowed.outcome is not Outcome.PASS:
        return _refused((allowed,))
    proposal = activating.propose(desk, message, person)
    if proposal is None:
        return Answer(True, "this policy is in force already")
    if proposal.id not in desk.history.proposals:
        return Answer(True, f"policy {proposal.policy_digest[:16]} is in force", proposal.id)
    ask, _ = desk.history.asked[proposal.id]
    return Answer(True, f"{ask.id} asks whether it may take effect, until {ask.expires_at}", ask.id, ask.facts)


def _answer_proposal(desk: Desk, message: Message, person: Person, how: Standing) -> Answer:
    checks = accept(person, how, desk.terms.policy.approvals, desk.now)
    if any(check.outcome is not Outcome.PASS for check in checks):
        return _refused(checks, how.ask.id)
    proposal = desk.history.proposals[how.ask.subject]
    approval = answer(desk, message, person, how.ask)
    if approval.outcome is not Outcome.PASS:
        return Answer(True, "denied; the policy in force stays", how.ask.id, checks)
    activating.activate(desk, proposal, approval)
    return Answer(True, f"approved; policy {proposal.policy_digest[:16]} is in force", how.ask.id, checks)


def _answer(desk: Desk, message: Message, person: Person) -> Answer:
    proposed = activating.standing(desk, message.subject or "")
    if proposed is not None:
        return _answer_proposal(desk, message, person, proposed)
    found = standing(desk, message.subject or "")
    if found is None:
        return Answer(False, f"nothing asks for {message.subject}; `hpcretrain approve` lists what is asked")
    cycle, how = found
    checks = accept(person, how, desk.terms.policy.approvals, desk.now)
    if any(check.outcome is not Outcome.PASS for check in checks):
        return _refused(checks, how.ask.id)
    approval = answer(desk, message, person, how.ask)
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
    why = "; ".join(f"{finding.check}: {finding.reason}" for finding in open_) or "every check passes"
    return Answer(True, f"{request}: {decision.action.value} ({why})", request, decision.findings)


def _refused(checks: tuple[Finding, ...], subject: str | None = None) -> Answer:
    wrong = [check for check in checks if check.outcome is not Outcome.PASS]
    reason = "; ".join(f"{check.check}: {check.reason} (seen {check.observed}, limit {check.limit})" for check in wrong)
    return Answer(False, reason, subject, checks)

"""Ask: what a person must approve before it is done, with what he needs to know; and what he said."""

from __future__ import annotations

from hpcretrain.cycle import Cycle
from hpcretrain.messages import Message, Person, Verb
from hpcretrain.policy import approve as policy
from hpcretrain.records import (
    Approval,
    Ask,
    Asked,
    Candidate,
    Decision,
    Finding,
    Outcome,
    PriorityClass,
    Verdict,
)
from hpcretrain.steps.briefing import to_release, to_run
from hpcretrain.steps.desk import Desk


def ask_to_run(desk: Desk, cycle: Cycle, decision: Decision, overrules: tuple[str, ...]) -> Ask:
    """Record that the training which a decision waits for must be approved."""
    return _ask(
        desk, Asked.RUN, cycle, decision, decision.priority_class, cycle.request.id, None, overrules,
        to_run(desk, cycle, decision),
    )  # fmt: skip


def ask_to_release(desk: Desk, cycle: Cycle, judged: Verdict, candidate: Candidate) -> Ask:
    """Record that what passed the gate must be approved before it serves."""
    # Another policy may be in force than the one by which it was trained.
    priority_class = desk.terms.policy.classes.known(cycle.decisions[-1].priority_class)
    return _ask(
        desk, Asked.RELEASE, cycle, judged, priority_class, candidate.id, candidate.model_digest, (),
        to_release(desk, cycle, judged, candidate),
    )  # fmt: skip


def _ask(
    desk: Desk,
    asked: Asked,
    cycle: Cycle,
    answers: Decision | Verdict,
    priority_class: PriorityClass,
    subject: str,
    model_digest: str | None,
    overrules: tuple[str, ...],
    facts: tuple[Finding, ...],
) -> Ask:
    rules = desk.terms.policy.approvals
    assert rules is not None
    ask = Ask(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=(answers.id,),
        asked=asked,
        subject=subject,
        model_digest=model_digest,
        policy_digest=desk.terms.policy_digest,
        priority_class=priority_class,
        requester=cycle.in_person,
        overrules=overrules,
        facts=facts,
        expires_at=policy.expiry(desk.now, rules),
        needed=rules.people(priority_class),
    )
    desk.book.enter(ask)
    return ask


def standing(desk: Desk, identifier: str) -> tuple[Cycle, policy.Standing] | None:
    """How it stands with an ask now; None where there is no such ask."""
    for cycle in reversed(desk.history.cycles):
        for ask in cycle.asks:
            if ask.id == identifier:
                subject = _subject(cycle, ask)
                return cycle, policy.Standing(
                    ask=ask,
                    said=tuple(cycle.approvals.get(ask.id, ())),
                    answer=cycle.answer(ask),
                    approved_run=_approved_run(cycle),
                    subject=subject,
                    model_digest=ask.model_digest if subject else None,
                    policy_digest=desk.terms.policy_digest,
                )
    return None


def _subject(cycle: Cycle, ask: Ask) -> str | None:
    """What would be done now if the ask were approved; None where it is done, has ended, or was asked anew."""
    newest = cycle.asked(ask.asked)
    if cycle.review or cycle.release or newest is None or newest[0].id != ask.id:
        return None
    return None if ask.asked is Asked.RUN and cycle.run else ask.subject


def _approved_run(cycle: Cycle) -> tuple[str, ...]:
    """Who approved the training of a cycle."""
    asks = [ask for ask in cycle.asks if ask.asked is Asked.RUN]
    return tuple(said.actor for ask in asks for said in cycle.approvals.get(ask.id, ()))


def answer(desk: Desk, message: Message, person: Person, ask: Ask, right: str) -> Approval:
    """Record what a person said to what was asked, and by what right."""
    approval = Approval(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=(ask.id,),
        outcome=Outcome.PASS if message.verb is Verb.APPROVE else Outcome.FAIL,
        actor=person.name,
        reason=message.reason,
        token=message.id,
        right=right,
        identity=person.identity,
    )
    desk.book.enter(approval)
    return approval

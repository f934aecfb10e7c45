"""The life cycle of a retraining: which record may follow which.

`FOLLOWS` is the one table; the diagram in the documents is drawn from it. An illegal move raises and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from hpcretrain.errors import LifeCycleError
from hpcretrain.records import (
    Action,
    Activation,
    Approval,
    Ask,
    Asked,
    Assessment,
    Baseline,
    BreakGlass,
    Candidate,
    Decision,
    Family,
    GlassReview,
    Job,
    Outcome,
    Proposal,
    Purpose,
    Record,
    Release,
    ReleaseKind,
    RetrainRequest,
    Signal,
    Stage,
    Verdict,
    Watch,
)

FOLLOWS: Mapping[str, frozenset[str]] = {
    "baseline": frozenset(),
    "proposal": frozenset({"activation"}),
    "activation": frozenset({"baseline", "proposal", "approval", "activation"}),
    "signal": frozenset({"release"}),
    "assessment": frozenset({"signal"}),
    "request": frozenset({"assessment", "signal"}),
    "decision": frozenset({"request", "assessment", "approval", "break_glass"}),
    "ask": frozenset({"decision", "verdict", "proposal"}),
    "approval": frozenset({"ask"}),
    "break_glass": frozenset({"request"}),
    "glass_review": frozenset({"break_glass"}),
    "job": frozenset({"baseline", "decision", "verdict"}),
    "candidate": frozenset({"job", "candidate"}),
    "verdict": frozenset({"candidate", "job", "release", "verdict"}),
    "release": frozenset({"candidate", "verdict", "watch", "approval", "break_glass", "signal"}),
    "watch": frozenset({"release"}),
    "review": frozenset({"request", "signal", "assessment", "decision", "approval", "ask", "verdict", "watch"}),
}
"""For each kind of record, the kinds that it may answer."""

OPENS = frozenset({"baseline"})
"""The kinds that answer nothing."""


def check(record: Record, known: Mapping[str, Record]) -> None:
    """Refuse a record that does not follow from what it answers.

    Args:
        record: The record to be written.
        known: All earlier records, by identifier.

    Raises:
        LifeCycleError: It answers nothing, something unknown, something that it may not follow, something later than
            itself, or something that did not say yes.
    """
    if not record.answers and record.kind not in OPENS:
        raise LifeCycleError(f"{record.id} answers no record; a {record.kind} must answer {_names(record.kind)}")
    answered = []
    for identifier in record.answers:
        if identifier not in known:
            raise LifeCycleError(f"{record.id} answers {identifier}, which is not in the ledger")
        answered.append(known[identifier])
    for other in answered:
        if other.kind not in FOLLOWS[record.kind]:
            raise LifeCycleError(
                f"{record.id} may not follow {other.id}: a {record.kind} follows {_names(record.kind)}"
            )
        if other.at > record.at:
            raise LifeCycleError(f"{record.id} is of {record.at}, before {other.id} of {other.at} that it answers")
        if other.model != record.model:
            raise LifeCycleError(f"{record.id} is about {record.model}, but {other.id} about {other.model}")
    problem = _refusal(record, answered, known)
    if problem:
        raise LifeCycleError(f"{record.id} is refused: {problem}")


def _names(kind: str) -> str:
    return " or ".join(sorted(FOLLOWS[kind])) or "nothing"


def _refusal(record: Record, answered: list[Record], known: Mapping[str, Record]) -> str | None:
    """Why the content of what is answered forbids the record; None when it does not."""
    if isinstance(record, Baseline) and any(isinstance(other, Baseline) for other in known.values()):
        return "there is a baseline already"
    if isinstance(record, Activation):
        return _refuse_activation(record, answered, known)
    if isinstance(record, RetrainRequest):
        return _refuse_request(answered)
    if isinstance(record, Approval):
        return _refuse_approval(record, answered, known)
    if isinstance(record, BreakGlass):
        return _refuse_break_glass(answered, known)
    if isinstance(record, GlassReview):
        return _refuse_glass_review(record, answered, known)
    if isinstance(record, Decision):
        few = _too_few(answered, known) if record.action is Action.RUN else None
        return few or _expired(record, answered)
    if isinstance(record, Job):
        return _refuse_job(record, answered)
    if isinstance(record, Candidate):
        return _refuse_candidate(record, answered)
    if isinstance(record, Verdict):
        return _refuse_verdict(record, answered)
    if isinstance(record, Release):
        return _refuse_release(record, answered, known)
    return None


def _refuse_activation(activation: Activation, answered: list[Record], known: Mapping[str, Record]) -> str | None:
    if any(isinstance(other, Baseline) for other in answered):
        first = not any(isinstance(other, Activation) for other in known.values())
        return None if first else "only the first policy comes with the baseline; another is proposed"
    if any(isinstance(other, Activation) for other in answered):
        *_, in_force = (other for other in known.values() if isinstance(other, Activation))
        same = in_force.policy_digest == activation.policy_digest
        renewed = same and in_force.rule_version != activation.rule_version
        only = renewed and activation.answers == (in_force.id,)
        return None if only else "other rules take effect under the policy that is in force, and nothing else does so"
    proposals = [other for other in answered if isinstance(other, Proposal)]
    if len(proposals) != 1 or proposals[0].policy_digest != activation.policy_digest:
        return "it answers the proposal of the policy that takes effect"
    for approval in (other for other in answered if isinstance(other, Approval)):
        ask = known[approval.answers[0]]
        if approval.outcome is not Outcome.PASS:
            return f"{approval.id} denies it"
        if not isinstance(ask, Ask) or ask.subject != proposals[0].id:
            return f"{approval.id} approves something else"
    return _too_few(answered, known)


def _refuse_request(answered: list[Record]) -> str | None:
    if not any(isinstance(other, Assessment) for other in answered):
        return "a request answers the assessment of its time"
    if any(isinstance(other, Signal) and other.family is not Family.EXTERNAL for other in answered):
        return "it answers its assessment, and no signal but one from outside"
    return None


def _refuse_approval(approval: Approval, answered: list[Record], known: Mapping[str, Record]) -> str | None:
    asks = {other.id: other for other in answered if isinstance(other, Ask)}
    if len(asks) != 1:
        return "an approval answers one ask"
    [ask] = asks.values()
    withdraws = ask.asked is Asked.POLICY and approval.outcome is Outcome.FAIL
    if ask.requester == approval.actor and not withdraws:
        return f"{approval.actor} asked for it"
    said = [other for other in known.values() if isinstance(other, Approval) and ask.id in other.answers]
    if any(other.outcome is not Outcome.PASS for other in said) or len(said) >= ask.needed:
        return "what was asked has its answer already"
    return f"{approval.actor} answered it already" if any(other.actor == approval.actor for other in said) else None


def _refuse_break_glass(answered: list[Record], known: Mapping[str, Record]) -> str | None:
    if len(answered) != 1:
        return "the glass is broken for one request"
    reviewed = {other.answers[0] for other in known.values() if isinstance(other, GlassReview)}
    owed = [other.id for other in known.values() if isinstance(other, BreakGlass) and other.id not in reviewed]
    return f"nobody has reviewed {owed[0]} yet" if owed else None


def _refuse_glass_review(review: GlassReview, answered: list[Record], known: Mapping[str, Record]) -> str | None:
    if len(answered) != 1:
        return "a review of broken glass answers one"
    if any(isinstance(other, BreakGlass) and other.actor == review.actor for other in answered):
        return f"{review.actor} broke the glass, and somebody else reviews it"
    if any(isinstance(other, GlassReview) and other.answers == review.answers for other in known.values()):
        return "it is reviewed already"
    return None


def _too_few(answered: list[Record], known: Mapping[str, Record]) -> str | None:
    """Whether an ask that it goes by was approved by fewer people than it needs."""
    said = Counter(
        other.answers[0] for other in answered if isinstance(other, Approval) and other.outcome is Outcome.PASS
    )
    for identifier, people in said.items():
        ask = known[identifier]
        if isinstance(ask, Ask) and people < ask.needed:
            return f"{ask.id} was approved by {people} of {ask.needed}"
    return None


def _expired(record: Record, answered: list[Record]) -> str | None:
    late = [other.id for other in answered if isinstance(other, BreakGlass) and record.at >= other.expires_at]
    return f"{late[0]} counts no more" if late else None


def _refuse_job(job: Job, answered: list[Record]) -> str | None:
    for other in answered:
        if isinstance(other, Decision) and other.action is not Action.RUN:
            return f"{other.id} did not order a run but {other.action.value}"
        if isinstance(other, Verdict) and not (
            other.outcome is Outcome.PASS and other.stage is Stage.GATE and job.purpose is Purpose.REFIT
        ):
            said = f"{other.stage.value}: {other.outcome.value}"
            return f"only a refit follows a verdict, and only one of the gate that passed; {other.id} says {said}"
    return None


def _refuse_candidate(candidate: Candidate, answered: list[Record]) -> str | None:
    if candidate.members:
        if candidate.answers != candidate.members or not all(isinstance(other, Candidate) for other in answered):
            return "an average answers the candidates that it is made of"
        return None
    jobs = [other for other in answered if isinstance(other, Job)]
    if len(jobs) != len(answered) or len(jobs) != 1 or jobs[0].purpose is not candidate.purpose:
        return "a candidate answers the one job that trained it"
    return None


def _refuse_verdict(verdict: Verdict, answered: list[Record]) -> str | None:
    earlier = [other for other in answered if isinstance(other, Verdict)]
    if any(other.outcome is not Outcome.PASS or other.candidate != verdict.candidate for other in earlier):
        return "only a winner that promised a gain goes to the gate"
    if verdict.stage is Stage.GATE and verdict.outcome is Outcome.PASS and not earlier:
        return "what passes the gate was selected before"
    return None


def _refuse_release(release: Release, answered: list[Record], known: Mapping[str, Record]) -> str | None:
    if not isinstance(known.get(release.candidate), Candidate):
        return f"the candidate {release.candidate} is unknown"
    if release.release_kind is ReleaseKind.FIRST:
        if any(isinstance(other, Release) for other in known.values()):
            return "a model serves already; only a promotion or a roll-back may replace it"
        return None if all(isinstance(other, Candidate) for other in answered) else "a first release answers candidates"
    if release.release_kind is ReleaseKind.ROLLBACK:
        if not all(_takes_back(other) for other in answered):
            return "a roll-back answers a watch that failed, or a person's order"
        return None
    verdicts = [other for other in answered if isinstance(other, Verdict)]
    approvals = [other for other in answered if isinstance(other, Approval)]
    broken = [other for other in answered if isinstance(other, BreakGlass)]
    if len(verdicts) + len(approvals) + len(broken) != len(answered) or not verdicts:
        return "a promotion answers verdicts, and the approval or the broken glass where one was asked for"
    if (
        problem := _refuse_approved(release, approvals, known)
        or _too_few(answered, known)
        or _expired(release, answered)
    ):
        return problem
    if any(verdict.outcome is not Outcome.PASS for verdict in verdicts):
        return "a verdict that it answers did not pass"
    if not any(verdict.stage is Stage.GATE and verdict.candidate == release.twin for verdict in verdicts):
        return "the judged twin of what is released has not passed the gate"
    if release.candidate != release.twin and not any(
        verdict.stage is Stage.REFIT and verdict.candidate == release.candidate and verdict.twin == release.twin
        for verdict in verdicts
    ):
        return "the full fit was not found to stand in for its judged twin"
    return None


def _takes_back(record: Record) -> bool:
    if isinstance(record, Watch):
        return record.outcome is Outcome.FAIL
    return isinstance(record, Signal) and record.family is Family.EXTERNAL and record.name == ReleaseKind.ROLLBACK.value


def _refuse_approved(release: Release, approvals: list[Approval], known: Mapping[str, Record]) -> str | None:
    for approval in approvals:
        ask = known[approval.answers[0]]
        if approval.outcome is not Outcome.PASS:
            return f"{approval.id} denies it"
        if not isinstance(ask, Ask) or ask.subject != release.candidate or ask.model_digest != release.model_digest:
            return f"{approval.id} approves something else"
    return None

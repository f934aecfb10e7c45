"""The life cycle of a retraining: which record may follow which.

`FOLLOWS` is the one table; the diagram in the documents is drawn from it. An illegal move raises and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from hpcretrain.errors import LifeCycleError
from hpcretrain.records import (
    Action,
    Baseline,
    Candidate,
    Decision,
    Job,
    Outcome,
    Purpose,
    Record,
    Release,
    ReleaseKind,
    Verdict,
    Watch,
)

FOLLOWS: Mapping[str, frozenset[str]] = {
    "baseline": frozenset(),
    "signal": frozenset({"release"}),
    "assessment": frozenset({"signal"}),
    "request": frozenset({"assessment"}),
    "decision": frozenset({"request", "assessment"}),
    "job": frozenset({"baseline", "decision", "verdict"}),
    "candidate": frozenset({"job"}),
    "verdict": frozenset({"candidate", "job", "release"}),
    "release": frozenset({"candidate", "verdict", "watch"}),
    "watch": frozenset({"release"}),
    "review": frozenset({"request", "decision", "verdict", "watch"}),
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
    if isinstance(record, Job):
        return _refuse_job(record, answered)
    if isinstance(record, Candidate):
        jobs = [other for other in answered if isinstance(other, Job)]
        if len(jobs) != 1 or jobs[0].purpose is not record.purpose:
            return "a candidate answers the one job that trained it"
    if isinstance(record, Release):
        return _refuse_release(record, answered, known)
    return None


def _refuse_job(job: Job, answered: list[Record]) -> str | None:
    for other in answered:
        if isinstance(other, Decision) and other.action is not Action.RUN:
            return f"{other.id} did not order a run but {other.action.value}"
        if isinstance(other, Verdict) and (other.outcome is not Outcome.PASS or job.purpose is not Purpose.REFIT):
            return f"only a refit follows a verdict, and only one that passed; {other.id} says {other.outcome.value}"
    return None


def _refuse_release(release: Release, answered: list[Record], known: Mapping[str, Record]) -> str | None:
    if not isinstance(known.get(release.candidate), Candidate):
        return f"the candidate {release.candidate} is unknown"
    if release.release_kind is ReleaseKind.FIRST:
        if any(isinstance(other, Release) for other in known.values()):
            return "a model serves already; only a promotion or a roll-back may replace it"
        return None if all(isinstance(other, Candidate) for other in answered) else "a first release answers candidates"
    if release.release_kind is ReleaseKind.ROLLBACK:
        watches = [other for other in answered if isinstance(other, Watch)]
        if not watches or any(watch.outcome is not Outcome.FAIL for watch in watches):
            return "a roll-back answers a watch that failed"
        return None
    verdicts = [other for other in answered if isinstance(other, Verdict)]
    if len(verdicts) != len(answered) or not verdicts:
        return "a promotion answers verdicts"
    if any(verdict.outcome is not Outcome.PASS for verdict in verdicts):
        return "a verdict that it answers did not pass"
    judged = {verdict.candidate for verdict in verdicts}
    if not {release.candidate, release.twin} <= judged:
        return "what is released, or its judged twin, has no verdict that passed"
    return None

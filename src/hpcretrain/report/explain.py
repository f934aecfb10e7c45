"""Why a thing happened, and how a model stands: from the records alone, in words and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hpcretrain.backlog import Stop
from hpcretrain.canonical import plain
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.records import (
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
    Finding,
    GlassReview,
    Job,
    Outcome,
    Proposal,
    Record,
    Release,
    RetrainRequest,
    Review,
    Signal,
    Stage,
    Verdict,
    Watch,
)
from hpcretrain.report import attempts, members
from hpcretrain.report.asks import ask_line, told
from hpcretrain.report.cluster import cluster_line
from hpcretrain.report.decline import worse_since
from hpcretrain.report.removed import removed, removed_line
from hpcretrain.report.result import describe_cycle

_MAX_LISTED = 12
_WORSE, _DEFENDED = "worse:", "defended:"


def find(history: History, identifier: str) -> Record:
    """The record whose identifier is, or uniquely starts with, `identifier`.

    Raises:
        InputError: There is none, or several.
    """
    if identifier in history.known:
        return history.known[identifier]
    matches = [known for known in history.known if known.startswith(identifier) and identifier]
    if len(matches) == 1:
        return history.known[matches[0]]
    if matches:
        raise InputError(
            f"{identifier} fits {len(matches)} records, such as {matches[0]} and {matches[1]}; give more of it"
        )
    raise InputError(f"no record {identifier} in this home; `hpcretrain status` lists the cycles")


def explain(history: History, identifier: str, notes: Sequence[attempts.Note] = ()) -> dict[str, Any]:
    """A record, what led to it (back to the signals), and what came of it (up to the review).

    Args:
        history: The state that the records say.
        identifier: Of the record, or its beginning.
        notes: The ledger's, which tell of attempts at a job.
    """
    record = find(history, identifier)
    return {
        "id": record.id,
        "kind": record.kind,
        "record": plain(record),
        "members": [members.told(fit) for fit in members.fits(history.known, record)],
        "attempts": attempts.attempts(notes, attempts.job_of(record)),
        "removed": removed(notes).get(_payload(record)),
        "because": [brief(other) for other in ancestors(history, record)],
        "then": [brief(other) for other in _descendants(history, record)],
    }


def explain_text(history: History, identifier: str, notes: Sequence[attempts.Note] = ()) -> str:
    """`explain` in words."""
    record = find(history, identifier)
    lines = [f"{record.id}  ({record.at:%Y-%m-%d %H:%M} UTC)", headline(record)]
    lines += members.lines(members.fits(history.known, record))
    lines += [_finding(finding) for finding in _findings(record)]
    if when := removed(notes).get(_payload(record)):
        lines.append(removed_line(when))
    lines += attempts.lines(attempts.attempts(notes, attempts.job_of(record)))
    lines += _list("because of", sorted(ancestors(history, record), key=_loudness))
    lines += _list("and then", _descendants(history, record))
    return "\n".join(lines)


def status(
    history: History,
    ledger_head: str,
    cpu_s: Callable[[str], float],
    cluster: Mapping[str, Any] | None = None,
    now: datetime | None = None,
    everywhere: Stop | None = None,
) -> dict[str, Any]:
    """How the model stands.

    Args:
        history: The state that the records say.
        ledger_head: Head of the chain of decisions.
        cpu_s: CPU seconds of a job's fits, by the job's identifier.
        cluster: What training on one took.
        now: The time of a home that lives.
        everywhere: The stop that holds every model of its board.
    """
    champion = history.releases[-1] if history.releases else None
    open_cycle = history.open_cycle
    return {
        "model": history.baseline.model if history.baseline else None,
        "ledger_head": ledger_head,
        "records": len(history.known),
        "champion": plain(champion) | {"id": champion.id} if champion else None,
        "assessed_at": plain(history.assessment.at) if history.assessment else None,
        "score": history.assessment.score if history.assessment else None,
        "advice": history.assessment.action.value if history.assessment else None,
        "contributions": dict(history.assessment.contributions) if history.assessment else {},
        "worse_since": plain(worse_since(history)),
        "open_request": open_cycle.request.id if open_cycle else None,
        "watching": history.watched is not None,
        "stopped": [plain(each) for each in (*history.standing_stops, *((everywhere,) if everywhere else ()))],
        "asks": [told(ask) for ask, _ in history.open_asks(now)] if now else [],
        "review_owed": owed(history),
        "quarantined": [list(plain(span)) for span in history.quarantine],
        "cycles": [describe_cycle(cycle, cpu_s) for cycle in history.cycles],
        **({"cluster": cluster} if cluster else {}),
    }


def owed(history: History) -> dict[str, Any] | None:
    """That somebody broke the glass, and nobody has reviewed it yet."""
    broken = history.review_owed
    if broken is None:
        return None
    return {
        "id": broken.id,
        "request": broken.answers[0],
        "actor": broken.actor,
        "reason": broken.reason,
        "at": plain(broken.at),
        "review_by": plain(broken.review_by),
    }


def owed_line(told: Mapping[str, Any]) -> str:
    """The same in words."""
    return (
        f"REVIEW OWED: {told['actor']} broke the glass for {told['request']} at {told['at']} ({told['reason']}); "
        f"somebody else must say `hpcretrain review {told['id']} --reason ...` by {told['review_by']}"
    )


def status_text(state: Mapping[str, Any], show_cycle: Callable[[Mapping[str, Any]], str]) -> str:
    """`status` in words."""
    if state["champion"] is None:
        return f"{state['model'] or 'no model'}: nothing serves yet"
    champion = state["champion"]
    score = (
        "not assessed since" if state["score"] is None else f"score {state['score']} of 1000 at {state['assessed_at']}"
    )
    lines = [
        f"{state['model']}: {champion['release_kind']} release of {champion['at']} serves ({champion['id']}); {score}",
        f"{state['records']} records, {len(state['quarantined'])} quarantined stretches, "
        f"{'watching the release' if state['watching'] else 'no release is being watched'}, "
        f"{'open request ' + state['open_request'] if state['open_request'] else 'no open request'}",
    ]
    if state["review_owed"]:
        lines.append(owed_line(state["review_owed"]))
    lines += [
        f"STOPPED: {each['scope']}, by {each['by']} since {each['at']}: {each['reason']}; `hpcretrain resume` lifts it"
        for each in state["stopped"]
    ]
    lines += [ask_line(each) for each in state["asks"]]
    for each in state.get("undelivered", ()):
        then = "given up" if each["given_up"] else "tried again"
        lines.append(
            f"NOT TOLD: {each['notice']} by {each['route']}, {each['tries']} tries, {then}; the last at {each['at']}: "
            f"{each['reason']}; `hpcretrain notify` tries the routes"
        )
    if state["worse_since"]:
        lines.append(f"worse than when it was judged, on rows since {state['worse_since']}")
    lines += [show_cycle(cycle) for cycle in state["cycles"]]
    lines += [cluster_line(state["cluster"])] if "cluster" in state else []
    lines.append(f"ledger head {state['ledger_head']}")
    return "\n".join(lines)


def ancestors(history: History, record: Record) -> list[Record]:
    """What a record answers, and what that answers, within its cycle, back to the signals.

    Beyond those lies the whole past; so it does beyond the fits of earlier cycles that an average is made of.
    """
    chain: dict[str, Record] = {}
    waiting = _led_to(record)
    while waiting:
        other = history.known[waiting.pop(0)]
        if other.id not in chain:
            chain[other.id] = other
            if not isinstance(other, Signal | Release):
                waiting += _led_to(other)
    return list(chain.values())


def _led_to(record: Record) -> list[str]:
    """What a record answers; of the members of an average only the fresh fit, which is of the same cycle."""
    return list(record.answers[:1] if isinstance(record, Candidate) else record.answers)


def _descendants(history: History, record: Record) -> list[Record]:
    """What answers a record, and what answers that, within its cycle, in order."""
    within = {record.id}
    chain = []
    for other in history.known.values():
        # A release opens a new chapter: the signals about it, verdicts of later candidates against it, and averages
        # of later fits with what it brought.
        if isinstance(other, Signal) or (
            isinstance(other, Candidate | Verdict) and not within & set(other.answers[:1])
        ):
            continue
        if within & set(other.answers):
            within.add(other.id)
            chain.append(other)
    return chain


def _payload(record: Record) -> str:
    """By what the ledger names the payload of a record: the digest of a model, or the job."""
    return str(getattr(record, "model_digest", record.id))


def brief(record: Record) -> dict[str, Any]:
    return {"id": record.id, "kind": record.kind, "at": plain(record.at), "summary": headline(record)}


def headline(record: Record) -> str:
    """A record in one line."""
    match record:
        case Baseline():
            return f"reference of {record.reference.rows} rows frozen, rules {record.rule_version}"
        case Proposal():
            return f"{record.actor} proposes policy {record.policy_digest[:16]}: {record.reason or 'no reason given'}"
        case Activation():
            return _activated(record)
        case Signal(family=Family.EXTERNAL, told_by=None):
            return f"{record.name}, by {record.finding.observed}: {record.finding.reason}"
        case Signal():
            return f"{record.family.value} {record.name}: {record.finding.reason}{numbers(record.finding)}"
        case Assessment():
            points = ", ".join(f"{name} {value}" for name, value in record.contributions.items() if value)
            return f"score {record.score} of 1000 ({points or 'nothing'}): {record.action.value}"
        case RetrainRequest():
            return f"{record.priority_class.value}, score {record.score}: {record.reason}"
        case Decision():
            return f"{record.action.value} ({record.priority_class.value}): {_worst(record.findings)}"
        case Ask():
            who = f", requested by {record.requester}" if record.requester else ""
            beyond = f", beyond {', '.join(record.overrules)}" if record.overrules else ""
            people = f", {record.needed} approvals" if record.needed > 1 else ""
            if record.asked is Asked.POLICY:
                return f"may the policy take effect{who}{people}? until {record.expires_at}"
            about = f"{record.priority_class.value}{who}{beyond}{people}"
            return f"may it {record.asked.value} ({about})? until {record.expires_at}"
        case Approval():
            said = "approved" if record.outcome is Outcome.PASS else "denied"
            by = f"{record.actor}, {record.right}" if record.right else record.actor
            return f"{said} by {by}" + (f": {record.reason}" if record.reason else "")
        case BreakGlass():
            until = f"until {record.expires_at:%Y-%m-%d %H:%M} UTC"
            return f"{record.actor} broke the glass, {record.right}, {until}: {record.reason}"
        case GlassReview():
            return f"reviewed by {record.actor}, {record.right}: {record.reason}"
        case Job():
            drawn, window = record.window.rows, record.window
            of = f" of {window.population}" if drawn < window.population else ""
            start = f", from {record.start.candidate} by {record.start.passes} passes" if record.start else ""
            return f"{record.purpose.value} on {drawn}{of} rows ({window.name}) until {window.end:%Y-%m-%d}{start}"
        case Candidate():
            what = f"average of {len(record.members)} fits," if record.members else "model"
            return f"{what} {record.model_digest[:12]} for {record.purpose.value}"
        case Verdict():
            if record.stage is Stage.SELECTION:
                promise = next((finding for finding in record.findings if finding.check == "promise"), None)
                return f"selection, {record.outcome.value}: {promise.reason if promise else _worst(record.findings)}"
            return f"{record.stage.value}, {record.outcome.value}: {_worst(record.findings)}"
        case Release():
            return f"{record.release_kind.value}: model {record.model_digest[:12]} serves"
        case Watch():
            return f"look {record.look}, {record.outcome.value}: {_seen(record)}"
        case Review():
            cost = f"modeled cost {record.cost_mrow_passes:.4g} million row-passes"
            return f"{record.closing.value}, {cost}; {record.gain.reason}{numbers(record.gain)}"
    return record.kind


def _activated(record: Activation) -> str:
    policy, approvals = f"policy {record.policy_digest[:16]}", len(record.answers) - 1
    if record.actor is None:
        return f"{policy} is in force under rules {record.rule_version}"
    whose = f"with {approvals} approval{'s' if approvals > 1 else ''}"
    if not approvals:
        whose = "without anybody's approval: the one before asks for none"
    return f"{policy} takes effect, as {record.actor} proposed, {whose}"


def _findings(record: Record) -> list[Finding]:
    findings: tuple[Finding, ...] = record.facts if isinstance(record, Ask) else getattr(record, "findings", ())
    return sorted(findings, key=lambda finding: -finding.outcome.severity)


def _worst(findings: Sequence[Finding]) -> str:
    worst = max(findings, key=lambda finding: finding.outcome.severity)
    if worst.outcome is Outcome.PASS:
        return f"all {len(findings)} checks pass"
    return f"{worst.check}: {worst.reason}{numbers(worst)}"


def _seen(watch: Watch) -> str:
    """What a look saw; its checks are no gates, and one of them alone takes no release back."""
    first = watch.findings[0]
    if not first.check.startswith(_WORSE) or first.outcome not in (Outcome.PASS, Outcome.FAIL):
        return _worst(watch.findings)
    evidence = f"{first.reason}{numbers(first)}"
    metric = first.check.removeprefix(_WORSE)
    if first.outcome is Outcome.PASS:
        return f"not worse on {metric} beyond chance; {evidence}"
    better = [each.check.removeprefix(_DEFENDED) for each in watch.findings[1:] if each.outcome is Outcome.PASS]
    if watch.outcome is Outcome.FAIL or not better:
        return f"worse on {metric} beyond chance, and better on no guard metric; {evidence}"
    kept = "kept" if watch.outcome is Outcome.PASS else "still watched"
    return f"{kept}, though worse on {metric} beyond chance, since it is better on {', '.join(better)}; {evidence}"


def _finding(finding: Finding) -> str:
    return f"  {finding.outcome.value:<12} {finding.check}: {finding.reason}{numbers(finding)}"


def numbers(finding: Finding) -> str:
    """What was seen, and the limit, in words; nothing where there are not both."""
    if finding.observed is None or finding.limit is None:
        return ""
    return f" (seen {_short(finding.observed)}, limit {_short(finding.limit)})"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _list(title: str, records: Sequence[Record]) -> list[str]:
    if not records:
        return []
    lines = ["", title, *(f"  {other.id}  {headline(other)}" for other in records[:_MAX_LISTED])]
    if len(records) > _MAX_LISTED:
        lines.append(f"  and {len(records) - _MAX_LISTED} more; --json shows all")
    return lines


def _loudness(record: Record) -> tuple[bool, int, float]:
    """Signals last; among them what failed first, then by how much of its limit was reached."""
    if not isinstance(record, Signal):
        return False, 0, 0.0
    seen, limit = record.finding.observed, record.finding.limit
    share = seen / limit if isinstance(seen, int | float) and isinstance(limit, int | float) and limit else 0.0
    quality = record.family is Family.DATA_QUALITY
    return True, -record.finding.outcome.severity, float("inf") if quality else -share

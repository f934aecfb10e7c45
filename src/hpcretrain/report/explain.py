"""Why a thing happened, and how a model stands: from the records alone, in words and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.records import Finding, Outcome, Record, Signal, plain
from hpcretrain.report.result import describe_cycle

_MAX_LISTED = 12


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


def explain(history: History, identifier: str) -> dict[str, Any]:
    """A record, what it answers (up to the signals), and what answered it."""
    record = find(history, identifier)
    chain: list[Record] = []
    _ancestors(history, record, chain)
    following = [other for other in history.known.values() if record.id in other.answers]
    return {
        "id": record.id,
        "kind": record.kind,
        "record": plain(record),
        "because": [_brief(other) for other in chain],
        "then": [_brief(other) for other in following],
    }


def explain_text(history: History, identifier: str) -> str:
    """`explain` in words."""
    record = find(history, identifier)
    lines = [f"{record.id}  ({record.at:%Y-%m-%d %H:%M} UTC)", "", *_words(record), ""]
    chain: list[Record] = []
    _ancestors(history, record, chain)
    lines += _list("because of", chain)
    lines += _list("and then", [other for other in history.known.values() if record.id in other.answers])
    return "\n".join(lines).rstrip()


def status(history: History, ledger_head: str, cpu_s: Callable[[str], float]) -> dict[str, Any]:
    """How the model stands."""
    champion = history.releases[-1] if history.releases else None
    open_cycle = history.open_cycle
    return {
        "model": history.baseline.model if history.baseline else None,
        "ledger_head": ledger_head,
        "records": len(history.known),
        "champion": plain(champion) | {"id": champion.id} if champion else None,
        "assessed_at": plain(history.assessment.at) if history.assessment else None,
        "score": history.assessment.score if history.assessment else None,
        "contributions": dict(history.assessment.contributions) if history.assessment else {},
        "open_request": open_cycle.request.id if open_cycle else None,
        "watching": history.watched is not None,
        "quarantined": [list(plain(span)) for span in history.quarantine],
        "cycles": [describe_cycle(cycle, cpu_s) for cycle in history.cycles],
    }


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
    lines += [show_cycle(cycle) for cycle in state["cycles"]]
    lines.append(f"ledger head {state['ledger_head']}")
    return "\n".join(lines)


def _ancestors(history: History, record: Record, chain: list[Record]) -> None:
    for identifier in record.answers:
        other = history.known[identifier]
        # Every signal answers the release that was serving: stop there, or the whole past would follow.
        if other not in chain:
            chain.append(other)
            if not isinstance(other, Signal):
                _ancestors(history, other, chain)


def _brief(record: Record) -> dict[str, Any]:
    return {"id": record.id, "kind": record.kind, "at": plain(record.at), "summary": "; ".join(_words(record)[:1])}


def _words(record: Record) -> list[str]:
    facts = {
        key: value
        for key, value in plain(record).items()
        if isinstance(value, str | int | float) and key not in ("model", "at") and not isinstance(value, bool)
    }
    reason = [str(facts.pop("reason"))] if "reason" in facts else []
    head = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in facts.items())
    findings = list(getattr(record, "findings", ()))
    if isinstance(record, Signal):
        reason, findings = [], [record.finding]
    contributions = getattr(record, "contributions", None)
    if contributions:
        head += "; " + ", ".join(f"{name} {points}" for name, points in contributions.items() if points)
    ordered = sorted(findings, key=lambda finding: -finding.outcome.severity)
    return [*reason, head or record.kind, *(_finding(finding) for finding in ordered)]


def _finding(finding: Finding) -> str:
    numbers = "" if finding.observed is None else f" (seen {_short(finding.observed)}, limit {_short(finding.limit)})"
    mark = "ok " if finding.outcome is Outcome.PASS else "no "
    return f"  {mark} {finding.outcome.value:<12} {finding.check}: {finding.reason}{numbers}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _list(title: str, records: Sequence[Record]) -> list[str]:
    if not records:
        return []
    ordered = sorted(records, key=_loudness)
    lines = [title, *(f"  {other.id:<28} {_words(other)[0][:100]}" for other in ordered[:_MAX_LISTED])]
    if len(ordered) > _MAX_LISTED:
        lines.append(f"  … and {len(ordered) - _MAX_LISTED} more (--json shows all)")
    return [*lines, ""]


def _loudness(record: Record) -> tuple[bool, float]:
    if isinstance(record, Signal):
        return True, -(record.lower_bound or 0.0)
    return False, 0.0

"""What people read about a cycle and its candidates in MLflow: names, outcomes, and the story in Markdown."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from itertools import zip_longest

from hpcretrain.cycle import Cycle
from hpcretrain.history import History
from hpcretrain.ports import Page
from hpcretrain.records import Candidate, Finding, Job, Outcome, Record, Stage, Verdict, Window
from hpcretrain.report import members
from hpcretrain.report.explain import headline
from hpcretrain.report.lineage import cycle_of

Stints = tuple[tuple[datetime, datetime | None], ...]

FAILED, TRAINED, PASSED, REJECTED, RELEASED = "failed", "trained", "passed", "rejected", "released"
MEMBER, NOT_CHOSEN = "member", "not_chosen"
"""Outcomes of candidates beside those of a cycle that was closed, which are the values of `Closing`."""


def pages(history: History, cycle_id: str) -> list[Page]:
    """The pages of a cycle, its own first.

    Args:
        history: All records so far.
        cycle_id: Identifier of a request, or of the baseline for the first champion.
    """
    parts = [record for record in history.known.values() if isinstance(record, Candidate | Job | Verdict)]
    mine = [record for record in parts if cycle_of(history, record) == cycle_id]
    verdicts = [record for record in mine if isinstance(record, Verdict)]
    judged = {verdict.candidate: verdict for verdict in verdicts}
    competed = {answer for verdict in verdicts if verdict.stage is Stage.SELECTION for answer in verdict.answers}
    candidates = [record for record in mine if isinstance(record, Candidate)]
    failures = [record for record in mine if isinstance(record, Job) and record.id in judged]
    cycle = next((each for each in history.cycles if each.request.id == cycle_id), None)
    # Until there is something to tell, a candidate's run is as it was registered.
    told = bool(history.releases) if cycle is None else cycle.release is not None
    own = _first_page(history, cycle_id) if cycle is None else _cycle_page(history, cycle, candidates, verdicts)
    return [
        own,
        *(
            _candidate_page(history, each, judged.get(each.id), cycle, _part(each, candidates, competed))
            for each in candidates
            if told or each.id in judged or each.id in competed
        ),
        *(_failure_page(each, judged[each.id]) for each in failures),
    ]


def stints(history: History, candidate: str) -> Stints:
    """When a candidate served: from, until; no end for what serves now."""
    ends = [release.at for release in history.releases[1:]]
    spans = zip_longest(history.releases, ends)
    return tuple((release.at, end) for release, end in spans if release.candidate == candidate)


def _first_page(history: History, baseline: str) -> Page:
    release = history.releases[0] if history.releases else None
    return Page(
        id=baseline,
        name=f"{history.known[baseline].at:%Y-%m-%d} first",
        status="FINISHED" if release else "RUNNING",
        tags={"outcome": RELEASED if release else TRAINED},
        words="The first champion, trained on the reference; its twin, trained without the newest part of the "
        f"reference, was measured on that part.\n\n- {_line(history.known[baseline])}"
        + (f"\n- {_line(release)}" if release else ""),
        judged=release.twin if release else None,
    )


def _cycle_page(history: History, cycle: Cycle, candidates: Sequence[Candidate], verdicts: Sequence[Verdict]) -> Page:
    request, outcome = cycle.request, _outcome(cycle)
    said = (*cycle.broken, *cycle.asks, *(each for said in cycle.approvals.values() for each in said))
    acts = (*cycle.jobs, *cycle.verdicts, *said, cycle.release, *cycle.watches, cycle.rollback)
    parts = {part.id for part in (cycle.request, cycle.run, *acts, cycle.review) if part is not None}
    measured = [verdict for verdict in verdicts if verdict.readings] or list(verdicts)
    released = [verdict for verdict in verdicts if cycle.release and verdict.candidate == cycle.release.twin]
    shown = next(reversed(released or measured), None)
    done = "FINISHED" if candidates else "FAILED"
    return Page(
        id=request.id,
        name=f"{request.at:%Y-%m-%d} {outcome.replace('_', ' ')}",
        status=done if cycle.review else "RUNNING",
        tags={
            "outcome": outcome,
            "class": request.priority_class.value,
            "score": str(request.score),
            "triggers": ",".join(request.triggers),
            **({"decision": cycle.run.id} if cycle.run else {}),
            **({"verdict": shown.outcome.value} if shown else {}),
            **({"release": cycle.release.id} if cycle.release else {}),
        },
        words=f"{_SAID[outcome]}\n\n"
        + "\n".join(f"- {_line(record)}" for record in history.known.values() if record.id in parts)
        + f"\n\n`hpcretrain explain {request.id}` tells more.",
        judged=shown.candidate if shown else None,
    )


def _part(candidate: Candidate, others: Iterable[Candidate], competed: Collection[str]) -> str:
    """The outcome of a candidate that has no verdict of its own."""
    if any(candidate.id in other.members for other in others):
        return MEMBER
    return NOT_CHOSEN if candidate.id in competed else TRAINED


def _candidate_page(
    history: History, candidate: Candidate, verdict: Verdict | None, cycle: Cycle | None, part: str
) -> Page:
    served = stints(history, candidate.id)
    if served:
        outcome = _outcome(cycle) if cycle else RELEASED
    else:
        outcome = part if verdict is None else PASSED if verdict.outcome is Outcome.PASS else REJECTED
    why = cycle.request if cycle else history.known[candidate.answers[0]]
    said = _FIRST_TWIN if cycle is None and not served else _SAID[outcome]
    words = [f"{said} {_times(served)}".rstrip(), f"Trained for `{why.id}`: {headline(why)}."]
    words.append(_learned(members.fits(history.known, candidate)) if candidate.members else _rows(candidate.window))
    tags = {"outcome": outcome, "purpose": candidate.purpose.value}
    if verdict is not None:
        tags |= {"verdict": verdict.outcome.value, "verdict_id": verdict.id}
        words += [f"Verdict `{verdict.id}`: {headline(verdict)}.", _table(verdict.findings)]
    return Page(candidate.id, run_name(candidate), "FINISHED", tags, "\n\n".join(words), served)


def _failure_page(job: Job, verdict: Verdict) -> Page:
    reason = "; ".join(finding.reason for finding in verdict.findings)
    words = f"{_SAID[FAILED]} {reason}\n\n{_rows(job.window)}\n\nIn the ledger: `{job.id}`, `{verdict.id}`."
    tags = {"outcome": FAILED, "verdict": verdict.outcome.value, "verdict_id": verdict.id}
    return Page(job.id, run_name(job), "FAILED", tags, words)


def _outcome(cycle: Cycle) -> str:
    if cycle.review is not None:
        return cycle.review.closing.value
    return RELEASED if cycle.release else TRAINED


_SAID = {
    FAILED: "The training failed.",
    TRAINED: "Trained; not judged yet.",
    MEMBER: "Trained, and averaged with fits of earlier releases; the average is another candidate of this cycle.",
    NOT_CHOSEN: "A pilot that competed; another was chosen.",
    PASSED: "Passed; its refit on all rows was to serve.",
    REJECTED: "Rejected.",
    RELEASED: "Released.",
    "kept": "Released, and kept after the watch.",
    "rolled_back": "Released, and rolled back after the watch.",
    "dropped": "Dropped: the reason had gone.",
    "canceled": "Canceled: somebody ended it.",
    "superseded": "Superseded: something more urgent, or newer data, took its place.",
}


_FIRST_TWIN = "The twin of the first champion: measured on the end of the reference, never to serve."


def run_name(record: Candidate | Job) -> str:
    """The name of the run of a candidate, or of its job."""
    average = f", average of {len(record.members)}" if isinstance(record, Candidate) and record.members else ""
    return f"{record.at:%Y-%m-%d} {record.purpose.value}, {record.window.name}{average}"


def _line(record: Record) -> str:
    return f"{record.at:%Y-%m-%d %H:%M} `{record.id}` {headline(record)}"


def _rows(window: Window) -> str:
    left_out = f", {len(window.excluded)} quarantined stretches left out" if window.excluded else ""
    return (
        f"Rows: window `{window.name}`, {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC, "
        f"{window.rows:,} rows{left_out}; digest `{window.digest}`."
    )


def _learned(fits: Sequence[Candidate]) -> str:
    """The rows of each member of an average."""
    return "\n".join(
        [
            f"Average of {len(fits)} fits, the fresh one first: the mean of their predictions.\n",
            *(f"- `{fit.id}`, model `{fit.model_digest}`. {_rows(fit.window)}" for fit in fits),
        ]
    )


def _times(served: Stints) -> str:
    spans = [f"{start:%Y-%m-%d %H:%M} to {f'{end:%Y-%m-%d %H:%M}' if end else 'now'}" for start, end in served]
    return f"Served {', '.join(spans)} (UTC)." if spans else ""


def _table(findings: Iterable[Finding]) -> str:
    rows = ["| Check | Outcome | Seen | Limit | Reason |", "| --- | --- | --- | --- | --- |"]
    for each in findings:
        cells = (each.check, each.outcome.value, _cell(each.observed), _cell(each.limit), each.reason)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)

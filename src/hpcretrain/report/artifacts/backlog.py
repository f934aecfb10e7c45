"""The requests that nothing has ended yet."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from hpcretrain.cycle import Cycle
from hpcretrain.records import Outcome, PriorityClass
from hpcretrain.report import markdown, wording
from hpcretrain.report.artifacts.shown import MARKDOWN, Artifact, Shown

MOST_LISTED = 50


def backlog(shown: Shown) -> Artifact:
    """The requests that nothing has ended yet, the most urgent first."""
    rank = {each: place for place, each in enumerate(shown.classes)}
    waiting = [
        (rank.get(_class(cycle), len(rank) - 1), cycle) for cycle in shown.history.cycles if cycle.review is None
    ]
    waiting.sort(key=lambda each: (each[0], -each[1].request.score, each[1].request.at, each[1].request.id))
    rows, more = markdown.first([_waits(each, shown.zone) for _, each in waiting], MOST_LISTED)
    assessment = shown.history.assessment
    score = f"score {assessment.score} of 1000" if assessment else "not assessed since the last release"
    summary = f"{wording.plural(len(waiting), 'request')} open, {score}"
    headings = (
        ("Request", False),
        ("Class", False),
        ("Score", True),
        ("Asked", False),
        ("Why", False),
        ("Stands", False),
    )
    return Artifact(
        "backlog",
        MARKDOWN,
        summary,
        markdown.paragraphs(
            f"**{wording.capitalized(summary)}**"
            + (f" ({wording.day(assessment.at, shown.zone)})." if assessment else "."),
            markdown.table(headings, rows) if rows else "Nothing waits.",
            more,
            shown.foot,
        ),
    )


def _class(cycle: Cycle) -> PriorityClass:
    """The class of the last decision, which may be more urgent than that of the request."""
    return cycle.decisions[-1].priority_class if cycle.decisions else cycle.request.priority_class


def _waits(cycle: Cycle, zone: ZoneInfo) -> markdown.Cells:
    request = cycle.request
    return (
        markdown.short(request.id),
        _class(cycle).value,
        str(request.score),
        wording.day(request.at, zone),
        markdown.escape(request.reason),
        _stands(cycle, zone),
    )


def _stands(cycle: Cycle, zone: ZoneInfo) -> str:
    if cycle.release is not None:
        return f"released, watched ({wording.plural(len(cycle.watches), 'look')} so far)"
    if asked := next((ask for ask in cycle.asks if cycle.answer(ask) is None), None):
        return f"awaits an approval to {asked.asked.value}, until {wording.day(asked.expires_at, zone)}"
    if cycle.run is not None:
        return f"training, {wording.plural(len(cycle.jobs), 'job')} so far"
    if not cycle.decisions:
        return "not decided yet"
    last = cycle.decisions[-1]
    loud = max(last.findings, key=lambda finding: finding.outcome.severity, default=None)
    if loud is None or loud.outcome is Outcome.PASS:
        return last.action.value
    numbers = f" (seen {wording.digits(loud.observed)}, limit {wording.digits(loud.limit)})"
    known = loud.observed is not None and loud.limit is not None
    return f"{last.action.value}: {markdown.escape(f'{loud.check}: {loud.reason}{numbers if known else str()}')}"

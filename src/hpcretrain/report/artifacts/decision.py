"""The newest decision."""

from __future__ import annotations

from hpcretrain.cycle import Cycle
from hpcretrain.records import Assessment, Decision
from hpcretrain.report import markdown, story, wording
from hpcretrain.report.artifacts.shown import MARKDOWN, Artifact, Shown, findings
from hpcretrain.report.explain import headline


def decision(shown: Shown) -> Artifact:
    """The newest decision: on which score, by which families, after which checks; and what came of it."""
    history = shown.history
    decided = [each for each in history.cycles if each.decisions]
    cycle = max(decided, key=lambda each: each.decisions[-1].at, default=None)
    if cycle is None:
        text = markdown.paragraphs("Nothing was decided yet.", _contributions(history.assessment), shown.foot)
        return Artifact("decision", MARKDOWN, "nothing was decided yet", text)
    last, end = cycle.decisions[-1], story.ending(cycle)[1]
    seen = [each for each in map(history.known.get, last.answers) if isinstance(each, Assessment)]
    summary = (
        f"{last.action.value}, class {last.priority_class.value}, {wording.day(last.at, shown.zone)}: {end.lower()}"
    )
    return Artifact(
        "decision",
        MARKDOWN,
        summary,
        markdown.paragraphs(
            f"**{wording.capitalized(last.action.value)}**, class {last.priority_class.value}, decided for "
            f"{wording.day(last.at, shown.zone)} about {markdown.code(cycle.request.id)}. {_cost(last)}",
            f"Asked: {markdown.escape(cycle.request.reason)}.",
            _contributions(seen[-1] if seen else None),
            f"## Checks\n\n{findings(last.findings)}",
            f"## What came of it\n\n**{end}.**",
            _came(cycle),
            f"{markdown.code(last.id)}; `hpcretrain explain {last.id}` tells more. {shown.foot}",
        ),
        last.id,
    )


def _cost(last: Decision) -> str:
    return f"Modeled cost: {wording.digits(last.cost_mrow_passes)} million row-passes." if last.cost_mrow_passes else ""


def _contributions(assessment: Assessment | None) -> str:
    if assessment is None:
        return ""
    points = sorted(assessment.contributions.items(), key=lambda item: (-item[1], item[0]))
    rows = []
    for name, value in points:
        share = value / assessment.score if assessment.score else 0.0
        level = f"{assessment.levels[name]:.2f}"
        rows.append(
            (wording.capitalized(wording.family(name)), str(value), level, f"{markdown.bar(share)} {share:.0%}")
        )
    headings = (("Family", False), ("Points", True), ("Level, 0 to 1", True), ("Share of the score", False))
    return f"## Score {assessment.score} of 1000\n\n{markdown.table(headings, rows)}"


def _came(cycle: Cycle) -> str:
    acts = [*cycle.verdicts, cycle.release, *cycle.watches, cycle.rollback, cycle.review]
    return "\n".join(f"- {markdown.code(act.id)} {markdown.escape(headline(act))}" for act in acts if act is not None)

"""What trainings cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpcretrain.cycle import Cycle
from hpcretrain.records import Job
from hpcretrain.report import markdown, story, wording
from hpcretrain.report.artifacts.shown import MARKDOWN, Artifact, Shown
from hpcretrain.report.cluster import cluster_line, cluster_use

_MOST_CYCLES = 30


def cost(shown: Shown) -> Artifact:
    """What trainings cost: as the policy models it, in CPU seconds, and what of it is in no model."""
    spent = {note["serves"]: note for note in shown.notes if note["event"] == "job_finished"}
    again: dict[str, int] = {}
    for note in shown.notes:
        if note["event"] == "job_ended":
            again[note["serves"]] = max(again.get(note["serves"], 0), int(note.get("restarts") or 0))
    trained = [cycle for cycle in shown.history.cycles if cycle.jobs]
    totals = [_spent(cycle.jobs, spent, again, shown) for cycle in trained]
    listed = [
        (
            markdown.short(cycle.request.id),
            wording.day(cycle.request.at, shown.zone),
            _class_of(cycle),
            *(_cells(each) if any(job.id in spent for job in cycle.jobs) else _ordered(each)),
            story.ending(cycle)[1],
        )
        for cycle, each in reversed(list(zip(trained, totals, strict=True)))
    ]
    rows, more = markdown.first(listed, _MOST_CYCLES)
    whole = [math.fsum(column) for column in zip(*totals, strict=True)] or [0.0] * 4
    last = ("**All**", "", "", *(f"**{cell}**" for cell in _cells(whole)), "")
    headings = (
        ("Request", False),
        ("Asked", False),
        ("Class", False),
        ("Million row-passes", True),
        ("CPU in models", True),
        ("CPU beside them", True),
        ("Started again", True),
        ("Came to", False),
    )
    summary = (
        f"{wording.plural(len(trained), 'training')}: {wording.digits(round(whole[0], 3))} million row-passes, "
        f"{wording.seconds(whole[1])} of CPU in models"
    )
    use = cluster_use(shown.notes)
    return Artifact(
        "cost",
        MARKDOWN,
        summary,
        markdown.paragraphs(
            f"**{wording.capitalized(summary)}.**",
            markdown.table(headings, [*rows, last]) if trained else "",
            more,
            f"{markdown.escape(cluster_line(use))}." if use else "",
            "CPU beside models is what processes took to begin and, where Slurm started jobs again, lost work; what a "
            "killed process used after its last checkpoint is not known. The first champion is in none of this. "
            + shown.foot,
        ),
    )


def _spent(
    jobs: Sequence[Job], spent: Mapping[str, Mapping[str, Any]], again: Mapping[str, int], shown: Shown
) -> tuple[float, float, float, float]:
    """Modeled cost, CPU seconds in models and beside them, and how often jobs were started again."""
    fits = math.fsum(shown.cpu_s(job.id) for job in jobs)
    lives = math.fsum(float(spent[job.id].get("lives_cpu_s", 0.0)) for job in jobs if job.id in spent)
    return (
        math.fsum(job.cost_mrow_passes for job in jobs),
        fits,
        max(0.0, lives - fits),
        sum(again.get(job.id, 0) for job in jobs),
    )


def _cells(spent: Sequence[float]) -> tuple[str, ...]:
    modeled, fits, beside, again = spent
    return wording.digits(round(modeled, 3)), wording.seconds(fits), wording.seconds(beside), f"{again:.0f}"


def _ordered(spent: Sequence[float]) -> tuple[str, ...]:
    """Of trainings none of which has told what it used."""
    modeled, _, _, again = _cells(spent)
    return modeled, "not known", "not known", again


def _class_of(cycle: Cycle) -> str:
    return (cycle.run.priority_class if cycle.run else cycle.request.priority_class).value

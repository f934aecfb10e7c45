"""The trainings under way: as a number, and job by job."""

from __future__ import annotations

from collections.abc import Sequence

from hpcretrain.report import markdown, wording
from hpcretrain.report.artifacts.going import FINISHED, Going, percent, under_way
from hpcretrain.report.artifacts.shown import MARKDOWN, PROGRESS, Artifact, Shown

MOST_LISTED = 50


def progress(shown: Shown) -> Artifact:
    """How far the trainings under way are, as one number."""
    about = shown.jobs[0].job.answers[0] if shown.jobs else ""
    return Artifact("progress", PROGRESS, _so_far(shown.jobs), percent(shown.jobs), about)


def _so_far(going: Sequence[Going]) -> str:
    if not going:
        return "no training was ordered yet"
    done = sum(each.word == FINISHED for each in going)
    if not under_way(going):
        return f"none under way; of the last, {done} of {wording.plural(len(going), 'job')} gave a model"
    unknown = sum(each.word not in (FINISHED,) and each.share is None for each in going)
    not_known = f"; how far {wording.plural(unknown, 'job')} are is not known, and counts as nothing" if unknown else ""
    return f"{done} of {wording.plural(len(going), 'job')} finished{not_known}"


def jobs(shown: Shown) -> Artifact:
    """The trainings under way, or the last ones: class, place at Slurm, how they stand."""
    listed = [
        (
            markdown.short(each.job.id),
            f"{each.job.purpose.value}, {markdown.escape(each.job.window.name)}",
            each.job.priority_class.value,
            each.slurm_job or "none",
            str(each.attempts),
            f"{each.word}: {markdown.escape(each.stands)}",
            f"{each.share:.0%}" if each.share is not None else "not known",
        )
        for each in shown.jobs
    ]
    rows, more = markdown.first(listed, MOST_LISTED)
    headings = (
        ("Job", False),
        ("For", False),
        ("Class", False),
        ("Slurm job", True),
        ("Attempts", True),
        ("Stands", False),
        ("Done", False),
    )
    summary = _so_far(shown.jobs)
    body = markdown.table(headings, rows) if rows else ""
    text = markdown.paragraphs(f"**{wording.capitalized(summary)}.**", body, more)
    return Artifact("jobs", MARKDOWN, summary, text, shown.jobs[0].job.answers[0] if shown.jobs else "")

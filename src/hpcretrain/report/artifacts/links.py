"""Where else each cycle stands: at Prefect, Slurm and MLflow."""

from __future__ import annotations

from hpcretrain.report import markdown, story, wording
from hpcretrain.report.artifacts.shown import MARKDOWN, Artifact, Shown

_MOST_CYCLES = 30


def links(shown: Shown) -> Artifact:
    """Where else each cycle stands: Prefect's runs, Slurm's jobs, MLflow's run; and how the ledger tells of it."""
    registered, slurm, flows = shown.registered(), shown.by("job_submitted"), shown.by("flow_run")
    listed = []
    for cycle in reversed(shown.history.cycles):
        of = [note for job in cycle.jobs for note in slurm.get(job.id, ())]
        numbers = dict.fromkeys(str(note["slurm_job"]) for note in of if "slurm_job" in note)
        runs = {note["run"]: note["name"] for note in flows.get(cycle.request.id, ())}
        page = {part: note for part in cycle.candidates if (note := registered.get(part))}
        listed.append(
            (
                markdown.short(cycle.request.id),
                ", ".join(markdown.link(markdown.escape(name), shown.flow_page(run)) for run, name in runs.items())
                or "none",
                ", ".join(numbers) or "none",
                ", ".join(markdown.link(str(note["version"]), shown.run_page(note["run"])) for note in page.values())
                or "none",
                story.ending(cycle)[1],
            )
        )
    rows, more = markdown.first(listed, _MOST_CYCLES)
    headings = (
        ("Ledger", False),
        ("Prefect runs", False),
        ("Slurm jobs", False),
        ("Versions in MLflow", False),
        ("Came to", False),
    )
    summary = f"{wording.plural(len(listed), 'cycle')} of retraining, newest first"
    store = shown.mlflow_store and not shown.mlflow
    return Artifact(
        "links",
        MARKDOWN,
        summary,
        markdown.paragraphs(
            f"**{wording.capitalized(summary)}.** `hpcretrain explain` with what stands in the first column tells all.",
            markdown.table(headings, rows) if rows else "",
            more,
            f"MLflow's pages: `mlflow ui --backend-store-uri {shown.mlflow_store}`; filter by "
            "``tags.`hpcretrain.id` = '…'``."
            if store
            else "",
        ),
    )

"""What artifacts are, and what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from hpcretrain.history import History
from hpcretrain.priority import BUILT_IN, PriorityClass
from hpcretrain.records import Finding, Outcome
from hpcretrain.report import markdown, story
from hpcretrain.report.artifacts.going import Going

MARKDOWN, PROGRESS = "markdown", "progress"


@dataclass(frozen=True)
class Artifact:
    """One artifact.

    Attributes:
        name: What it is called; its key is this after the model's.
        kind: "markdown", or "progress" for a number from 0 to 100.
        summary: What its card says, one line of Markdown.
        data: What it shows.
        about: The record that it is about. While that is the same the artifact is brought up to date; about another
            record it is a new version, so that its versions tell a story. Empty: always the one version.
    """

    name: str
    kind: str
    summary: str
    data: str | float
    about: str = ""


@dataclass(frozen=True)
class Shown:
    """What artifacts are made of.

    Attributes:
        history: All records.
        notes: All notes.
        primary_metric: The primary metric.
        zone: In which times are told.
        cpu_s: CPU seconds of a job's fits, by the job's identifier.
        classes: The classes of the policy in force, most urgent first.
        jobs: How the trainings stand.
        picture: The PNG of a candidate that met the champion, by its identifier; None where there is none.
        prefect: Where Prefect's pages are; empty if that is not known.
        mlflow: Where MLflow's pages are; empty if that is not known.
        mlflow_store: The address of the MLflow store, for `mlflow ui`.
    """

    history: History
    notes: Sequence[Mapping[str, Any]]
    primary_metric: str
    zone: ZoneInfo
    cpu_s: Callable[[str], float]
    classes: Sequence[PriorityClass] = BUILT_IN
    jobs: Sequence[Going] = ()
    picture: Callable[[str], bytes | None] = lambda _: None
    prefect: str = ""
    mlflow: str = ""
    mlflow_store: str = ""

    @property
    def foot(self) -> str:
        """What times mean."""
        return f"Times are in the table's time zone, {self.zone.key}."

    def by(self, event: str) -> dict[str, list[Mapping[str, Any]]]:
        """The notes of an event, by what they serve."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for note in self.notes:
            if note["event"] == event:
                found.setdefault(note["serves"], []).append(note)
        return found

    def registered(self) -> dict[str, Mapping[str, Any]]:
        """Run and version in MLflow, by what they are of."""
        return {serves: notes[-1] for serves, notes in self.by("registered").items()}

    def run_page(self, run: object) -> str:
        """The address of a run of MLflow; empty if it is not known."""
        return f"{self.mlflow}/#/runs/{run}" if self.mlflow and run else ""

    def flow_page(self, run: str) -> str:
        """The address of a flow run of Prefect; empty if it is not known."""
        return f"{self.prefect}/runs/flow-run/{run}" if self.prefect else ""


def findings(each: Sequence[Finding]) -> str:
    """Findings as a table, the worst first."""
    rows = [
        (
            finding.word if finding.outcome == Outcome.PASS.value else f"**{finding.word}**",
            markdown.escape(finding.check),
            markdown.escape(finding.observed),
            markdown.escape(finding.limit),
            markdown.escape(finding.reason),
        )
        for finding in story.evidence(each)
    ]
    headings = (("Outcome", False), ("Check", False), ("Seen", True), ("Limit", True), ("Reason", False))
    return markdown.table(headings, rows)

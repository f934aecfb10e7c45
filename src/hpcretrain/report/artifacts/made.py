"""All artifacts of a model: the same home gives the same, so that what is there need not be written again."""

from __future__ import annotations

import re

from hpcretrain.report.artifacts.backlog import backlog
from hpcretrain.report.artifacts.comparison import comparison
from hpcretrain.report.artifacts.cost import cost
from hpcretrain.report.artifacts.decision import decision
from hpcretrain.report.artifacts.links import links
from hpcretrain.report.artifacts.progress import jobs, progress
from hpcretrain.report.artifacts.release import release
from hpcretrain.report.artifacts.shown import Artifact, Shown


def key(model: str, name: str) -> str:
    """The key of an artifact; Prefect allows lowercase letters, digits and dashes."""
    return f"{re.sub('[^a-z0-9]+', '-', model.lower()).strip('-')}-{name}"


def artifacts(shown: Shown) -> list[Artifact]:
    """All artifacts of a model; none before its reference was frozen."""
    if shown.history.baseline is None:
        return []
    return [make(shown) for make in (backlog, decision, progress, jobs, comparison, release, cost, links)]

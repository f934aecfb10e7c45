"""What things are called in Prefect: all that setup makes and all that flows look for, from the home's path alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

POOL = "hpcretrain"
TAG = "hpcretrain"

WHATEVER = "whatever is open"
"""What a run is about that somebody started without saying."""

TRIAGE_TAG, SUBMIT_TAG = "hpcretrain-triage", "hpcretrain-submit"
VALIDATION = "hpcretrain-validation"

Kind = Literal["observe", "triage", "retrain", "release", "watch", "reconcile", "review"]
KINDS: tuple[Kind, ...] = ("observe", "triage", "retrain", "release", "watch", "reconcile", "review")
"""The flows, by what they do."""

HOME_LABEL, CLASS_LABEL, ACTION_LABEL = "hpcretrain.home", "hpcretrain.priority_class", "hpcretrain.action"


def flow_name(kind: Kind) -> str:
    """What a flow is called in Prefect, where others may have a flow to watch or to review something too."""
    return f"hpcretrain-{kind}"


def home_id(home: Path) -> str:
    """Tells homes apart: the last part of the path, and a digest of all of it."""
    path = home.resolve()
    readable = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-") or "home"
    return f"{readable[:40]}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def home_tag(home: Path) -> str:
    """The tag of all deployments, runs and automations of a home."""
    return f"{TAG}-home:{home_id(home)}"


def labels(home: Path, record: str, priority_class: str = "", action: str = "") -> Mapping[str, str]:
    """The resource of an event about a record: automations look at nothing else.

    Args:
        home: The home.
        record: The record's identifier.
        priority_class: The class of the work that it starts; "" where it starts none.
        action: What a decision orders; "" where it is none.
    """
    told = {CLASS_LABEL: priority_class, ACTION_LABEL: action}
    return {
        "prefect.resource.id": f"hpcretrain.record.{record}",
        "prefect.resource.name": record,
        HOME_LABEL: home_id(home),
        **{label: value for label, value in told.items() if value},
    }

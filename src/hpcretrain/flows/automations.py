"""The automations of a home: which events start which of its flows, with which parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from hpcretrain.adapters.prefect_wanted import Automation, RunsDeployment
from hpcretrain.flows.names import (
    ACTION_LABEL,
    CLASS_LABEL,
    HOME_LABEL,
    KINDS,
    Kind,
    flow_name,
    home_id,
    home_tag,
)
from hpcretrain.report.events import DECIDED, DRIFT

ONCE_WITHIN = timedelta(minutes=10)
"""The same record is heeded once in this time, however often its event is sent."""
AT_ONCE = timedelta(0)
DEAD_AFTER = timedelta(seconds=95)
"""Flows send a heartbeat every 30 s."""
_LIVES = ("prefect.flow-run.Pending", "prefect.flow-run.Running", "prefect.flow-run.heartbeat")
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "Suspended", "Paused")


def automations(home: Path, classes: Sequence[str]) -> tuple[Automation, ...]:
    """All of a home whose policy has these classes."""
    return (
        *(_drift(home, each) for each in classes),
        *(_decided(home, each) for each in classes),
        _canceled(home),
        _ended(home),
        _silent(home),
    )


def _text(name: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": f"{{{{ event.payload.{name} }}}}"}


def _typed(name: str) -> dict[str, Any]:
    """A number or a list of the payload, which a bare template would turn into text."""
    template = f"{{{{ event.payload.{name} | tojson }}}}"
    return {"__prefect_kind": "json", "value": {"__prefect_kind": "jinja", "template": template}}


def _drift(home: Path, priority_class: str) -> Automation:
    return Automation(
        name=f"hpcretrain: {priority_class} drift starts triage ({home_id(home)})",
        description="An assessment calls for a retraining.",
        expect=(DRIFT,),
        match={HOME_LABEL: home_id(home), CLASS_LABEL: priority_class},
        for_each=("prefect.resource.id",),
        within=ONCE_WITHIN,
        action=RunsDeployment(
            flow_name("triage"),
            f"{home_id(home)}-{priority_class}",
            {
                # Not the payload's: whoever may send events may not point flows at other folders.
                "home": str(home),
                "assessment": _text("assessment"),
                "score": _typed("score"),
                "priority_class": _text("priority_class"),
                "families": _typed("families"),
            },
        ),
    )


def _decided(home: Path, priority_class: str) -> Automation:
    return Automation(
        name=f"hpcretrain: {priority_class} decision starts retraining ({home_id(home)})",
        description="A decision orders a training.",
        expect=(DECIDED,),
        match={HOME_LABEL: home_id(home), CLASS_LABEL: priority_class, ACTION_LABEL: "run"},
        for_each=("prefect.resource.id",),
        within=ONCE_WITHIN,
        action=RunsDeployment(
            flow_name("retrain"),
            f"{home_id(home)}-{priority_class}",
            {
                "home": str(home),
                "request": _text("request"),
                "decision": _text("decision"),
                "priority_class": _text("priority_class"),
            },
        ),
    )


def _canceled(home: Path) -> Automation:
    """A retraining's run that somebody canceled: a suspended one has no process that could see to it."""
    return Automation(
        name=f"hpcretrain: canceled retrainings end their jobs ({home_id(home)})",
        description="Canceling a retraining's run checkpoints and cancels its jobs.",
        expect=("prefect.flow-run.Cancelled",),
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=(_ours(home), _flows("retrain")),
        for_each=("prefect.resource.id",),
        within=AT_ONCE,
        action=RunsDeployment(flow_name("reconcile"), home_id(home), {"home": str(home)}),
    )


def _ended(home: Path) -> Automation:
    """A run that failed or crashed: bring everything to the truth at once."""
    return Automation(
        name=f"hpcretrain: failed and crashed runs are reconciled ({home_id(home)})",
        description="What a dead run left is done.",
        expect=("prefect.flow-run.Crashed", "prefect.flow-run.Failed"),
        match={"prefect.resource.id": "prefect.flow-run.*"},
        # A reconciliation that fails is not answered by another one at once; there is one each minute.
        match_related=(_ours(home), _flows(*(kind for kind in KINDS if kind != "reconcile"))),
        for_each=("prefect.resource.id",),
        within=AT_ONCE,
        action=RunsDeployment(flow_name("reconcile"), home_id(home), {"home": str(home)}),
    )


def _silent(home: Path) -> Automation:
    """A run whose process and worker died together, be it before the first heartbeat: `reconcile` looks for itself.

    Prefect over SQLite may lose an event of its own when much happens at once, such as that a run was suspended.
    """
    return Automation(
        name=f"hpcretrain: silent runs are called crashed ({home_id(home)})",
        description="What sends no heartbeat any more is looked at, and ended.",
        after=_LIVES,
        expect=(*_LIVES, *(f"prefect.flow-run.{end}" for end in _ENDS)),
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=(_ours(home),),
        for_each=("prefect.resource.id",),
        within=DEAD_AFTER,
        proactive=True,
        action=RunsDeployment(flow_name("reconcile"), home_id(home), {"home": str(home)}),
    )


def _flows(*kinds: Kind) -> Mapping[str, str | list[str]]:
    return {"prefect.resource.role": "flow", "prefect.resource.name": [flow_name(kind) for kind in kinds]}


def _ours(home: Path) -> Mapping[str, str | list[str]]:
    return {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{home_tag(home)}"}

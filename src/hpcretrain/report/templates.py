"""The words of what people are told: what happened, with its numbers, and what to do next."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from hpcretrain.policy.escalate import StageName


class Told(enum.Enum):
    """What people are told of."""

    APPROVAL_NEEDED = "approval_needed"
    APPROVAL_EXPIRES = "approval_expires"
    HOLD_AND_INVESTIGATE = "hold_and_investigate"
    MEND_DATA = "mend_data"
    COLLECT_LABELS = "collect_labels"
    BLIND = "blind"
    BUDGET_SPENT = "budget_spent"
    WINDOW_PLANNED = "window_planned"
    WINDOW_BEGUN = "window_begun"
    RELEASED = "released"
    ROLLED_BACK = "rolled_back"
    BREAK_GLASS = "break_glass"
    OVERRUN = "overrun"
    LEDGER_DAMAGED = "ledger_damaged"
    TEST = "test"


@dataclass(frozen=True)
class Template:
    """How something is told; braces are filled with the facts of the notice.

    Attributes:
        title: In one line.
        text: What happened, with its numbers.
        next: What to do, with the command.
        tier: Whom to tell, from 1; higher tiers are told of what is graver, or was left undone.
    """

    title: str
    text: str
    next: str
    tier: int = 1


TEMPLATES: Mapping[Told, Template] = {
    Told.APPROVAL_NEEDED: Template(
        "{model}: {what} awaits {needed}",
        "{subject} was asked for by {requester}. Until {expires_at}:\n{facts}",
        "hpcretrain approve {id} --home {home} --reason ...   (or: hpcretrain deny {id} ...)",
    ),
    Told.APPROVAL_EXPIRES: Template(
        "{model}: {what} still awaits {needed}, until {expires_at}",
        "{subject} was asked for by {requester}; said so far: {said}.\n{facts}",
        "hpcretrain approve {id} --home {home} --reason ...   (or: hpcretrain deny {id} ...)",
        2,
    ),
    Told.HOLD_AND_INVESTIGATE: Template(
        "{model}: look before anything is trained (score {score})",
        "Since {since}: {why}.",
        "hpcretrain explain {id} --home {home}; then mend the cause, or: hpcretrain request --home {home} --reason ...",
    ),
    Told.MEND_DATA: Template(
        "{model}: the data is not what it was (score {score})",
        "Since {since}: {why}. Nothing is trained on it.",
        "hpcretrain explain {id} --home {home}; then mend the table, or what writes it",
    ),
    Told.COLLECT_LABELS: Template(
        "{model}: something moved, and no labels tell whether the model got worse (score {score})",
        "Since {since}: {why}.",
        "hpcretrain explain {id} --home {home}; then have the newest rows labeled",
    ),
    Told.BLIND: Template(
        "{model}: nothing is heard of {subject}",
        "Since {since}: {why}. What is not heard of is not healthy.",
        "hpcretrain explain {id} --home {home}; then look at what sends it",
        2,
    ),
    Told.BUDGET_SPENT: Template(
        "{model}: {subject} waits, the budget is spent",
        "Since {since}: {why}.",
        "wait; or have it approved beyond the budget: hpcretrain approve --home {home}",
    ),
    Told.WINDOW_PLANNED: Template(
        "{model}: a training ({class}) waits for a window of low traffic",
        "{subject}: {why}.",
        "nothing, it begins by itself; to keep it out: hpcretrain stop --class {class} --home {home} --reason ...",
    ),
    Told.WINDOW_BEGUN: Template(
        "{model}: a training ({class}) began in its window",
        "{subject}, at {since}: {why}.",
        "nothing; if serving suffers: hpcretrain stop --now --home {home} --reason ...",
    ),
    Told.RELEASED: Template(
        "{model}: another model serves ({class})",
        "Since {since}: {why}. It is watched, and taken back where it disappoints.",
        "hpcretrain explain {id} --home {home}",
    ),
    Told.ROLLED_BACK: Template(
        "{model}: the release was taken back",
        "Since {since} the model before it serves: {why}.",
        "hpcretrain explain {id} --home {home}; look why the gate let it pass",
        2,
    ),
    Told.BREAK_GLASS: Template(
        "{model}: {actor} broke the glass",
        "At {since}, for {subject}: {why}. Approvals, budget and queue are set aside until {expires_at}; no check is.",
        "hpcretrain review {id} --home {home} --reason ...   by somebody else, until {review_by}",
        2,
    ),
    Told.OVERRUN: Template(
        "{model}: {stage} takes {hours} h, {limit_h} h are allowed (tier {tier})",
        "{subject} has been in it since {since}.",
        "{do}",
    ),
    Told.LEDGER_DAMAGED: Template(
        "{model}: the ledger is damaged",
        "{why}. Nothing is decided until it is mended; what serves goes on serving.",
        "hpcretrain audit verify --home {home}; keep a copy as it is, then restore the newest backup",
        3,
    ),
    Told.TEST: Template(
        "{model}: a test of who is told",
        "Sent at {since} by hand, to see that it arrives.",
        "nothing",
    ),
}

STAGES: Mapping[StageName, str] = {
    StageName.WAITING: "hpcretrain explain {subject} --home {home}; then: hpcretrain cancel {subject}, or mend it",
    StageName.APPROVAL: "hpcretrain approve {subject} --home {home} --reason ...   (or: hpcretrain deny {subject} ...)",
    StageName.QUEUE: "hpcretrain status --home {home}; look at the cluster: hpcretrain doctor --cluster FILE.toml",
    StageName.TRAINING: "hpcretrain status --home {home}; then wait, or: hpcretrain cancel {subject} --home {home}",
    StageName.WATCH: "look whether labels still arrive; too few rows are matured for a look",
    StageName.REVIEW: "hpcretrain review {subject} --home {home} --reason ...   by who did not break the glass",
}
"""What to do about a stage that takes too long."""

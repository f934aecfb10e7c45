"""The records of what people ask for, approve and set aside: policies, approvals, broken glass."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from hpcretrain.evidence import Finding, Outcome, PriorityClass
from hpcretrain.record import Record


class Asked(enum.Enum):
    """What a person is asked to approve."""

    RUN = "run"
    """That a training begins."""
    RELEASE = "release"
    """That a candidate which passed the gate serves."""
    POLICY = "policy"
    """That another policy takes effect."""


@dataclass(frozen=True, kw_only=True)
class Proposal(Record):
    """A policy that somebody wants to take effect. Answers the activation of the one in force.

    `policy` is its canonical text, of which `policy_digest` is the SHA-256.
    """

    kind = "proposal"

    policy_digest: str
    policy: str
    actor: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Activation(Record):
    """A policy takes effect, under the rules of a version. Answers the baseline, or the proposal and its approvals.

    `policy` is its canonical text, of which `policy_digest` is the SHA-256. Where the software was renewed and has
    other rules, the same policy takes effect again under those, and the activation answers the one before.
    """

    kind = "activation"

    policy_digest: str
    policy: str
    rule_version: str
    actor: str | None
    """Who proposed it; None for the policy that the home was made with, and for that in force under other rules."""


@dataclass(frozen=True, kw_only=True)
class Ask(Record):
    """What must be approved before it is done, with all that an approver needs to know.

    Answers a decision, a verdict or a proposal. `subject` is the identifier of the request (to run), of the candidate
    (to release) with its `model_digest`, or of the proposal.
    `overrules` names the checks of the decision that do not pass and that an approval sets aside. It is approved once
    `needed` people said so.
    """

    kind = "ask"
    later = ("needed",)

    asked: Asked
    subject: str
    model_digest: str | None
    policy_digest: str
    priority_class: PriorityClass
    requester: str | None
    overrules: tuple[str, ...]
    facts: tuple[Finding, ...]
    expires_at: datetime
    needed: int = 1


@dataclass(frozen=True, kw_only=True)
class Approval(Record):
    """What a person said to what was asked: PASS to approve it, FAIL to deny it. Answers the ask.

    `actor` is the person's name, `identity` who vouches for it; `right` is by what the person may say so, as it was at
    that moment; `token` is the identifier of the message.
    """

    kind = "approval"
    later = ("right", "identity")

    outcome: Outcome
    actor: str
    reason: str
    token: str
    right: str = ""
    identity: str = ""


@dataclass(frozen=True, kw_only=True)
class BreakGlass(Record):
    """Somebody set approvals, budgets and the queue aside for a request, in an emergency. Answers the request.

    It counts until `expires_at`, and somebody else reviews it, by `review_by`; for the rest see `Approval`.
    """

    kind = "break_glass"

    actor: str
    reason: str
    right: str
    identity: str
    token: str
    expires_at: datetime
    review_by: datetime


@dataclass(frozen=True, kw_only=True)
class GlassReview(Record):
    """What somebody else says of it afterwards. Answers it."""

    kind = "glass_review"

    actor: str
    reason: str
    right: str
    identity: str
    token: str

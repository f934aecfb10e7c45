"""The records that flow through a retraining cycle.

`Signal -> Assessment -> RetrainRequest -> Decision -> Job -> Candidate -> Verdict -> Release -> Watch -> Review`,
all under a `Baseline`. What people say to it is in `consent`.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import Any

from pydantic import TypeAdapter

from hpcretrain.consent import Activation as Activation
from hpcretrain.consent import Approval as Approval
from hpcretrain.consent import Ask as Ask
from hpcretrain.consent import Asked as Asked
from hpcretrain.consent import BreakGlass as BreakGlass
from hpcretrain.consent import GlassReview as GlassReview
from hpcretrain.consent import Proposal as Proposal
from hpcretrain.evidence import Advice as Advice
from hpcretrain.evidence import Family as Family
from hpcretrain.evidence import Finding as Finding
from hpcretrain.evidence import Histogram as Histogram
from hpcretrain.evidence import Measure as Measure
from hpcretrain.evidence import Outcome as Outcome
from hpcretrain.evidence import PriorityClass as PriorityClass
from hpcretrain.evidence import Reading as Reading
from hpcretrain.evidence import Slice as Slice
from hpcretrain.evidence import Start as Start
from hpcretrain.evidence import Window as Window
from hpcretrain.facts import Facts as Facts
from hpcretrain.record import Record as Record

RULE_VERSION = "4"
"""The version of the decision rules; it stands in every baseline, since other rules make other decisions."""


class Action(enum.Enum):
    """What a decision orders."""

    RUN = "run"
    WAIT = "wait"
    HOLD = "hold"
    DROP = "drop"


class Purpose(enum.Enum):
    """What a training job is for."""

    PILOT = "pilot"
    """A model trained on a sample of a window: to compete with other pilots, and perhaps to be judged."""
    JUDGE = "judge"
    """The first champion's twin, judged on the end of the reference, which it has not seen."""
    REFIT = "refit"
    """The full fit of a window, up to the newest matured rows, once its twin was judged."""


class Stage(enum.Enum):
    """What a verdict is about."""

    SELECTION = "selection"
    """Pilots compete on a slice of rows; the winner must promise a gain."""
    GATE = "gate"
    """The winner meets the champion on later rows."""
    REFIT = "refit"
    """A full fit stands in for the twin that was judged."""


class ReleaseKind(enum.Enum):
    """Why a model came to serve."""

    FIRST = "first"
    PROMOTION = "promotion"
    ROLLBACK = "rollback"


class Closing(enum.Enum):
    """How a cycle ended."""

    KEPT = "kept"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    DROPPED = "dropped"
    CANCELED = "canceled"
    """Somebody ended it."""
    SUPERSEDED = "superseded"
    """A more urgent request, or newer data, took its place."""


@dataclass(frozen=True, kw_only=True)
class Baseline(Record):
    """The terms under which a model is watched: configuration, policy, rules, and the frozen reference."""

    kind = "baseline"

    config_digest: str
    policy_digest: str
    rule_version: str
    contract_digest: str
    batch_s: int
    """Seconds between two batches."""
    reference: Slice


@dataclass(frozen=True, kw_only=True)
class Signal(Record):
    """One measured sign of how a model is doing in one slot. Answers the release that was serving.

    `effect` and `lower_bound` say how much worse (never negative for better), in `unit`; None when not measurable, and
    then `finding` says why. What the home did not measure itself was `told_by` somebody, at `at`; its slot is the
    moment at which it was measured. A `deadline` is until when something must be done about it.
    """

    kind = "signal"
    later = ("deadline", "told_by")

    family: Family
    name: str
    slot: Slice
    effect: float | None
    lower_bound: float | None
    n: int
    reference: float | None
    unit: str
    finding: Finding
    deadline: datetime | None = None
    told_by: str | None = None

    @property
    def said(self) -> tuple[object, ...]:
        """What it says, whoever told it and when: what is told twice says the same."""
        numbers = (self.effect, self.lower_bound, self.n, self.reference, self.finding.outcome)
        return (self.family, self.name, self.slot.end, *numbers, self.deadline, self.finding.reason)

    @cached_property
    def measure(self) -> Measure:
        """What it measures."""
        # No record holds what is not finite; it was told all the same.
        broken = self.told_by is not None and self.finding.outcome is Outcome.ERROR
        effect, bound = (math.nan, math.nan) if broken else (self.effect, self.lower_bound)
        at = self.at if self.told_by is None else self.slot.end
        return Measure(
            self.model, self.family, self.name, at, effect, bound, self.n, self.reference, self.deadline,
            self.finding.reason,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Assessment(Record):
    """The score of a model at one time: 0 to 1000, in whole contributions by family. Answers signals.

    `decline` is the score of those families alone that retraining cures, `fresh` of those that say that there is more
    to learn from; `action` is what helps, and `priority_class` how urgent a retraining would be.
    """

    kind = "assessment"

    score: int
    decline: int
    fresh: int
    action: Advice
    priority_class: PriorityClass
    contributions: Mapping[str, int]
    levels: Mapping[str, float]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class RetrainRequest(Record):
    """A wish to retrain. Answers the assessment that gave rise to it, and what somebody outside asked for."""

    kind = "request"

    priority_class: PriorityClass
    score: int
    contributions: Mapping[str, int]
    triggers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decision(Record):
    """What is to be done about a request now, and everything that was seen. Answers the request and an assessment.

    `facts` are those that no other record holds: with them, the policy of this digest and the rules of this version,
    the decision can be made again from the records before it.
    """

    kind = "decision"

    policy_digest: str
    rule_version: str

    action: Action
    outcome: Outcome
    priority_class: PriorityClass
    cost_mrow_passes: float
    facts: Facts
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Job(Record):
    """A training to be done. Answers a baseline (the first champion), a decision, or a verdict (a refit).

    Its class is the decision's; what no decision ordered is done in the background. Without a `start` it begins from
    nothing.
    """

    kind = "job"
    later = ("start",)

    purpose: Purpose
    priority_class: PriorityClass
    recipe: str
    params: Mapping[str, str]
    seed: int
    window: Window
    cost_mrow_passes: float
    start: Start | None = None


@dataclass(frozen=True, kw_only=True)
class Candidate(Record):
    """A trained model, which answers its job; or an average of trained models, its `members`, which it answers.

    The first member is the newly trained one; the window is that one's.
    """

    kind = "candidate"

    purpose: Purpose
    model_digest: str
    window: Window
    members: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict(Record):
    """What came of one stage for a candidate. Answers it (or the jobs that failed) and the champion's release.

    The verdict of a selection answers all pilots that competed; `candidate` is the winner, and the verdict of the gate
    answers that of the selection. `use` is the how-manieth verdict this is on rows of the holdout; `twin` names the
    judged candidate when a full fit is checked against it.
    """

    kind = "verdict"

    stage: Stage
    candidate: str
    twin: str | None
    outcome: Outcome
    holdout: Slice | None
    use: int
    findings: tuple[Finding, ...]
    readings: tuple[Reading, ...]


@dataclass(frozen=True, kw_only=True)
class Release(Record):
    """A model that serves from now on. Answers a verdict, a watch (roll-back) or candidates (the first champion).

    `readings` were measured on rows that the judged twin had not seen; later signals compare with them.
    """

    kind = "release"

    release_kind: ReleaseKind
    candidate: str
    twin: str
    model_digest: str
    window: Window
    previous: str | None
    readings: tuple[Reading, ...]


@dataclass(frozen=True, kw_only=True)
class Watch(Record):
    """One look at a fresh release against the model before it. Answers the release."""

    kind = "watch"

    look: int
    outcome: Outcome
    slot: Slice
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Review(Record):
    """The end of a cycle, with its modeled cost and measured gain. Answers the request and what ended it."""

    kind = "review"

    closing: Closing
    cost_mrow_passes: float
    gain: Finding


KINDS: dict[str, type[Record]] = {
    record.kind: record
    for record in (
        Baseline,
        Proposal,
        Activation,
        Signal,
        Assessment,
        RetrainRequest,
        Decision,
        Ask,
        Approval,
        BreakGlass,
        GlassReview,
        Job,
        Candidate,
        Verdict,
        Release,
        Watch,
        Review,
    )
}


@cache
def _adapter(kind: str) -> TypeAdapter[Record]:
    return TypeAdapter(KINDS[kind])


def _unsaid(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """What a record of rules before 4 did not say: it went without saying, or was not recorded."""
    if kind == Baseline.kind:
        return {"batch_s": 0}
    if kind == Decision.kind:
        rows = dict.fromkeys(
            ("training_rows", "selection_rows", "holdout_rows", "fresh_rows", "class_rows", "passes"), 0
        )
        return {"policy_digest": "", "rule_version": "", "facts": {"attended": False, **rows}}
    if kind == Assessment.kind:
        # All that counted was decline, and all that helped was a retraining.
        fresh = content.get("contributions", {}).get(Family.FRESHNESS.value, 0)
        said = {"decline": content.get("score"), "fresh": fresh}
        return {**said, "action": Advice.RETRAIN, "priority_class": PriorityClass.STANDARD}
    return {}


def parse(body: str) -> Record:
    """The record that canonical JSON `body` holds.

    Raises:
        ValueError: It is not a record, or not one that this version knows.
    """
    content = json.loads(body)
    kind = content.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"unknown kind of record: {kind!r}")
    record = _adapter(kind).validate_python({**_unsaid(kind, content), **content})
    # What was written stands, also where an earlier version wrote fewer fields: identifiers are made of it.
    record.__dict__["body"] = body
    return record

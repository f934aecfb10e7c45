"""The records that flow through a retraining cycle.

`Signal -> Assessment -> RetrainRequest -> Decision -> Job -> Candidate -> Verdict -> Release -> Watch -> Review`,
all under a `Baseline`. Each is frozen, bears an aware UTC time, and names the records that it answers. A record's
identifier is derived from its content, so the same inputs give the same identifiers. Floats are rounded when a record
is made: what decides is exactly what is written down.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, cached_property
from typing import ClassVar

from pydantic import TypeAdapter

from hpcretrain.canonical import Plain, canonical, plain, sha256

RULE_VERSION = "3"
"""The version of the decision rules; it stands in every baseline, since other rules make other decisions."""


class Outcome(enum.Enum):
    """How a check came out. Ordered: the worst of several wins, and only PASS goes on."""

    PASS = "pass"
    WAIT = "wait"
    INSUFFICIENT = "insufficient"
    FAIL = "fail"
    ERROR = "error"

    @property
    def severity(self) -> int:
        return list(Outcome).index(self)

    @staticmethod
    def worst(outcomes: Iterable[Outcome]) -> Outcome:
        """The worst of `outcomes`; INSUFFICIENT when there are none, since nothing was checked."""
        return max(outcomes, key=lambda outcome: outcome.severity, default=Outcome.INSUFFICIENT)


class Family(enum.Enum):
    """Families of signals; a score's contributions are given by family."""

    PERFORMANCE = "performance"
    CALIBRATION = "calibration"
    INPUT_DRIFT = "input_drift"
    PREDICTION_SHIFT = "prediction_shift"
    DATA_QUALITY = "data_quality"
    FRESHNESS = "freshness"


class PriorityClass(enum.Enum):
    """Priority classes, most urgent first."""

    URGENT = "urgent"
    STANDARD = "standard"
    BACKGROUND = "background"


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


@dataclass(frozen=True)
class Finding(Plain):
    """One piece of evidence: a check, how it came out, why, what was seen and what the limit is."""

    check: str
    outcome: Outcome
    reason: str
    observed: float | int | str | None = None
    limit: float | int | str | None = None


@dataclass(frozen=True)
class Slice(Plain):
    """A stretch of rows of the table: `start` <= time < `end`, how many, and a digest of what they hold."""

    start: datetime
    end: datetime
    rows: int
    digest: str


@dataclass(frozen=True)
class Window(Plain):
    """The rows that a model is trained on; `excluded` are quarantined stretches inside it.

    `rows` of the `population` rows that lie in it were drawn.
    """

    name: str
    start: datetime
    end: datetime
    rows: int
    population: int
    digest: str
    excluded: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True)
class Reading(Plain):
    """A metric measured on labeled rows, with its standard error (both in the metric's unit)."""

    metric: str
    value: float
    se: float
    n: int


@dataclass(frozen=True)
class Histogram(Plain):
    """Counts in bins: `counts[i]` values lie in [edges[i-1], edges[i]), with open ends; one more count than edges."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Record(Plain):
    """What every record has: the model, the (virtual) time, and the identifiers of the records that it answers."""

    kind: ClassVar[str]

    model: str
    at: datetime
    answers: tuple[str, ...] = ()

    @cached_property
    def body(self) -> str:
        """The record as canonical JSON."""
        return canonical({"kind": self.kind, **plain(self)})

    @cached_property
    def id(self) -> str:
        """The kind and the first 16 hexadecimal digits of the SHA-256 of the canonical JSON."""
        return f"{self.kind}-{sha256(self.body)[:16]}"


@dataclass(frozen=True, kw_only=True)
class Baseline(Record):
    """The terms under which a model is watched: configuration, policy, rules, and the frozen reference."""

    kind = "baseline"

    config_digest: str
    policy_digest: str
    rule_version: str
    contract_digest: str
    reference: Slice


@dataclass(frozen=True, kw_only=True)
class Signal(Record):
    """One measured sign of how a model is doing in one slot. Answers the release that was serving.

    `effect` and `lower_bound` say how much worse (never negative for better), in `unit`; None when not measurable, and
    then `finding` says why.
    """

    kind = "signal"

    family: Family
    name: str
    slot: Slice
    effect: float | None
    lower_bound: float | None
    n: int
    reference: float | None
    unit: str
    finding: Finding


@dataclass(frozen=True, kw_only=True)
class Assessment(Record):
    """The score of a model at one time: 0 to 1000, in whole contributions by family. Answers signals."""

    kind = "assessment"

    score: int
    contributions: Mapping[str, int]
    levels: Mapping[str, float]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class RetrainRequest(Record):
    """A wish to retrain. Answers the assessment that gave rise to it."""

    kind = "request"

    priority_class: PriorityClass
    score: int
    contributions: Mapping[str, int]
    triggers: tuple[str, ...]
    reason: str


@dataclass(frozen=True, kw_only=True)
class Decision(Record):
    """What is to be done about a request now, and everything that was seen. Answers the request and an assessment."""

    kind = "decision"

    action: Action
    outcome: Outcome
    priority_class: PriorityClass
    cost_mrow_passes: float
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Job(Record):
    """A training to be done. Answers a baseline (the first champion), a decision, or a verdict (a refit).

    Its class is the decision's; what no decision ordered is done in the background.
    """

    kind = "job"

    purpose: Purpose
    priority_class: PriorityClass
    recipe: str
    params: Mapping[str, str]
    seed: int
    window: Window
    cost_mrow_passes: float


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
        Signal,
        Assessment,
        RetrainRequest,
        Decision,
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


def parse(body: str) -> Record:
    """The record that canonical JSON `body` holds.

    Raises:
        ValueError: It is not a record, or not one that this version knows.
    """
    content = json.loads(body)
    kind = content.pop("kind", None)
    if kind not in KINDS:
        raise ValueError(f"unknown kind of record: {kind!r}")
    return _adapter(kind).validate_python(content)

"""What records are made of: findings, and the rows, metrics and counts that they are about."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from hpcretrain.canonical import Plain
from hpcretrain.priority import PriorityClass as PriorityClass


class Outcome(enum.Enum):
    """How a check came out. Ordered: the worst of several wins, and only PASS goes on."""

    PASS = "pass"
    WAIT = "wait"
    INSUFFICIENT = "insufficient"
    FAIL = "fail"
    ERROR = "error"

    def __init__(self, _: str) -> None:
        self.severity = len(type(self).__members__)

    @staticmethod
    def worst(outcomes: Iterable[Outcome]) -> Outcome:
        """The worst of `outcomes`; INSUFFICIENT when there are none, since nothing was checked."""
        return max(outcomes, key=lambda outcome: outcome.severity, default=Outcome.INSUFFICIENT)


class Advice(enum.Enum):
    """What helps against the state that a model is in."""

    RETRAIN = "retrain"
    HOLD_AND_INVESTIGATE = "hold_and_investigate"
    """A person should look before anything is trained."""
    MEND_DATA = "mend_data"
    COLLECT_LABELS = "collect_labels"
    """Something moved, and no labels tell whether the model got worse."""
    ROLL_BACK = "roll_back"
    NOTHING = "nothing"


class Family(enum.Enum):
    """Families of signals; a score's contributions are given by family."""

    # Members are looked up by the ten thousand; Enum's own hash is slow.
    __hash__ = object.__hash__

    PERFORMANCE = "performance"
    CALIBRATION = "calibration"
    INPUT_DRIFT = "input_drift"
    PREDICTION_SHIFT = "prediction_shift"
    DATA_QUALITY = "data_quality"
    SERVING = "serving"
    """Latency, errors, throughput and memory of what serves."""
    UPSTREAM = "upstream"
    """What data comes from reports itself late or broken."""
    EXTERNAL = "external"
    """What somebody outside says or asks for."""
    FRESHNESS = "freshness"
    BLIND = "blind"
    """Nothing is heard where something was heard before."""


ESTIMATED = "estimated_"
"""What the name of a measure begins with that was estimated without labels: it raises a score and never lowers one."""


class Measure(NamedTuple):
    """What a signal measures: how much worse a model is doing, wherever that was found out.

    Attributes:
        model: The model's name.
        family: What kind of sign it is.
        name: What was measured, such as a metric or a feature.
        at: When; aware.
        effect: How much worse, in the metric's unit or as the drift measure; never negative for better. None where it
            could not be measured; one that is not finite is evidence that something is broken.
        lower_bound: Of the effect, and in its unit; what counts.
        n: Rows, or samples, that it rests on.
        reference: What it was compared with; None where there is no one value.
        deadline: Until when something must be done about it; None where nothing presses.
        reason: In words, for people.
    """

    model: str
    family: Family
    name: str
    at: datetime
    effect: float | None
    lower_bound: float | None
    n: int
    reference: float | None = None
    deadline: datetime | None = None
    reason: str = ""


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
class Start(Plain):
    """The fit that a training goes on from: a warm start, by so many passes over its rows."""

    candidate: str
    model_digest: str
    passes: int


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

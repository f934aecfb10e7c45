"""The types of maps: how what another tool says becomes signals. The documents' reference is generated from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from hpcretrain.config.checked import Model, parse, read_toml
from hpcretrain.config.types import DataConfig, Duration, Name, parse_moment
from hpcretrain.table import Table

MeasuredFamily = Literal[
    "performance", "calibration", "input_drift", "prediction_shift", "data_quality", "serving", "upstream", "freshness"
]


def _moment(value: Any) -> datetime:
    value = parse_moment(value)
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise ValueError(f'{value!r} is no time; write ISO 8601, such as "2024-03-01T06:00Z"')
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, BeforeValidator(_moment)]


class _Table(Table):
    model_config = ConfigDict(allow_inf_nan=False)


class Stretch(_Table):
    """A stretch of time in which all was well."""

    start: Moment = Field(alias="from", description="Where it begins; without an offset it is UTC.")
    end: Moment = Field(alias="until", description="Where it ends.")

    @model_validator(mode="after")
    def _some_time(self) -> Stretch:
        if self.start >= self.end:
            raise ValueError("from must lie before until")
        return self


class Change(_Table):
    """The metric's own past, by ADWIN: it is compared with how it was before its last change."""

    span: float = Field(alias="adwin_span", gt=0, description="How far apart two samples can be: 1 for a share.")
    delta: float = Field(default=0.002, gt=0, lt=1, description="Chance of a change that is none.")


def _kind(value: Any) -> str:
    if isinstance(value, Change) or (isinstance(value, dict) and not {"from", "until"} & value.keys()):
        return "change"
    return _named(value)


def _named(value: Any) -> str:
    return "stretch" if isinstance(value, Stretch | dict) else "number"


# By what is written: otherwise all that does not fit any of them would be told.
_Usual = Annotated[Annotated[float, Tag("number")] | Annotated[Stretch, Tag("stretch")], Discriminator(_named)]
_UsualOrPast = Annotated[
    Annotated[float, Tag("number")] | Annotated[Stretch, Tag("stretch")] | Annotated[Change, Tag("change")],
    Discriminator(_kind),
]


class Metric(_Table):
    """One signal."""

    name: Name = Field(description="Name of the signal.")
    family: MeasuredFamily = Field(
        description="Its family: performance, calibration, input_drift, prediction_shift, data_quality, serving, "
        "upstream or freshness."
    )
    worse: Literal["higher", "lower"] = Field(description='"higher" or "lower": where the metric gets worse.')
    effect: Literal["absolute", "relative"] = Field(
        description='"absolute", in the metric\'s unit, or "relative", as a share of the reference.'
    )
    rows: int = Field(
        default=1, ge=1, description="Rows that each sample rests on: a policy may ask for so many before it listens."
    )
    expect_every: Duration | None = Field(
        default=None, description="How often there has to be a sample; a longer silence is a blind signal."
    )


class PrometheusMetric(Metric):
    """One signal from a Prometheus server."""

    reference: _Usual = Field(description="What is usual: a number, or the samples of { from = …, until = … }.")
    query: Name = Field(description="PromQL; it gives one series (one a model, with `model_label`).")
    expect_every: Duration | None = Field(
        default=timedelta(minutes=5), description="How often there has to be a sample; a longer silence is blind."
    )


class CsvMetric(Metric):
    """One signal from a CSV of metrics."""

    column: Name = Field(description="Wide form: the column. Long form: what stands in the column of names.")
    reference: _UsualOrPast = Field(
        description="What is usual: a number, the samples of { from = …, until = … }, or { adwin_span = … }: the "
        "metric's own past, up to where ADWIN finds that it changed."
    )


class _Slots(_Table):
    every: Duration = Field(default=timedelta(hours=1), description="Length of a slot; each gives one signal a metric.")

    @field_validator("every")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be longer than nothing")
        return value

    @model_validator(mode="after")
    def _names_differ(self) -> Any:
        names = [metric.name for metric in getattr(self, "metric", ())]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two metrics have the same name: {', '.join(twice)}")
        return self


class PrometheusMap(_Slots):
    """What to ask a Prometheus server."""

    url: str = Field(pattern=r"^https?://[^\s/]+", description="Where the server is, with a path if it has one.")
    models: tuple[Name, ...] = Field(min_length=1, description="The models that are spoken of.")
    model_label: str | None = Field(
        default=None, description="The label that holds the model. Needed for more than one model."
    )
    step: Duration = Field(default=timedelta(minutes=1), description="Time between two samples.")
    timeout_s: float = Field(default=30, gt=0, le=600, description="How long to wait for an answer.")
    token_file: Path | None = Field(
        default=None, description="File (mode 0600) with a bearer token. It is sent over https, or to this machine."
    )
    metric: tuple[PrometheusMetric, ...] = Field(min_length=1, description="The signals, see below.")

    @model_validator(mode="after")
    def _labeled(self) -> PrometheusMap:
        if len(self.models) > 1 and self.model_label is None:
            raise ValueError("several models need a model_label that tells them apart")
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: each stands there once")
        if not timedelta(0) < self.step <= self.every:
            raise ValueError("step must be longer than nothing, and no longer than `every`")
        return self


class CsvMap(_Slots):
    """How a CSV of metrics is read."""

    model: Name = Field(description="The model that is spoken of.")
    form: Literal["wide", "long"] = Field(
        description='"wide": a column for each metric; "long": a row for each value, with the metric\'s name.'
    )
    time_column: Name = Field(default="timestamp", description="Column of times, in ISO 8601.")
    timezone: str = Field(default="UTC", description="Time zone of times that carry none.")
    name_column: Name = Field(default="metric", description="Long form: column of names.")
    value_column: Name = Field(default="value", description="Long form: column of values.")
    metric: tuple[CsvMetric, ...] = Field(min_length=1, description="The signals, see below.")

    _known_zone = field_validator("timezone")(DataConfig._known_zone.__func__)  # type: ignore[attr-defined]

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)


class EvidentlyMap(_Table):
    """How an Evidently report is read."""

    model: Name = Field(description="The model that is spoken of.")
    rows: int | None = Field(
        default=None, ge=1, description="Rows of the current data, which reports do not tell. Without: no lower bound."
    )
    reference_rows: int | None = Field(default=None, ge=1, description="Rows of the reference data.")
    bins: int = Field(
        default=30, ge=2, description="Most bins or categories of a column, for the lower bounds of PSI and the like."
    )
    prediction: tuple[Name, ...] = Field(
        default=(), description="Columns that hold predictions: their drift is prediction_shift."
    )


class UpstreamMap(_Table):
    """How reports of feature stores, ingestion jobs and data sources are read."""

    models: tuple[Name, ...] = Field(min_length=1, description="The models that depend on these sources.")
    sources: tuple[Name, ...] = Field(
        default=(), description="The sources that have to report. Default: those that do."
    )
    expect_every: Duration | None = Field(
        default=None, description="How often each has to report; a longer silence is a blind signal."
    )
    fine_hours: float = Field(default=0, ge=0, description="Lateness that is fine.")
    broken_hours: float = Field(
        default=24, gt=0, description="Lateness beyond it at which a source is as good as broken: an effect of 1."
    )


class EventMap(_Table):
    """How outside events, such as those of Prefect, are read."""

    events: tuple[Name, ...] = Field(
        min_length=1, description='Names of events that count; a pattern such as "regulator.*" is allowed.'
    )
    models: tuple[Name, ...] = Field(
        min_length=1, description="The models that they concern, unless the payload names one (`model`)."
    )


class ServingMap(_Slots):
    """How the segments of the logger beside serving are read."""

    model: Name = Field(description="The model that is spoken of.")
    reference: Stretch = Field(description="When serving was well: { from = …, until = … }.")
    sample: Duration = Field(
        default=timedelta(minutes=1), description="Predictions of so long make one sample of latency, errors and rate."
    )
    expect_every: Duration = Field(
        default=timedelta(minutes=5), description="How often there has to be a prediction; a longer silence is blind."
    )

    @model_validator(mode="after")
    def _sampled(self) -> ServingMap:
        if not timedelta(0) < self.sample <= self.every:
            raise ValueError("sample must be longer than nothing, and no longer than `every`")
        return self


def read_map(kind: type[Model], path: Path) -> Model:
    """The map that a file holds.

    Raises:
        InputError: It cannot be read, or holds what it may not; all that is wrong with it.
    """
    return parse(kind, read_toml(path), str(path))

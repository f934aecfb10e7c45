"""The types of a configuration file. The reference of the configuration in the documents is generated from them."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.relativedelta import relativedelta
from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from hpcretrain.config.routes import Route
from hpcretrain.policy.types import Dimension
from hpcretrain.stats.metrics import METRICS
from hpcretrain.table import Table

LONGEST = timedelta(days=36_500)
"""Longest duration of a configuration: about a century, so that times stay within the calendar."""

_MOST_DIGITS = 8
_UNITS = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_duration(text: Any) -> timedelta:
    """'30min', '12h', '7d' or '2w' as a length of time."""
    if isinstance(text, timedelta):
        return text
    match = re.fullmatch(r"(\d+)(min|h|d|w)", text) if isinstance(text, str) else None
    if not match:
        raise ValueError(f'{text!r} is no duration; write a whole number and min, h, d or w, such as "7d"')
    # Digits are counted before days are, since a timedelta overflows long before an integer does.
    length = timedelta(**{_UNITS[match[2]]: int(match[1])}) if len(match[1]) <= _MOST_DIGITS else timedelta.max
    if length > LONGEST:
        raise ValueError(f"{text!r} is longer than {LONGEST.days} days")
    return length


def parse_step(text: Any) -> relativedelta:
    """Like `parse_duration`, and also '1mo' (calendar months)."""
    if isinstance(text, relativedelta):
        return text
    match = re.fullmatch(r"(\d{1,3})mo", text) if isinstance(text, str) else None
    step = (
        relativedelta(months=int(match[1]))
        if match
        else relativedelta(seconds=int(parse_duration(text).total_seconds()))
    )
    if not step:
        raise ValueError("must be longer than nothing")
    return step


def parse_moment(value: Any) -> Any:
    """A TOML date or time as text, so that it can be written with or without quotes."""
    return value.isoformat() if isinstance(value, date) else value


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Step = Annotated[relativedelta, BeforeValidator(parse_step)]
Name = Annotated[str, Field(min_length=1)]


class _Table(Table):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class ModelConfig(_Table):
    """What is predicted, by what, and how well it is measured."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=100, description="Name of the model.")
    task: Literal["binary", "regression"] = Field(description="Kind of prediction.")
    target: Name = Field(description="Column to be predicted.")
    primary_metric: Name = Field(
        description="Metric to be improved: auc, log_loss, brier or accuracy; rmse or mae. Default: auc; rmse.",
        default="",
        validate_default=True,
    )
    guard_metrics: tuple[str, ...] = Field(
        default=("",),
        validate_default=True,
        description="Metrics that must not get worse. Default: log_loss; mae (or the first that is not the primary).",
    )
    features: tuple[str, ...] | None = Field(
        default=None, min_length=1, description="Columns to learn from. Default: all but the target and the time."
    )
    categorical: tuple[str, ...] | None = Field(
        default=None, description="Features that are categories. Default: those that hold text in the reference."
    )
    recipe: Name = Field(default="lightgbm", description='"lightgbm", or your own as "package.module:callable".')
    params: dict[str, bool | int | float | str] = Field(default={}, description="Parameters for the recipe.")
    search: dict[str, Dimension] = Field(
        default={}, description="Parameters that a tuned search varies (policy: `training.trials`)."
    )
    seed: int = Field(default=1, ge=0, lt=2**31, description="Seed of every training.")
    threads: int = Field(default=1, ge=1, description="Threads of every training.")
    team: Name | None = Field(default=None, description="Whose model it is, for budgets of teams. Default: nobody's.")
    traffic: Name | None = Field(
        default=None,
        description="CSV of past traffic (`timestamp`, `value`), relative to this file: where classes need a window.",
    )
    after: tuple[Name, ...] = Field(
        default=(),
        description="What must be refreshed before this model is trained again: models of the board by name, and files "
        'as "file:PATH", relative to this file; globs allowed.',
    )

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        task = values.get("task")
        guards = {"binary": ("log_loss", "auc"), "regression": ("mae", "rmse")}.get(str(task), ())
        filled = dict(values)
        filled.setdefault("primary_metric", {"binary": "auc", "regression": "rmse"}.get(str(task), "auc"))
        filled.setdefault("guard_metrics", next(((g,) for g in guards if g != filled["primary_metric"]), ()))
        return filled

    @model_validator(mode="after")
    def _metrics_fit(self) -> ModelConfig:
        fitting = sorted(name for name, metric in METRICS.items() if metric.task == self.task)
        for key, names in (("primary_metric", (self.primary_metric,)), ("guard_metrics", self.guard_metrics)):
            for name in names:
                if name not in fitting:
                    raise ValueError(f'{key} "{name}" does not fit task "{self.task}"; use one of {", ".join(fitting)}')
        if self.primary_metric in self.guard_metrics or len(set(self.guard_metrics)) < len(self.guard_metrics):
            raise ValueError("guard_metrics must name other metrics than the primary, each once")
        return self


class DataConfig(_Table):
    """Where the table is and how its times are to be read."""

    path: Name = Field(description="CSV or Parquet file, relative to this file; globs allowed.")
    time_column: Name = Field(description="Column with the time of each row.")
    timezone: str = Field(default="UTC", description="Time zone of times that carry none.")
    time_format: str | None = Field(default=None, description="strptime format of text times. Default: ISO 8601.")
    label_delay: Duration = Field(default=timedelta(0), description="How long after a row its label is known.")
    drop: tuple[str, ...] = Field(default=(), description="Columns that are never read.")
    mask: tuple[str, ...] = Field(
        default=(),
        description="Columns whose cells are replaced by keyed hashes before anything is made of them; they are "
        "categories.",
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f'unknown time zone "{name}"; use an IANA name such as "Europe/Berlin"') from error
        return name


class BacktestConfig(_Table):
    """How history is replayed."""

    reference_until: Annotated[str, BeforeValidator(parse_moment)] = Field(
        description="Time before which rows train the first champion."
    )
    observe_every: Duration = Field(default=timedelta(days=7), description="Length of a batch.")
    report_every: Step = Field(default=relativedelta(months=1), description="Length of a period of the report.")

    @field_validator("observe_every")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value <= timedelta(0):
            raise ValueError("must be longer than nothing")
        return value


class PolicyConfig(_Table):
    """Which policy decides."""

    file: str = Field(default="standard.toml", description="Policy file, relative to this file; the default ships.")


class IdentityConfig(_Table):
    """Who people are, where that is not for the operating system alone to say."""

    command: Annotated[tuple[Name, ...], Field(min_length=1)] = Field(
        description="A program and its arguments, run without a shell; the user's name and number follow them. It "
        'prints one JSON object: {"name": "ann", "groups": ["ml-leads"]}. Whatever else it does, nobody is heard.'
    )
    timeout_s: float = Field(default=5.0, gt=0, le=60, description="How long it may take, in seconds.")


Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class RetentionConfig(_Table):
    """How long payloads of a home that lives are kept. The ledger keeps their digests for good.

    What is under way, serves, or would serve after a roll-back is kept whatever its age.
    """

    job_folders_days: Days | None = Field(
        default=None, description="Logs, checkpoints and results of training jobs. Left out: for good."
    )
    models_days: Days | None = Field(
        default=None, description="Models that serve no longer or never did, in MLflow too. Left out: for good."
    )


class Config(_Table):
    """One model, its table, and how to replay it."""

    model: ModelConfig
    data: DataConfig
    backtest: BacktestConfig
    policy: PolicyConfig = PolicyConfig()
    identity: IdentityConfig | None = Field(default=None, description="Left out: the operating system says it.")
    retention: RetentionConfig | None = Field(default=None, description="Left out: all is kept for good.")
    notify: tuple[Route, ...] = Field(default=(), description="Routes by which people are told.")

    @field_validator("notify")
    @classmethod
    def _apart(cls, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        names = [route.name for route in routes]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"more than one route is named {', '.join(repeated)}")
        return routes

"""Replay a table in virtual time: a loop over the same steps that run live, and the two arms it is compared with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.errors import TrainingError
from hpcretrain.history import History
from hpcretrain.ports import FloatArray, Rows, Trained
from hpcretrain.records import PriorityClass, Purpose
from hpcretrain.stats import metrics
from hpcretrain.steps.desk import Desk, newest
from hpcretrain.steps.plan import everything, whole
from hpcretrain.steps.tick import begin, tick
from hpcretrain.steps.train import configured, specify

Progress = Callable[[str, int, int, History | None], None]
"""Called with what is being done, how many of how many are done, and the history so far while it grows."""


@dataclass(frozen=True)
class Period:
    """Metrics of the three arms over one period; None where a metric is not defined."""

    start: datetime
    end: datetime
    rows: int
    served: dict[str, float | None]
    frozen: dict[str, float | None]
    ungated: dict[str, float | None]


@dataclass
class Arms:
    """What was served, and what would have been without gates: a model for each stretch of time."""

    periods: list[Period] = field(default_factory=list)
    ungated_train_cpu_s: float = 0.0


def replay(desk: Desk, clock: VirtualClock, last: datetime, progress: Progress) -> None:
    """Run the cycle over the table, from where an earlier life stopped.

    Args:
        desk: The desk, whose clock is `clock`.
        clock: Set from tick to tick.
        last: Time of the last row; a batch is observed once it is complete.
        progress: Told of each step.
    """
    until, step = desk.terms.reference_until, desk.terms.config.backtest.observe_every
    resume = newest(desk.ledger)
    clock.moment = until
    if resume is None or resume == until:
        progress("training the first champion", 0, 1, desk.history)
        begin(desk)
    count = (last - until) // step
    for number in range(1, count + 1):
        moment = until + step * number
        if resume is not None and moment < resume:
            continue
        clock.moment = moment
        tick(desk)
        progress(f"{moment:%Y-%m-%d}", number, count, desk.history)


def compare_arms(desk: Desk, clock: VirtualClock, last: datetime, progress: Progress) -> Arms:
    """Metrics by period of what was served, of the first champion throughout, and of ungated periodic retraining."""
    arms = Arms()
    spans = list(_periods(desk, last))
    frozen = desk.history.releases[0].model_digest
    fits = _ungated(desk, clock, [start for start, _ in spans[1:]], progress)
    arms.ungated_train_cpu_s = sum(fit.cpu_s for fit in fits)
    ungated = [frozen, *(fit.model_digest for fit in fits)]
    for number, (start, end) in enumerate(spans):
        clock.moment = max(last + timedelta(microseconds=1), end) + desk.table.label_delay
        rows = desk.table.labeled(start, end)
        arms.periods.append(
            Period(
                start=start,
                end=end,
                rows=len(rows),
                served=_measure(desk, rows, served(desk, rows)),
                frozen=_measure(desk, rows, desk.predictor.predict(frozen, rows)),
                ungated=_measure(desk, rows, desk.predictor.predict(ungated[number], rows)),
            )
        )
        progress("comparing with ungated retraining", number + 1, len(spans), None)
    return arms


def _ungated(desk: Desk, clock: VirtualClock, moments: list[datetime], progress: Progress) -> list[Trained]:
    """A model for each moment, trained on all that is known by then; they do not depend on each other.

    Raises:
        TrainingError: One could not be trained.
    """
    orders = []
    for moment in moments:
        clock.moment = moment
        rows = _all_history(desk)
        job = specify(desk, whole(desk, rows), Purpose.REFIT, PriorityClass.BACKGROUND, (), configured(desk))
        orders.append((job, rows))

    def told(count: int) -> None:
        progress("retraining without gates", count, len(orders), None)

    fits = []
    for fit in desk.trainer.train(orders, told):
        if isinstance(fit, TrainingError):
            raise fit
        fits.append(fit)
    return fits


def served(desk: Desk, rows: Rows) -> FloatArray:
    """Predictions of the champion of each moment, shape (rows,)."""
    predictions = np.full(len(rows), math.nan)
    done = 0
    releases = desk.history.releases
    for release, following in zip(releases, [*releases[1:], None], strict=True):
        start = max(release.at, rows.start)
        end = min(following.at, rows.end) if following else rows.end
        if start >= end:
            continue
        part = desk.table.labeled(start, end)
        predictions[done : done + len(part)] = desk.predictor.predict(release.model_digest, part)
        done += len(part)
    return predictions


def _all_history(desk: Desk) -> Rows:
    # Ungated means that nothing is kept from it, quarantined batches included.
    if desk.history.quarantine:
        return desk.table.labeled(desk.start, desk.matured_until)
    return everything(desk)


def _periods(desk: Desk, last: datetime) -> Iterator[tuple[datetime, datetime]]:
    # Months are months where the data is from, whatever its clocks do.
    until = desk.terms.reference_until.astimezone(ZoneInfo(desk.terms.config.data.timezone))
    step = desk.terms.config.backtest.report_every
    number = 0
    while (start := until + step * number) <= last:
        yield start.astimezone(UTC), (until + step * (number + 1)).astimezone(UTC)
        number += 1


def _measure(desk: Desk, rows: Rows, predictions: FloatArray) -> dict[str, float | None]:
    labels = desk.table.labels(rows)
    values = {name: metrics.measure(name, labels, predictions).value for name in desk.metrics}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}

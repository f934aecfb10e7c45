"""Gauge: what the samples of a metric say in one stretch of time: how much worse it is, and whether it fell silent."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from hpcretrain.errors import InputError
from hpcretrain.evidence import Family, Measure
from hpcretrain.stats.detect import Cut, adwin
from hpcretrain.stats.series import BLOCKS, rise

FloatArray = npt.NDArray[np.float64]

MOST_SLOTS = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Series:
    """Samples in order of time: seconds since 1970 and values, each of shape (n,)."""

    times: FloatArray
    values: FloatArray

    def until(self, end: datetime) -> int:
        """How many samples there are with time <= end."""
        return int(np.searchsorted(self.times, end.timestamp(), side="right"))

    def between(self, start: datetime, end: datetime) -> Series:
        """The samples with start < time <= end."""
        low, high = np.searchsorted(self.times, [start.timestamp(), end.timestamp()], side="right")
        return Series(self.times[low:high], self.values[low:high])


@dataclass(frozen=True)
class OwnPast:
    """The reference of a metric that is compared with its own past, up to where ADWIN finds that it changed.

    Attributes:
        samples: All samples that are finite.
        span: How far apart two of them can be.
        cuts: What ADWIN finds, by the number of samples until then.
    """

    samples: Series
    span: float
    cuts: Mapping[int, Cut]

    @classmethod
    def of(cls, samples: Series, span: float, delta: float, ends: Iterable[datetime]) -> OwnPast:
        """The past of samples, to be asked for at these times.

        Args:
            samples: All samples; those that are not finite are left out.
            span: How far apart two of them can be.
            delta: Chance of a change that is none.
            ends: When it will be asked.

        Raises:
            ValueError: See `adwin`.
        """
        finite = np.isfinite(samples.values)
        kept = Series(samples.times[finite], samples.values[finite])
        counts = sorted({kept.until(end) for end in ends})
        return cls(kept, span, dict(zip(counts, adwin(kept.values, span=span, delta=delta, ends=counts), strict=True)))


Reference = Series | OwnPast | float
"""What is usual: samples of then, the metric's own past, or a number."""

NO_SAMPLES = Series(np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Gauge:
    """What a metric is, and when it is worse.

    Attributes:
        model: The model that it speaks of.
        family: Its family of signals.
        name: Its name.
        higher_is_worse: Whether it gets worse as it rises.
        relative: Whether the effect is a share of the reference; else it is in the metric's unit.
        rows: Rows that each sample rests on.
        expect_every: How often there has to be a sample; None where silence says nothing.
    """

    model: str
    family: Family
    name: str
    higher_is_worse: bool
    relative: bool
    rows: int
    expect_every: timedelta | None


def read(gauge: Gauge, samples: Series, reference: Reference, start: datetime, end: datetime) -> list[Measure]:
    """What the samples with start < time <= end say: the measure if there are any, and a blind one if they fell silent.

    Args:
        gauge: What the metric is.
        samples: Samples, of any time.
        reference: What is usual.
        start: Where the stretch begins.
        end: Where it ends; the time of the signals.
    """
    found = samples.between(start, end)
    measures = [_worse(gauge, found.values, reference, end)] if len(found.times) else []
    if gauge.expect_every is not None and (gap := silence(found, start, end)) > gauge.expect_every:
        last = f", the last at {_at(found.times[-1])}" if len(found.times) else ""
        why = f"no sample for {in_words(gap)}{last}, where one is expected every {in_words(gauge.expect_every)}"
        measures.append(blind(gauge.model, gauge.name, end, why))
    return measures


def whole_slots(since: datetime, now: datetime, every: timedelta) -> list[tuple[datetime, datetime]]:
    """The whole slots between two times; they begin at multiples of their length, whoever asks when.

    Raises:
        InputError: They are too many.
    """
    first, end = -((_EPOCH - since) // every), (now - _EPOCH) // every
    if end - first > MOST_SLOTS:
        raise InputError(
            f"{end - first} slots of {every} are more than {MOST_SLOTS}: begin later, or have longer slots"
        )
    return [(_EPOCH + every * k, _EPOCH + every * (k + 1)) for k in range(first, end)]


def newest_slots(since: datetime | None, now: datetime, every: timedelta) -> list[tuple[datetime, datetime]]:
    """The slots since a time, or the newest one."""
    return whole_slots(since, now, every) if since is not None else whole_slots(now - 2 * every, now, every)[-1:]


def ordered(measures: Iterable[Measure]) -> list[Measure]:
    """The measures in order of time."""
    return sorted(measures, key=lambda each: (each.at, each.model, each.family.value, each.name))


def blind(model: str, name: str, at: datetime, why: str) -> Measure:
    """The signal that a source said nothing; of all that is expected, until `shared` says how much of it that is."""
    return Measure(model, Family.BLIND, name, at, 1.0, 1.0, 0, None, reason=why)


def shared(measures: Iterable[Measure], expected: int) -> list[Measure]:
    """The measures, where the effect of blind ones is the share of what is expected of a model that is silent then."""
    found = list(measures)
    silent = Counter((each.model, each.at) for each in found if each.family is Family.BLIND)
    return [
        each._replace(effect=share, lower_bound=share)
        if each.family is Family.BLIND and (share := min(silent[each.model, each.at] / expected, 1.0))
        else each
        for each in found
    ]


def silence(found: Series, start: datetime, end: datetime) -> timedelta:
    """The longest time without a sample in a stretch."""
    edges = np.concatenate(([start.timestamp()], found.times, [end.timestamp()]))
    return timedelta(seconds=float(np.diff(edges).max()))


def _worse(gauge: Gauge, values: FloatArray, reference: Reference, at: datetime) -> Measure:
    if isinstance(reference, OwnPast):
        return _changed(gauge, values, reference, at)
    n = len(values)
    if isinstance(reference, Series) and not len(reference.values):
        why = "there is no sample in the reference"
        return Measure(gauge.model, gauge.family, gauge.name, at, None, None, n * gauge.rows, None, reason=why)
    usual = reference.values if isinstance(reference, Series) else reference
    sign = 1.0 if gauge.higher_is_worse else -1.0
    risen = rise(sign * values, sign * usual)
    scale = abs(risen.reference) if gauge.relative else 1.0
    # A share of nothing is not defined; it is not small.
    effect, bound = (_over(value, scale) for value in (risen.effect, risen.lower_bound))
    assert effect is not None
    # Adding 0 takes the sign off a zero.
    mean, usual_value = sign * (risen.effect + risen.reference) + 0.0, sign * risen.reference + 0.0
    why = f"{mean:.6g} against {usual_value:.6g}" + (" (a share of it)" if gauge.relative else "")
    if scale == 0 and math.isinf(effect):
        why += "; a share of 0 is not defined: have an absolute effect"
    elif not math.isfinite(effect):
        strange = int(np.count_nonzero(~np.isfinite(values)))
        why += f"; not a finite number ({strange} of {n} samples are none): look into it"
    elif bound is None:
        # An effect without a bound would have to count as none, and so would clear what was measured before.
        why += f"; too few samples to tell: {BLOCKS} are needed here and in the reference"
        effect = None
    return Measure(
        gauge.model, gauge.family, gauge.name, at, effect, bound, n * gauge.rows, sign * risen.reference, reason=why
    )


def _changed(gauge: Gauge, values: FloatArray, past: OwnPast, at: datetime) -> Measure:
    """How much worse the newest window without a change is than the window before it; no effect where nothing changed.

    The window was looked for, so the lower bound is not above what ADWIN's own bound leaves.
    """
    if not np.isfinite(values).all():
        return _worse(gauge, values, past.samples, at)
    until = past.samples.until(at)
    known, cut = past.samples.values[:until], past.cuts[until]
    told = Measure(gauge.model, gauge.family, gauge.name, at, 0.0, 0.0, until * gauge.rows, float(known.mean()))
    if cut.margin is None or (not cut.begin and cut.margin >= past.span):
        why = f"{until} samples are too few to tell a change within {past.span:g}"
        return told._replace(effect=None, lower_bound=None, reference=None, reason=why)
    if not cut.begin:
        why = f"{told.reference:.6g} all along: no change by {cut.margin:.3g} or more in {until} samples"
        return told._replace(reason=why)
    before = Series(past.samples.times[cut.before : cut.begin], known[cut.before : cut.begin])
    found = _worse(gauge, known[cut.begin :], before, at)
    scale = abs(float(before.values.mean())) if gauge.relative else 1.0
    least = _over(found.effect * scale - cut.margin, scale) if found.effect and scale else found.lower_bound
    bound = min(found.lower_bound, least) if found.lower_bound is not None and least is not None else None
    since = _at(float(past.samples.times[cut.begin]))
    return found._replace(lower_bound=bound, reason=f"{found.reason}; it changed with the sample of {since}")


def _over(value: float | None, scale: float) -> float | None:
    """`value` over `scale`, at least 0; what is not finite stays so, whichever way it points."""
    if value is None or not math.isfinite(value):
        return value
    if value <= 0:
        return 0.0
    return value / scale if scale else math.inf


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(float(seconds), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def in_words(length: timedelta) -> str:
    """A length of time to the second, such as `1 day 1 h`."""
    minutes, seconds = divmod(round(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"

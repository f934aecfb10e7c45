"""The geometry of charts: where things stand, in percent of the width (so that a chart fits any screen) and in pixels.

The page's template draws what is said here as SVG; nothing here knows of markup.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

SPAN = 1000.0
"""Width of a path's own coordinates; the template stretches them to the width of the chart."""

MOST_TICKS = 13
_LABEL_HEIGHT = 15.0


@dataclass(frozen=True)
class Tick:
    """A labeled place on an axis: in percent from the left, or in pixels from the top."""

    at: float
    label: str
    room: str = ""
    """When its label is left out: on a narrow screen ("minor"), on a very narrow chart ("lesser"), or never."""


@dataclass(frozen=True)
class Mark:
    """A sign at a place: `x` in percent, `y` in pixels; `text` shows when pointed at."""

    x: float
    y: float
    kind: str
    text: str


@dataclass(frozen=True)
class Curve:
    """A line, or an area when `filled`; `style` names its color and dash."""

    name: str
    style: str
    path: str
    marks: tuple[Mark, ...] = ()
    label: str = ""
    label_x: float = 100.0
    label_y: float = 0.0


@dataclass(frozen=True)
class Rule:
    """A horizontal line across, with words."""

    y: float
    label: str
    style: str


@dataclass(frozen=True)
class Lane:
    """A named row of a chart: `y` is where its label stands, beside the chart or `inside` it, above what it names."""

    label: str
    y: float
    note: str = ""
    inside: bool = False
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """The numbers of a chart; `columns` are pairs of a heading and whether its cells are numbers."""

    caption: str
    columns: tuple[tuple[str, bool], ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart with all that it takes to read it without seeing it; the time axis stands at `height`."""

    id: str
    title: str
    description: str
    height: float
    x_ticks: tuple[Tick, ...]
    table: Table
    y_ticks: tuple[Tick, ...] = ()
    lanes: tuple[Lane, ...] = ()
    curves: tuple[Curve, ...] = ()
    rules: tuple[Rule, ...] = ()
    events: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` onto positions from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, number: float) -> float:
        """The position of a value, within the scale's ends."""
        share = (number - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 2)


@dataclass(frozen=True)
class Times:
    """Times from `first` to `last` onto percent of the width."""

    first: datetime
    last: datetime
    zone: ZoneInfo

    def __call__(self, moment: datetime) -> float:
        """The position of a moment, in percent."""
        whole = (self.last - self.first) / timedelta(seconds=1)
        share = (moment - self.first) / timedelta(seconds=1) / whole if whole else 0.0
        return round(100 * min(max(share, 0.0), 1.0), 2)

    def ticks(self) -> tuple[Tick, ...]:
        """Days, weeks, months, quarters or years, so few that their names fit."""
        first, last = self.first.astimezone(self.zone), self.last.astimezone(self.zone)
        for step, whole in _STEPS:
            moments = _between(whole(first.replace(hour=0, minute=0, second=0, microsecond=0)), step, first, last)
            if len(moments) <= MOST_TICKS:
                break
        return tuple(
            Tick(self(at), label, room(index, len(moments)))
            for index, (at, label) in enumerate(zip(moments, _labels(moments, step), strict=True))
        )


def _labels(moments: Sequence[datetime], step: relativedelta) -> list[str]:
    """Names of days, months or years; the first of each year says which."""
    if step.years:
        return [f"{at:%Y}" for at in moments]
    names = [f"{at.day} {at:%b}" if step.days else f"{at:%b}" for at in moments]
    years = [at.year for at in moments]
    return [
        f"{name} {year}" if year != before else name
        for name, year, before in zip(names, years, [None, *years], strict=False)
    ]


def room(index: int, count: int) -> str:
    """When the label of that tick of so many is left out; see `Tick`."""
    each = 1 + count // 5
    return "minor" if index % each else "lesser" if index % (2 * each) else ""


def _monday(at: datetime) -> datetime:
    return at - timedelta(days=at.weekday())


def _year(at: datetime) -> datetime:
    return at.replace(month=1, day=1)


_STEPS: tuple[tuple[relativedelta, Callable[[datetime], datetime]], ...] = (
    (relativedelta(days=1), lambda at: at),
    (relativedelta(days=7), _monday),
    (relativedelta(months=1), lambda at: at.replace(day=1)),
    (relativedelta(months=3), _year),
    (relativedelta(years=1), _year),
    (relativedelta(years=10), _year),
)


def _between(start: datetime, step: relativedelta, first: datetime, last: datetime) -> list[datetime]:
    moments, number = [], 0
    while (at := start + step * number) <= last:
        if at >= first:
            moments.append(at)
        number += 1
    return moments


@dataclass(frozen=True)
class Axis:
    """A vertical axis: its scale and its ticks."""

    scale: Scale
    ticks: tuple[Tick, ...]


def axis(values: Sequence[float], top: float, bottom: float, *, zero: bool = False, count: int = 5) -> Axis:
    """An axis that holds all `values`, with about `count` round ticks, between two heights in pixels.

    Args:
        values: What it must hold; not empty, finite.
        top: Where the highest tick stands.
        bottom: Where the lowest tick stands.
        zero: Whether it starts at zero.
        count: Ticks wanted.
    """
    low, high = min(values), max(values)
    low = min(low, 0.0) if zero else low
    if high <= low:
        low, high = (low, low + 1.0) if zero else (low - 0.5 * (abs(low) or 1.0), low + 0.5 * (abs(low) or 1.0))
    step = _round_step((high - low) / count)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    scale = Scale(first * step, last * step, bottom, top)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return Axis(
        scale,
        tuple(
            Tick(scale(k * step), f"{k * step:,.{decimals}f}".replace("-", "\N{MINUS SIGN}"))
            for k in range(first, last + 1)
        ),
    )


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if step * power >= rough * (1 - 1e-9))


def line(points: Sequence[tuple[float, float | None]]) -> str:
    """A path through points (percent, pixels); it is broken where there is no value."""
    parts, pen = [], "M"
    for x, y in points:
        if y is None:
            pen = "M"
            continue
        parts.append(f"{pen}{x * SPAN / 100:.1f} {y:.1f}")
        pen = "L"
    return "".join(parts)


def condensed(pieces: Sequence[tuple[float, float, float]], most: int = 400) -> list[tuple[float, float, float]]:
    """Pieces (from, to, value), taken together by their largest value where a screen could not show so many."""
    each = max(1, -(-len(pieces) // most))
    groups = [pieces[index : index + each] for index in range(0, len(pieces), each)]
    return [(group[0][0], group[-1][1], max(value for _, _, value in group)) for group in groups]


def sparse(marks: Sequence[Mark], apart: float = 0.5) -> tuple[Mark, ...]:
    """Marks in order of time, without those that would hide behind another of their kind: `apart` is in percent."""
    kept: list[Mark] = []
    last: dict[tuple[str, float], float] = {}
    for mark in marks:
        if mark.x - last.get((mark.kind, mark.y), -100.0) >= apart:
            kept.append(mark)
            last[mark.kind, mark.y] = mark.x
    return tuple(kept)


def steps(spans: Sequence[tuple[float, float, float]], base: float | None = None) -> str:
    """A path of level pieces (from, to, height); an area down to `base` when there is one."""
    if not spans:
        return ""
    parts = [f"M{spans[0][0] * SPAN / 100:.1f} {spans[0][2] if base is None else base:.1f}"]
    parts += [f"V{height:.1f}H{end * SPAN / 100:.1f}" for _, end, height in spans]
    return "".join(parts) + ("" if base is None else f"V{base:.1f}Z")


def boxes(cells: Sequence[tuple[float, float, float, float]]) -> str:
    """A path of boxes (left, width in percent; top, height in pixels)."""
    return "".join(
        f"M{left * SPAN / 100:.1f} {top:.1f}h{width * SPAN / 100:.1f}v{height:.1f}h{-width * SPAN / 100:.1f}z"
        for left, width, top, height in cells
    )


def apart(heights: Sequence[float], top: float, bottom: float) -> list[float]:
    """Heights for labels, near the given ones, in their order, and so far apart that they do not overlap."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    placed: dict[int, float] = {}
    above = top - _LABEL_HEIGHT
    for index in order:
        placed[index] = above = max(heights[index], above + _LABEL_HEIGHT)
    below = bottom + _LABEL_HEIGHT
    for index in reversed(order):
        placed[index] = below = min(placed[index], below - _LABEL_HEIGHT)
    return [placed[index] for index in range(len(heights))]

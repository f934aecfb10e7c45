"""The charts of the page, made of records and the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import accumulate
from typing import Any

from hpcretrain.cycle import Cycle
from hpcretrain.history import History
from hpcretrain.policy.types import Policy
from hpcretrain.records import Closing, Family
from hpcretrain.report import wording
from hpcretrain.report.chart import (
    MOST_TICKS,
    Chart,
    Curve,
    Lane,
    Mark,
    Rule,
    Scale,
    Table,
    Tick,
    Times,
    apart,
    axis,
    condensed,
    line,
    room,
    sparse,
    steps,
)
from hpcretrain.report.trail import Trail
from hpcretrain.report.whatif import WhatIf

ARMS = {
    "served": ("served", "what hpcretrain served at each moment"),
    "frozen": ("frozen", "the first model throughout, never retrained"),
    "ungated": ("ungated", "retrained every {noun} on all history, and put into service without checks"),
}
"""Each arm's name and what it means."""

_OTHERWISE = (Family.DATA_QUALITY, Family.SERVING, Family.UPSTREAM, Family.EXTERNAL, Family.BLIND)
"""Families that are not worth a row of the page while they are silent."""

_STRIP = 26.0
_LANE = 46.0
_DOTS = 24.0
_MOST_LISTED, _MOST_ROWS = 6, 400


def period_chart(
    result: Mapping[str, Any], metric: str, noun: str, better: str, times: Times, history: History, height: float
) -> Chart:
    """A metric of the three arms by period, with what became of each cycle below."""
    periods, name = result["periods"], wording.metric(metric)
    middles = [_middle(period) for period in periods]
    known = [period[arm][metric] for period in periods for arm in ARMS if period[arm][metric] is not None]
    scale = axis(known or [0.0, 1.0], 8.0, height - _STRIP)
    curves = []
    for arm, (label, _) in ARMS.items():
        heights = [None if (v := period[arm][metric]) is None else scale.scale(v) for period in periods]
        marks = tuple(
            Mark(
                times(at),
                y,
                arm,
                f"{wording.period(_start(period), noun, times.zone)}: {label} "
                f"{wording.value(metric, period[arm][metric])}",
            )
            for at, y, period in zip(middles, heights, periods, strict=True)
            if y is not None
        )
        path = line([(times(at), y) for at, y in zip(middles, heights, strict=True)])
        last = marks[-1] if marks else Mark(100.0, height - _STRIP, arm, "")
        curves.append(Curve(label, arm, path, marks, label, last.x, last.y))
    return Chart(
        id=f"by-period-{metric}",
        title=f"{wording.capitalized(name)} by {noun}; {better} is better",
        description=_described(result, metric, noun),
        height=height,
        x_ticks=_period_ticks(periods, noun, times),
        y_ticks=scale.ticks,
        # What was served lies on top.
        curves=_labeled(curves[::-1], height - _STRIP),
        events=events(history, times, height - _STRIP / 2 + 3),
        table=period_table(result, [metric], noun, times),
    )


def period_table(result: Mapping[str, Any], metrics: Sequence[str], noun: str, times: Times) -> Table:
    """Metrics of the three arms by period."""
    columns = [(wording.capitalized(noun), False), ("Rows", True)]
    columns += [(f"{wording.capitalized(wording.metric(name))}, {arm}", True) for name in metrics for arm in ARMS]
    rows = []
    for period in result["periods"]:
        cells = [wording.value(name, period[arm][name]) for name in metrics for arm in ARMS]
        rows.append((wording.period(_start(period), noun, times.zone), f"{period['rows']:,}", *cells))
    summary, primary = result["summary"], result["primary_metric"]
    if primary in metrics:
        means = [wording.value(name, summary[arm]) if name == primary else "" for name in metrics for arm in ARMS]
        rows.append(("Mean", "", *means))
    names = " and ".join(wording.metric(name) for name in metrics)
    return Table(f"{wording.capitalized(names)} by {noun}", tuple(columns), tuple(rows))


def score_chart(trail: Trail, history: History, policy: Policy, times: Times) -> Chart:
    """The score over time against the policy's limits."""
    height, score = 240.0, policy.score
    totals = [assessment.score for assessment in trail.assessments]
    declines = [assessment.decline for assessment in trail.assessments]
    scale = axis([*totals, score.threshold * 1.15], 8.0, height - _STRIP, zero=True)
    spans = [(times(start), times(end)) for start, end in trail.stretches]
    asked = {cycle.request.at: cycle for cycle in history.cycles}
    marks = tuple(
        Mark(
            times(item.at),
            scale.scale(points),
            "asked",
            f"{wording.day(item.at, times.zone)}: a retraining was asked for at {points}"
            + ("" if points >= score.threshold else ", because there were new rows to learn from"),
        )
        for item, points in zip(trail.assessments, declines, strict=True)
        if item.at in asked
    )
    area = steps(_heights(spans, totals, scale.scale), scale.scale(0))
    edge = steps(_heights(spans, declines, scale.scale))
    rules = [
        Rule(scale.scale(score.threshold), f"threshold {score.threshold}", "limit"),
        Rule(scale.scale(score.withdraw_below), f"withdrawal {score.withdraw_below}", "release"),
    ]
    peak = max(zip(declines, trail.assessments, strict=True), key=lambda pair: pair[0], default=None)
    highest = f" The highest was {peak[0]}, on {wording.day(peak[1].at, times.zone)}." if peak else ""
    return Chart(
        id="score",
        title="Score of decline by batch, 0 to 1000",
        description=f"{wording.plural(len(totals), 'batch')}; {sum(v >= score.threshold for v in declines)} of them "
        f"at or above the threshold of {score.threshold}.{highest} "
        f"{wording.plural(len(asked), 'retraining')} asked for.",
        height=height,
        x_ticks=times.ticks(),
        y_ticks=scale.ticks,
        curves=(Curve("score", "total", area), Curve("decline", "decline", edge, marks)),
        rules=tuple(rules),
        events=events(history, times, height - _STRIP / 2 + 3),
        table=_score_table(trail, declines, times),
    )


def _score_table(trail: Trail, declines: Sequence[int], times: Times) -> Table:
    columns = [("Batch until", False), ("Decline", True), ("Score", True)]
    names = _shown(trail)
    columns += [(wording.named(name)[0], True) for name in names]
    rows = tuple(
        (
            wording.day(item.at, times.zone),
            str(points),
            str(item.score),
            *(str(item.contributions.get(name, 0)) for name in names),
        )
        for item, points in list(zip(trail.assessments, declines, strict=True))[-_MOST_ROWS:]
    )
    left = len(declines) - len(rows)
    note = f"{left:,} batches before these are left out." if left else ""
    return Table("Score by batch, and the points of each family in it", tuple(columns), rows, note)


def _shown(trail: Trail) -> list[str]:
    """The families that can lead to a retraining, and those of the others that ever had a point."""
    order = [family.value for family in wording.FAMILIES]
    names = list(trail.assessments[-1].contributions) if trail.assessments else []
    names.sort(key=lambda name: (order.index(name) if name in order else len(order), name))
    quiet = {family.value for family in _OTHERWISE}
    return [
        name for name in names if name not in quiet or any(item.contributions.get(name) for item in trail.assessments)
    ]


def family_chart(trail: Trail, times: Times) -> Chart:
    """The points of each family in the score: a row each, on one scale."""
    spans = [(times(start), times(end)) for start, end in trail.stretches]
    most = max((max(item.contributions.values(), default=0) for item in trail.assessments), default=0) or 1
    names = _shown(trail)
    lanes, curves, peaks = [], [], []
    for number, name in enumerate(names):
        values = [item.contributions.get(name, 0) for item in trail.assessments]
        base, room = (number + 1) * _LANE, _LANE - 20.0
        path = steps(_heights(spans, values, Scale(0, most, base, base - room)), base)
        peak = max(values, default=0)
        lanes.append(Lane(wording.named(name)[0], number * _LANE + 14.0, f"at most {peak}", inside=True))
        curves.append(Curve(wording.named(name)[0], f"family {name}", path))
        peaks.append(f"{wording.family(name)} at most {peak}")
    return Chart(
        id="families",
        title="Points of each family of evidence in the score",
        description=f"All on one scale up to {most} points: {', '.join(peaks)}.",
        height=_LANE * len(names),
        x_ticks=times.ticks(),
        lanes=tuple(lanes),
        rules=tuple(Rule((number + 1) * _LANE, "", "lane") for number in range(len(names) - 1)),
        curves=tuple(curves),
        table=Table(
            "What the families mean",
            (("Family", False), ("It says that", False)),
            tuple(wording.named(name) for name in names),
        ),
    )


def what_if_chart(rows: Sequence[WhatIf], times: Times) -> Chart:
    """When each threshold would have asked."""
    lanes, marks, listed = [], [], []
    for number, row in enumerate(rows):
        y = number * _DOTS + _DOTS / 2
        note = wording.plural(len(row.asked), "request")
        lanes.append(Lane(f"{row.threshold}", y, note, strong=row.current))
        kind = "asked" if row.current else "would"
        marks += [
            Mark(times(at), y, kind, f"threshold {row.threshold}: {wording.day(at, times.zone)}") for at in row.asked
        ]
        days = [wording.day(at, times.zone) for at in row.asked[:_MOST_LISTED]]
        more = len(row.asked) - len(days)
        listed.append(
            (
                f"{row.threshold}{' (this policy)' if row.current else ''}",
                str(len(row.asked)),
                ", ".join(days) + (f", and {more} more" if more else ""),
            )
        )
    return Chart(
        id="thresholds",
        title="When a retraining would have been asked for, by threshold",
        description="; ".join(f"{row.threshold}: {wording.plural(len(row.asked), 'request')}" for row in rows) + ".",
        height=_DOTS * len(rows),
        x_ticks=times.ticks(),
        lanes=tuple(lanes),
        events=sparse(marks),
        table=Table(
            "Requests by threshold", (("Threshold", False), ("Requests", True), ("When", False)), tuple(listed)
        ),
    )


def cost_chart(
    cycles: Sequence[tuple[datetime, float]], ungated: Sequence[tuple[datetime, float]], times: Times
) -> Chart:
    """Training CPU summed up over time: ours, and that of retraining without any check where it is known by period."""
    height = 200.0
    named = [("served", "hpcretrain", cycles)] + ([("ungated", "ungated", ungated)] if ungated else [])
    totals = [list(accumulate((cpu for _, cpu in spent), initial=0.0)) for _, _, spent in named]
    scale = axis([total[-1] for total in totals], 8.0, height, zero=True, count=4)
    curves = []
    for (style, label, spent), total in zip(named, totals, strict=True):
        edges = [0.0, *(times(at) for at, _ in spent), 100.0]
        path = steps([(a, b, scale.scale(v)) for a, b, v in zip(edges[:-1], edges[1:], total, strict=True)])
        curves.append(
            Curve(label, style, path, (), f"{label} {wording.seconds(total[-1])}", label_y=scale.scale(total[-1]))
        )
    merged = sorted([(at, label, cpu) for _, label, spent in named for at, cpu in spent])
    return Chart(
        id="cost",
        title="CPU seconds of training, summed up over time",
        description=f"In the end {', '.join(curve.label for curve in curves)}.",
        height=height,
        x_ticks=times.ticks(),
        y_ticks=scale.ticks,
        curves=_labeled(curves, height),
        table=Table(
            "CPU of trainings",
            (("When", False), ("By", False), ("CPU seconds", True)),
            tuple((wording.day(at, times.zone), label, wording.digits(cpu)) for at, label, cpu in merged),
        ),
    )


def events(history: History, times: Times, y: float) -> tuple[Mark, ...]:
    """Releases, candidates that were stopped, and roll-backs."""
    marks = []
    for cycle in history.cycles:
        for at, kind, what in _ends(cycle):
            marks.append(Mark(times(at), y, kind, f"{wording.day(at, times.zone)}: {what}"))
    return sparse(sorted(marks, key=lambda mark: mark.x))


def _ends(cycle: Cycle) -> list[tuple[datetime, str, str]]:
    ends = []
    if cycle.release is not None:
        ends.append((cycle.release.at, "released", "a retrained model was released"))
    elif cycle.review is not None and cycle.review.closing is Closing.REJECTED:
        ends.append((cycle.review.at, "stopped", "no retrained model was good enough to be released"))
    if cycle.rollback is not None:
        ends.append((cycle.rollback.at, "rolledback", "the release was rolled back"))
    return ends


def _heights(
    spans: Sequence[tuple[float, float]], values: Sequence[float], scale: Scale
) -> list[tuple[float, float, float]]:
    pieces = condensed([(*span, value) for span, value in zip(spans, values, strict=True)])
    return [(start, end, scale(value)) for start, end, value in pieces]


def _described(result: Mapping[str, Any], metric: str, noun: str) -> str:
    parts = []
    for arm in ARMS:
        values = [period[arm][metric] for period in result["periods"] if period[arm][metric] is not None]
        if values:
            least, most = wording.value(metric, min(values)), wording.value(metric, max(values))
            parts.append(f"{arm} from {least} to {most}, last {wording.value(metric, values[-1])}")
    return f"Over {wording.plural(len(result['periods']), noun)}: {'; '.join(parts) or 'not defined'}."


def _labeled(curves: Sequence[Curve], bottom: float) -> tuple[Curve, ...]:
    heights = apart([curve.label_y for curve in curves], 8.0, bottom)
    return tuple(replace(curve, label_y=height) for curve, height in zip(curves, heights, strict=True))


def _period_ticks(periods: Sequence[Mapping[str, Any]], noun: str, times: Times) -> tuple[Tick, ...]:
    every = -(-len(periods) // MOST_TICKS)
    shown, ticks, year = periods[::every], [], 0
    for number, period in enumerate(shown):
        start = _start(period).astimezone(times.zone)
        name = wording.period(start, noun, times.zone, short=True)
        ticks.append(
            Tick(
                times(_middle(period)),
                f"{name} {start.year}" if start.year != year else name,
                room(number, len(shown)),
            )
        )
        year = start.year
    return tuple(ticks)


def _start(period: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(period["start"])


def _middle(period: Mapping[str, Any]) -> datetime:
    start = _start(period)
    return start + (datetime.fromisoformat(period["end"]) - start) / 2

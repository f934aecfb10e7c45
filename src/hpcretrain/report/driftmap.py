"""Drift by feature and batch, as a map of shades."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from hpcretrain.policy.types import Policy
from hpcretrain.records import Family, Signal
from hpcretrain.report import wording
from hpcretrain.report.chart import Chart, Curve, Lane, Mark, Table, Times, boxes
from hpcretrain.report.trail import Trail

_SIGN = 0.4
"""Share of the full scale from which drift is customarily called moderate (PSI of 0.1 where the full scale is 0.25)."""

_SHOWN, _LISTED, _MOST_COLUMNS = 12, 200, 150
_ROW, _GAP = 20.0, 2.0
_LABEL = 22


@dataclass(frozen=True)
class Shades:
    """PSI (lower bounds) at which a darker shade begins."""

    moderate: float
    full: float
    structural: float

    def style(self, bound: float) -> str:
        """The style of a cell."""
        if bound <= 0:
            return "none"
        return f"l{1 + sum(bound >= limit for limit in (self.moderate, self.full, self.structural))}"

    def legend(self) -> tuple[tuple[str, str], ...]:
        """Each style and what it means."""
        return (
            ("none", "nothing beyond chance"),
            ("l1", f"below {self.moderate:g}"),
            ("l2", f"below {self.full:g}"),
            ("l3", f"{self.full:g} and more: counts in full"),
            ("l4", f"{self.structural:g} and more: a change of structure"),
            ("unknown", "not measured"),
        )


def shades(policy: Policy) -> Shades:
    """The shades that a policy's limits set."""
    full = policy.score.rule(Family.INPUT_DRIFT).scale
    return Shades(_SIGN * full, full, max(full, policy.data_gate.structural_psi))


def drift_chart(trail: Trail, limits: Shades, times: Times, releases: Sequence[datetime]) -> Chart | None:
    """The features that drifted most, by batch; None when there was nothing to measure.

    Args:
        trail: The trail of all records.
        limits: What the shades mean.
        times: The time axis.
        releases: When the model was changed, and with it what drift is measured against.
    """
    ordered = sorted(trail.drift, key=lambda name: (-_largest(trail.drift[name]), name))
    if not ordered or not trail.assessments:
        return None
    shown = ordered[:_SHOWN]
    columns = _columns(trail, times)
    cells: dict[str, list[tuple[float, float, float, float]]] = {}
    for row, name in enumerate(shown):
        for left, width, moments in columns:
            style = _style([trail.drift[name][at] for at in moments if at in trail.drift[name]], limits)
            cells.setdefault(style, []).append((left, width, row * _ROW, _ROW - _GAP))
    lanes = [
        Lane(_short(name), row * _ROW + 13.0, wording.digits(_largest(trail.drift[name])))
        for row, name in enumerate(shown)
    ]
    height = _ROW * len(shown)
    first = f"{shown[0]} most, at {wording.digits(_largest(trail.drift[shown[0]]))}"
    return Chart(
        id="drift",
        title="Drift by feature and batch",
        description=f"{len(shown)} of {wording.plural(len(ordered), 'feature')} shown: {first}; {limits.full:g} counts "
        "in full.",
        height=height,
        x_ticks=times.ticks(),
        lanes=tuple(lanes),
        curves=tuple(Curve(style, f"shade {style}", boxes(cells[style])) for style in sorted(cells) if style != "none"),
        events=tuple(
            Mark(times(at), height, "changed", f"{wording.day(at, times.zone)}: the model changed") for at in releases
        ),
        table=_table(trail.drift, ordered, limits.full, times),
    )


def _columns(trail: Trail, times: Times) -> list[tuple[float, float, list[datetime]]]:
    """Left edge and width in percent of each column, and the batches in it: one, or some where there are very many."""
    each = math.ceil(len(trail.stretches) / _MOST_COLUMNS)
    groups = [trail.stretches[index : index + each] for index in range(0, len(trail.stretches), each)]
    columns = []
    for group in groups:
        left, right = times(group[0][0]), times(group[-1][1])
        # A hair of the ground shows between batches.
        columns.append((left, (right - left) * 0.92, [end for _, end in group]))
    return columns


def _style(signals: Sequence[Signal], limits: Shades) -> str:
    bounds = [signal.lower_bound for signal in signals if signal.lower_bound is not None]
    return limits.style(max(bounds)) if bounds else "unknown"


def _largest(signals: Mapping[datetime, Signal]) -> float:
    return max((signal.lower_bound for signal in signals.values() if signal.lower_bound is not None), default=0.0)


def _table(drift: Mapping[str, Mapping[datetime, Signal]], ordered: Sequence[str], full: float, times: Times) -> Table:
    rows = []
    for name in ordered[:_LISTED]:
        known = {at: signal.lower_bound for at, signal in drift[name].items() if signal.lower_bound is not None}
        worst = max(known, key=lambda at: known[at], default=None)
        reached = sum(bound >= full for bound in known.values())
        rows.append(
            (
                name,
                wording.digits(known[worst]) if worst else wording.NOT_DEFINED,
                wording.day(worst, times.zone) if worst else "",
                f"{reached} of {len(known)}",
                wording.digits(list(known.values())[-1]) if known else "",
            )
        )
    more = len(ordered) - len(rows)
    return Table(
        "Drift by feature: lower bound of the population stability index (PSI)",
        (
            ("Feature", False),
            ("Largest", True),
            ("In the batch until", False),
            ("Batches counted in full", True),
            ("Last", True),
        ),
        tuple(rows),
        f"{more} more features drifted less." if more else "",
    )


def _short(name: str) -> str:
    return name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"

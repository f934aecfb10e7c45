"""The page's model: all that the page says, made of records, the policy and the result, before any markup."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.policy.types import Policy
from hpcretrain.records import Release, ReleaseKind
from hpcretrain.report import figures, headline, story, wording
from hpcretrain.report.chart import Chart, Table, Times
from hpcretrain.report.driftmap import drift_chart, shades
from hpcretrain.report.trail import Trail, read
from hpcretrain.report.whatif import what_if
from hpcretrain.stats.metrics import METRICS

_MAIN, _GUARD = 310.0, 190.0


@dataclass(frozen=True)
class Source:
    """What a home holds for the page."""

    history: History
    policy: Policy
    primary_metric: str
    timezone: str
    result: Mapping[str, Any] | None
    """The result of the finished backtest; None while it is not finished."""
    cpu_s: Callable[[str], float]
    ungated_cpu_s: tuple[float, ...]
    """CPU seconds of each training of the ungated arm, in order; empty when not known one by one."""
    ledger_head: str
    worked: tuple[datetime, ...]
    """Wall-clock times of the first and the last note in the chain of operations; empty if there is none."""
    version: str


@dataclass(frozen=True)
class Bad:
    """A quarantined stretch."""

    span: str
    rows: str
    evidence: tuple[story.Evidence, ...]


@dataclass(frozen=True)
class Page:
    """The page."""

    model: str
    span: str
    sentence: str
    notice: str
    figures: tuple[headline.Figure, ...]
    arms: tuple[tuple[str, str, str], ...]
    """Style, name and meaning of each arm."""
    meaning: str
    """Of the primary metric."""
    noun: str
    main: Chart | None
    guards: tuple[Chart, ...]
    periods: Table | None
    score: Chart | None
    families: Chart | None
    threshold: int
    withdrawal: int
    drift: Chart | None
    shades: tuple[tuple[str, str], ...]
    """Each shade of the map of drift, and what it means."""
    cost: Chart | None
    stories: tuple[story.Story, ...]
    quarantined: tuple[Bad, ...]
    batches: int
    thresholds: Chart | None
    provenance: tuple[tuple[str, str], ...]


def page(source: Source) -> Page:
    """The page about a home.

    Raises:
        InputError: Nothing was recorded yet.
    """
    history, result, policy = source.history, source.result, source.policy
    if history.baseline is None or not history.releases:
        raise InputError("nothing serves in this home yet, so there is nothing to report; run the backtest first")
    zone = ZoneInfo(source.timezone)
    trail = read(history.known.values())
    times = Times(*_ends(history, trail, result), zone)
    noun = headline.period_noun(result["periods"]) if result else "period"
    changes = [release.at for release in history.releases if release.release_kind is not ReleaseKind.FIRST]
    seen = bool(trail.assessments)
    metrics = list(result["periods"][0]["served"]) if result and result["periods"] else []
    charts = {name: _period_chart(source, name, noun, times) for name in metrics}
    return Page(
        model=history.baseline.model,
        span=wording.span(times.first, times.last, zone),
        sentence=headline.sentence(result) if result else _so_far(history, trail, zone),
        notice="" if result else _UNFINISHED,
        figures=tuple(_figures(source, trail)),
        arms=tuple((arm, name, what.format(noun=noun)) for arm, (name, what) in figures.ARMS.items()),
        meaning=wording.MEANINGS.get(source.primary_metric, ""),
        noun=noun,
        main=charts.get(source.primary_metric),
        guards=tuple(chart for name, chart in charts.items() if name != source.primary_metric),
        periods=figures.period_table(result, metrics, noun, times) if result and metrics else None,
        score=figures.score_chart(trail, history, policy, times) if seen else None,
        families=figures.family_chart(trail, times) if seen else None,
        threshold=policy.score.threshold,
        withdrawal=policy.score.withdraw_below,
        drift=drift_chart(trail, shades(policy), times, changes),
        shades=shades(policy).legend(),
        cost=_cost_chart(source, times),
        stories=tuple(story.stories(history, source.cpu_s, zone)),
        quarantined=_quarantined(trail, zone),
        batches=len(trail.assessments),
        thresholds=figures.what_if_chart(what_if(history, trail.assessments, policy), times) if seen else None,
        provenance=_provenance(source, history.champion),
    )


_UNFINISHED = (
    "This backtest is not finished: the page shows what is recorded so far. What would have been served without "
    "retraining, or by retraining without any check, is compared at the end."
)


def _ends(history: History, trail: Trail, result: Mapping[str, Any] | None) -> tuple[datetime, datetime]:
    start = history.releases[0].at
    last = trail.end or start + timedelta(days=1)
    periods = result["periods"] if result else []
    return start, max([last, *(datetime.fromisoformat(period["end"]) for period in periods)])


def _period_chart(source: Source, metric: str, noun: str, times: Times) -> Chart:
    assert source.result is not None
    better = "higher" if METRICS[metric].higher_is_better else "lower"
    height = _MAIN if metric == source.primary_metric else _GUARD
    return figures.period_chart(source.result, metric, noun, better, times, source.history, height)


def _cost_chart(source: Source, times: Times) -> Chart | None:
    ours = [
        (cycle.run.at, sum(source.cpu_s(job.id) for job in cycle.jobs))
        for cycle in source.history.cycles
        if cycle.run is not None
    ]
    periods = source.result["periods"] if source.result else []
    starts = [datetime.fromisoformat(period["start"]) for period in periods[1:]]
    ungated = list(zip(starts, source.ungated_cpu_s, strict=True)) if len(starts) == len(source.ungated_cpu_s) else []
    return figures.cost_chart(ours, ungated, times) if ours or ungated else None


def _figures(source: Source, trail: Trail) -> Sequence[headline.Figure]:
    if source.result is not None:
        return headline.figures(source.result, len(trail.assessments), len(trail.quarantined))
    history = source.history
    return [
        headline.Figure("Batches observed", str(len(trail.assessments)), f"{len(trail.quarantined)} of bad data"),
        headline.Figure("Requests", str(len(history.cycles)), "to retrain"),
        headline.Figure(
            "Releases",
            str(sum(release.release_kind is ReleaseKind.PROMOTION for release in history.releases)),
            f"{sum(release.release_kind is ReleaseKind.ROLLBACK for release in history.releases)} rolled back",
        ),
    ]


def _so_far(history: History, trail: Trail, zone: ZoneInfo) -> str:
    if trail.end is None:
        return "The first model serves; no batch was observed yet."
    champion = wording.day(history.champion.at, zone)
    return (
        f"By {wording.day(trail.end, zone)}, {wording.plural(len(trail.assessments), 'batch')} were observed and "
        f"{wording.plural(len(history.cycles), 'request')} to retrain made; the model of {champion} serves."
    )


def _quarantined(trail: Trail, zone: ZoneInfo) -> tuple[Bad, ...]:
    return tuple(
        Bad(wording.span(bad.slot.start, bad.slot.end, zone), f"{bad.slot.rows:,}", story.evidence(bad.findings))
        for bad in trail.quarantined
    )


def _provenance(source: Source, champion: Release) -> tuple[tuple[str, str], ...]:
    baseline = source.history.baseline
    assert baseline is not None
    worked = " to ".join(f"{moment:%Y-%m-%d %H:%M}" for moment in source.worked)
    return (
        ("Ledger head", source.ledger_head),
        ("Records", f"{len(source.history.known):,}"),
        ("Policy", f"“{source.policy.name}”, SHA-256 {baseline.policy_digest}"),
        ("Configuration", f"SHA-256 {baseline.config_digest}"),
        ("Rules", baseline.rule_version),
        ("Model that serves", f"SHA-256 {champion.model_digest}"),
        ("Computed", f"{worked} UTC, hpcretrain {source.version}"),
        ("Times on this page", f"in the table's time zone, {source.timezone}"),
    )

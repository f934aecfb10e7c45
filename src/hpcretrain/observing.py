"""Observe: what a batch of rows, a file of signals or another tool's results say about models, as signals."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.inputfile import called, text_of
from hpcretrain.canonical import plain
from hpcretrain.config.load import Terms, load
from hpcretrain.config.sources import (
    Change,
    CsvMap,
    CsvMetric,
    EventMap,
    EvidentlyMap,
    Metric,
    PrometheusMap,
    PrometheusMetric,
    Stretch,
    UpstreamMap,
    read_map,
)
from hpcretrain.counts import BatchCounts
from hpcretrain.errors import InputError, SourceError
from hpcretrain.evidence import Family, Finding, Measure, Outcome
from hpcretrain.policy.gauge import (
    NO_SAMPLES,
    Gauge,
    OwnPast,
    Reference,
    Series,
    blind,
    newest_slots,
    ordered,
    read,
    shared,
    whole_slots,
)

_MOMENT = timedelta(milliseconds=1)
Tell = Callable[[str], None]


def observe_batch(path: Path, config: Path, now: datetime) -> list[Measure]:
    """What the data gate and drift say about a batch against a configuration's reference; no home is touched.

    The signals are of the time at which the batch ends; of now, if it is empty.

    Raises:
        InputError: The batch, the configuration or its table cannot be used.
    """
    from hpcretrain.policy.observe import input_drift
    from hpcretrain.policy.quality import inspect

    terms = load(config)
    with tempfile.TemporaryDirectory(prefix="hpcretrain-observe-") as folder:
        batch, earlier, end = _counted(terms, path, Path(folder))
    at = end if batch.rows else now
    model = terms.config.model.name
    findings = inspect(batch, earlier, terms.policy.data_gate)
    measures = [_quality(model, finding, batch.rows, at) for finding in findings]
    if batch.rows:
        for sign in input_drift([batch], earlier, terms.policy.score):
            why = sign.why if sign.effect is None else f"PSI of {sign.name} against the reference"
            numbers = (sign.effect, sign.lower_bound, sign.n, sign.reference)
            measures.append(Measure(model, sign.family, sign.name, at, *numbers, reason=why))
    return measures


def observe_signals(path: Path, now: datetime, tell: Tell) -> list[Measure]:
    """The signals of a file until now, in order of time; what is later is told.

    Raises:
        InputError: It cannot be read, or a line of it.
    """
    from hpcretrain.adapters.signalfile import read_signals

    found = ordered(read_signals(path))
    later = [each for each in found if each.at > now]
    if later:
        last = f"{'the last ' if len(later) > 1 else ''}at {plain(later[-1].at)}"
        tell(f"{called(path)}: {len(later)} of {len(found)} signals not heeded: later than {plain(now)}, {last}")
    return found[: len(found) - len(later)]


def observe_csv(path: Path, mapping: Path, since: datetime | None, now: datetime) -> list[Measure]:
    """What a CSV of metrics says, slot by slot, until now; by default from its first sample on.

    Raises:
        InputError: The map or the file cannot be used.
    """
    from hpcretrain.adapters import metricscsv

    terms = read_map(CsvMap, mapping)
    long = terms.form == "long"
    form = metricscsv.Form(
        terms.time_column, terms.zone, terms.name_column if long else None, terms.value_column if long else None
    )
    found = metricscsv.read(path, form, [metric.column for metric in terms.metric])
    firsts = [float(series.times[0]) for series in found.values() if len(series.times)]
    if since is None and not firsts:
        raise InputError(
            f"{called(path)}: holds no sample of {', '.join(found)}; --since says from when there should be some"
        )
    # A sample stands for the time that ends with it. Before the first of all nothing is expected.
    begin = since or datetime.fromtimestamp(min(firsts), UTC) - _MOMENT
    slots = whole_slots(begin if since else begin - terms.every, now, terms.every)
    measures: list[Measure] = []
    for metric in terms.metric:
        series = found[metric.column]
        gauge, reference = _gauge(terms.model, metric), _reference(path, metric, series, slots)
        for start, end in slots:
            if begin < end:
                measures += read(gauge, series, reference, max(start, begin), end)
    return ordered(shared(measures, len(terms.metric)))


def _reference(path: Path, metric: CsvMetric, series: Series, slots: Sequence[tuple[datetime, datetime]]) -> Reference:
    usual = metric.reference
    if isinstance(usual, Stretch):
        return series.between(usual.start, usual.end)
    if not isinstance(usual, Change):
        return usual
    known = series.values[np.isfinite(series.values)]
    apart = float(np.ptp(known)) if len(known) else 0.0
    if apart > usual.span:
        raise InputError(
            f"{called(path)}: the samples of {metric.name} lie {apart:.6g} apart, more than adwin_span = "
            f"{usual.span:g}; write how far apart they can be"
        )
    return OwnPast.of(series, usual.span, usual.delta, (end for _, end in slots))


def observe_prometheus(
    mapping: Path, since: datetime | None, now: datetime, tell: Tell
) -> tuple[list[Measure], SourceError | None]:
    """What a Prometheus server says, slot by slot, until now; by default in the newest slot.

    Where the server does not answer every metric is blind, and the error is given along.

    Raises:
        InputError: The map cannot be used, or the server refuses what it asks.
    """
    terms = read_map(PrometheusMap, mapping)
    slots = newest_slots(since, now, terms.every)
    measures: list[Measure] = []
    failed: SourceError | None = None
    for metric in terms.metric:
        try:
            # After a failure nothing else is asked: each question might take as long to fail.
            if failed is not None:
                raise failed
            measures += _from_prometheus(terms, metric, slots, tell)
        except SourceError as error:
            failed = error
            measures += [blind(model, metric.name, now, str(error)) for model in terms.models]
    return ordered(shared(measures, len(terms.metric))), failed


def observe_evidently(path: Path, mapping: Path, now: datetime) -> list[Measure]:
    """What an Evidently report says, as of now.

    Raises:
        InputError: The map or the report cannot be used.
    """
    from hpcretrain.adapters import evidently

    terms = read_map(EvidentlyMap, mapping)
    sizes = evidently.Sizes(terms.rows, terms.reference_rows, terms.bins)
    try:
        drifts = evidently.parse(_text(path), sizes)
    except InputError as error:
        raise InputError([f"{called(path)}: {problem}" for problem in error.problems]) from error
    return evidently.measures(drifts, terms.model, terms.prediction, terms.rows, now)


def observe_upstream(path: Path, mapping: Path, now: datetime) -> list[Measure]:
    """What data sources report about themselves, until now.

    Raises:
        InputError: The map or the reports cannot be used.
    """
    from hpcretrain.adapters import upstream

    terms = read_map(UpstreamMap, mapping)
    rules = upstream.Rules(terms.models, terms.sources, terms.expect_every, terms.fine_hours, terms.broken_hours)
    return ordered(upstream.measures(upstream.read(path), rules, now))


def observe_events(path: Path, mapping: Path, now: datetime) -> list[Measure]:
    """Which outside events count, until now.

    Raises:
        InputError: The map or the events cannot be used.
    """
    from hpcretrain.adapters import outsideevents

    terms = read_map(EventMap, mapping)
    return [each for each in outsideevents.read(path, terms.events, terms.models) if each.at <= now]


def _from_prometheus(
    terms: PrometheusMap, metric: PrometheusMetric, slots: list[tuple[datetime, datetime]], tell: Tell
) -> Iterator[Measure]:
    from hpcretrain.adapters.prometheus import Server, query_range

    server = Server(terms.url, terms.timeout_s, terms.token_file)

    def ask(start: datetime, end: datetime) -> dict[str, Series]:
        answer = query_range(server, metric.query, start, end, terms.step, terms.model_label)
        for warning in answer.warnings:
            tell(f"{metric.name}: {terms.url} warns: {warning}")
        return dict(answer.series)

    usual = metric.reference
    references = ask(usual.start, usual.end) if isinstance(usual, Stretch) else {}
    series = ask(slots[0][0], slots[-1][1]) if slots else {}
    for model in terms.models:
        key = model if terms.model_label else ""
        reference = references.get(key, NO_SAMPLES) if isinstance(usual, Stretch) else usual
        gauge = _gauge(model, metric)
        for start, end in slots:
            yield from read(gauge, series.get(key, NO_SAMPLES), reference, start, end)


def _counted(terms: Terms, path: Path, folder: Path) -> tuple[BatchCounts, list[BatchCounts], datetime]:
    """Counts of the batch, those of the reference's batches, and when the batch ends."""
    from hpcretrain.adapters.batchfile import Batch, count
    from hpcretrain.adapters.ledger import FileLedger
    from hpcretrain.adapters.whylogs import WhylogsProfiles, read_contract
    from hpcretrain.desks import open_table
    from hpcretrain.steps.desk import reference_slots
    from hpcretrain.steps.tick import require_reference

    clock = VirtualClock(terms.reference_until)
    table = open_table(terms, clock)
    require_reference(table, table.first_time, terms.reference_until)
    model, data = terms.config.model.name, terms.config.data
    ledger = FileLedger(folder / "ledger.jsonl")
    try:
        profiles = WhylogsProfiles(table, folder, ledger, model, terms.policy.data_gate.range_slack)
        reference = table.rows(table.first_time, terms.reference_until)
        contract = read_contract(folder, profiles.freeze(reference))
        slots = reference_slots(table.first_time, terms.reference_until, terms.config.backtest.observe_every)
        earlier = [profiles.counts(table.rows(*slot)) for slot in reversed(slots)]
    finally:
        ledger.close()
    batch = Batch(path, data.time_column, data.timezone, data.time_format)
    counts, rows = count(batch, table, contract, model)
    return counts, earlier, rows.end


def _quality(model: str, finding: Finding, rows: int, at: datetime) -> Measure:
    """A check of the data gate: 1 where it failed; an empty batch is blind."""
    family = Family.BLIND if not rows else Family.DATA_QUALITY
    effect = 0.0 if finding.outcome is Outcome.PASS else 1.0
    return Measure(model, family, finding.check, at, effect, effect, rows, None, reason=finding.reason)


def _gauge(model: str, metric: Metric) -> Gauge:
    higher, relative = metric.worse == "higher", metric.effect == "relative"
    return Gauge(model, Family(metric.family), metric.name, higher, relative, metric.rows, metric.expect_every)


def _text(path: Path) -> str:
    try:
        with text_of(path) as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{called(path)}: cannot be read: {getattr(error, 'strerror', None) or error}") from error

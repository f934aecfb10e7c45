"""How fast many models are scored, and how fast past decisions are made again."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
from bench.samples import Measured, Samples

from hpcretrain import weigh
from hpcretrain.again import replay
from hpcretrain.appraise import Subject, appraise
from hpcretrain.canonical import sha256
from hpcretrain.config.load import policy_text, read_policy, shipped_policy
from hpcretrain.counts import BatchCounts, ColumnCounts
from hpcretrain.evidence import Measure
from hpcretrain.history import History
from hpcretrain.policy.assess import Grid
from hpcretrain.policy.observe import input_drifts
from hpcretrain.records import (
    RULE_VERSION,
    Action,
    Activation,
    Baseline,
    Candidate,
    Closing,
    Facts,
    Family,
    Finding,
    Job,
    Outcome,
    PriorityClass,
    Purpose,
    Record,
    Release,
    ReleaseKind,
    Review,
    Signal,
    Slice,
    Window,
)

MODELS, FEATURES, BINS, RUNS = 1_000, 20, 12, 7
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def score_models() -> Measured:
    """`score_1000_models_ms`: from the exact counts of stored profiles to score, action and class of each model."""
    rng = np.random.default_rng(1)
    pairs = [(_counts(rng, 50_000, 0.0), _counts(rng, 5_000, 0.3 * (model % 2))) for model in range(MODELS)]
    return Measured({"score_1000_models_ms": Samples([1000 * _score(pairs) for _ in range(RUNS + 1)][1:])})


def _score(pairs: list[tuple[BatchCounts, BatchCounts]]) -> float:
    policy = shipped_policy()
    grid, subject = Grid(START, DAY), Subject(START)
    began = time.perf_counter()
    scores = []
    drifts = input_drifts([([newest], [reference]) for reference, newest in pairs], policy.score)
    for number, signs in enumerate(drifts):
        measures = [
            Measure(str(number), sign.family, sign.name, START, sign.effect, sign.lower_bound, sign.n) for sign in signs
        ]
        scores.append(appraise(measures, policy, grid, subject).scored.score)
    took = time.perf_counter() - began
    assert len({score > 0 for score in scores}) == 2, "the models that moved, and only they, have points"
    return took


def _counts(rng: np.random.Generator, rows: int, shift: float) -> BatchCounts:
    shares = np.exp(-0.5 * (np.linspace(-2, 2, BINS) - shift) ** 2)
    cells = rng.multinomial(rows, shares / shares.sum(), size=FEATURES).tolist()
    columns = {
        f"x{number}": ColumnCounts(rows, 0, 0, 0, 0, tuple(bins), -9, 9, False) for number, bins in enumerate(cells)
    }
    return BatchCounts(rows=rows, duplicates=0, columns=columns, digest="")


DECISIONS, PER_RELEASE, SIGNALS = 10_000, 20, 8


def replay_decisions() -> Measured:
    """`replay_10000_s`: a home's decisions, assessments and requests, made again from its records."""
    records = _history()
    samples = []
    for _ in range(RUNS - 2):
        began = time.perf_counter()
        found = list(replay(records, read_policy))
        samples.append(time.perf_counter() - began)
        assert all(each.same for each in found), "every one comes out the same"
    return Measured({"replay_10000_s": Samples(samples)})


def _history() -> list[Record]:
    """Requests that wait for rows from batch to batch, until they are dropped."""
    policy = shipped_policy()
    book = _Book()
    baseline = Baseline(
        model="m", at=START, config_digest="", policy_digest="", rule_version=RULE_VERSION, contract_digest="",
        batch_s=86_400, reference=Slice(START, START, 0, ""),
    )  # fmt: skip
    text = policy_text(policy)
    book.enter(baseline)
    book.enter(
        Activation(
            model="m", at=START, answers=(baseline.id,), policy_digest=sha256(text), policy=text,
            rule_version=RULE_VERSION, actor=None,
        )
    )  # fmt: skip
    window = Window("all", START, START, 1, 1, "")
    job = Job(
        model="m", at=START, answers=(baseline.id,), purpose=Purpose.REFIT, priority_class=PriorityClass.BACKGROUND,
        recipe="r", params={}, seed=1, window=window, cost_mrow_passes=1.0,
    )  # fmt: skip
    book.enter(job)
    fit = Candidate(model="m", at=START, answers=(job.id,), purpose=Purpose.REFIT, model_digest="d", window=window)
    book.enter(fit)
    release = Release(
        model="m", at=START, answers=(fit.id,), release_kind=ReleaseKind.FIRST, candidate=fit.id, twin=fit.id,
        model_digest="d", window=window, previous=None, readings=(),
    )  # fmt: skip
    book.enter(release)
    facts = Facts(False, 45_000, 5_000, 50, 5_000, 500, 100)
    decided = batch = 0
    while decided < DECISIONS:
        batch += 1
        # A decline comes and goes: a request is made, waits for rows, and is dropped in the end.
        bad = batch % PER_RELEASE < PER_RELEASE // 2
        book.enter(*_signals(release, batch, bad))
        now = START + DAY * batch
        assessment = weigh.assess(book.history, policy, now)
        book.enter(assessment)
        request = weigh.request(book.history, assessment, policy)
        if request is not None:
            book.enter(request)
        cycle = book.history.open_cycle
        if cycle is None:
            continue
        decision = weigh.decide(book.history, cycle, assessment, facts, policy, now).decision
        book.enter(decision)
        decided += 1
        if decision.action is Action.DROP:
            nothing = Finding("gain", Outcome.INSUFFICIENT, "nothing was released")
            answers = (cycle.request.id, decision.id)
            book.enter(
                Review(model="m", at=now, answers=answers, closing=Closing.DROPPED, cost_mrow_passes=0.0, gain=nothing)
            )
    return list(book.history.known.values())


class _Book:
    def __init__(self) -> None:
        self.history = History()

    def enter(self, *records: Record) -> None:
        for record in records:
            self.history.add(record)


def _signals(release: Release, batch: int, bad: bool) -> list[Signal]:
    now = START + DAY * batch
    slot = Slice(now - DAY, now, 5_000, "")
    kinds = [(Family.PERFORMANCE, "auc", 0.2 * bad), (Family.CALIBRATION, "bias", 0.1 * bad)]
    kinds += [(Family.INPUT_DRIFT, f"x{number}", 0.005 * number) for number in range(SIGNALS - 3)]
    kinds.append((Family.DATA_QUALITY, "missing", 0.0))
    return [
        Signal(
            model="m", at=now, answers=(release.id,), family=family, name=name, slot=slot, effect=bound,
            lower_bound=bound, n=5_000, reference=None, unit="u",
            finding=Finding(name, Outcome.PASS, f"batch {batch}", bound, 1.0),
        )
        for family, name, bound in kinds
    ]  # fmt: skip

"""What is measured: for each benchmark its goal, how its figure comes about, and what to know when reading it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median


def ours_alone(ours: float, peer: float) -> float:
    """The figure is what was measured."""
    return ours


def peer_over_ours(ours: float, peer: float) -> float:
    """How many times more the peer takes."""
    return peer / ours


def ours_over_peer(ours: float, peer: float) -> float:
    """Ours as a share of the peer's."""
    return ours / peer


def ours_less_peer(ours: float, peer: float) -> float:
    """How much more ours is."""
    return ours - peer


@dataclass(frozen=True)
class Benchmark:
    """One figure. `better` is "lower" or "higher"; a rate is the mean of outcomes 0 and 1, all else a median."""

    name: str
    what: str
    unit: str
    better: str
    goal: float
    remark: str
    figure: Callable[[float, float], float] = ours_alone
    """From what is typical of ours and of the peer, NaN where there is none."""
    rate: bool = False

    def typical(self, samples: Sequence[float]) -> float:
        """What stands for all samples."""
        return fmean(samples) if self.rate else median(samples)


@dataclass(frozen=True)
class Group:
    """Benchmarks that one measurement answers; a rate of errors stands with its power."""

    name: str
    benchmarks: tuple[Benchmark, ...]


GROUPS = (
    Group(
        "whylogs",
        (
            Benchmark(
                "profile_cpu_vs_whylogs",
                "CPU s of `whylogs.log` over ours: 1,000,000 rows, 20 mixed columns, same counts and sketches",
                "ratio",
                "higher",
                10,
                "Text and time columns included; one thread each",
                peer_over_ours,
            ),
        ),
    ),
    Group(
        "evidently",
        (
            Benchmark(
                "profile_cpu_vs_evidently",
                "CPU s of evidently's default drift report over our profile and drift, same frame",
                "ratio",
                "higher",
                40,
                "Ours has counted the reference before, as in production; evidently takes both frames every time",
                peer_over_ours,
            ),
        ),
    ),
    Group(
        "mlflow",
        (
            Benchmark(
                "log_model_s",
                "Seconds to log and register a model, warm",
                "s",
                "lower",
                0.3,
                "A store in SQLite on a local disk",
            ),
        ),
    ),
    Group(
        "demo",
        (
            Benchmark(
                "demo_wall_s",
                "`hpcretrain demo` in a new home, set-up apart",
                "s",
                "lower",
                180,
                "Wall time; one thread a training, so another busy core does little, a busy disk more",
            ),
            Benchmark(
                "backtest_served_vs_ungated",
                "Flights: mean monthly AUC served, less that of ungated monthly retraining on all history",
                "AUC",
                "higher",
                -0.003,
                "The same in every run; one table, and the phase of retraining alone moves it by 0.002 to 0.003",
                ours_less_peer,
            ),
            Benchmark(
                "backtest_cpu_ratio",
                "Flights: CPU s of trainings over that of ungated monthly retraining",
                "ratio",
                "lower",
                0.75,
                "Rejected candidates count; the first champion counts on neither side",
                ours_over_peer,
            ),
        ),
    ),
    Group(
        "drift",
        (
            Benchmark(
                "false_alarm_rate",
                "Share of stationary 30-day histories, 50 columns, with any request because of decline",
                "share",
                "lower",
                0.01,
                "2,000 rows a day; requests for more rows (freshness) are not alarms",
                rate=True,
            ),
            Benchmark(
                "drift_power",
                "Share of 30-day histories found where one feature in ten moves by 0.3 sd and AUC falls by 0.02",
                "share",
                "higher",
                0.9,
                "The same rows, reference and rules; the change comes on a day from 5 to 15 and stays",
                rate=True,
            ),
        ),
    ),
    Group(
        "promotion",
        (
            Benchmark(
                "false_promotion_rate",
                "Share of equal candidates promoted, 5,000 rows, alpha 0.05",
                "share",
                "lower",
                0.05,
                "First use of a holdout, for which the gate spends 0.030 of alpha; later uses get less",
                rate=True,
            ),
            Benchmark(
                "promotion_power",
                "Share of candidates promoted that are better by 0.02 AUC, 5,000 rows",
                "share",
                "higher",
                0.8,
                "Hangs on how alike champion and candidate are: see below",
                rate=True,
            ),
        ),
    ),
)

BENCHMARKS = {benchmark.name: benchmark for group in GROUPS for benchmark in group.benchmarks}

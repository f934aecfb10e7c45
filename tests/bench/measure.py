"""Measure one group of benchmarks in this process: `python -m bench.measure GROUP FILE` writes the samples to FILE."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench.samples import Measured, PeerMissing, Samples


def whylogs() -> Measured:
    """Our profile against whylogs'."""
    from bench.profiles import profile_cpu_vs_whylogs

    return Measured({"profile_cpu_vs_whylogs": Samples(*profile_cpu_vs_whylogs())})


def large() -> Measured:
    """The profile of a large table by workers."""
    from bench.large import measure

    return measure()


def evidently() -> Measured:
    """Our profile and drift against evidently's."""
    from bench.evidently_environment import interpreter
    from bench.profiles import profile_cpu_vs_evidently

    python = interpreter()
    try:
        figures = profile_cpu_vs_evidently(python)
    except RuntimeError as error:
        # So it says that evidently's own process does not run.
        raise PeerMissing(str(error)) from error
    return Measured({"profile_cpu_vs_evidently": Samples(*figures)})


def mlflow() -> Measured:
    """Logging a model."""
    from bench.mlflow_store import log_model_s

    return Measured({"log_model_s": Samples(log_model_s())})


def score() -> Measured:
    """Scoring many models."""
    from bench.scores import score_models

    return score_models()


def replay() -> Measured:
    """Making past decisions again."""
    from bench.scores import replay_decisions

    return replay_decisions()


def ledger() -> Measured:
    """Verifying a ledger."""
    from bench.ledger import verify_s

    return Measured({"ledger_verify_s": Samples(verify_s())})


def demo() -> Measured:
    """The demo, and what its result says."""
    from bench.demo import run

    return Measured(run())


def admissions() -> Measured:
    """Decisions on a backlog."""
    from bench.admissions import decide_10000_s

    return Measured({"decide_10000_s": Samples(decide_10000_s())})


def drift() -> Measured:
    """False alarms and power of the signals."""
    from bench.rates import drift_rates

    return drift_rates()


def promotion() -> Measured:
    """False promotions and power of the gate."""
    from bench.rates import promotion_rates

    return promotion_rates()


def submissions() -> Measured:
    """Submission to Slurm."""
    from bench.slurm import submissions as measure

    return measure()


def urgent_starts() -> Measured:
    """Urgent starts on Slurm."""
    from bench.slurm import urgent_starts as measure

    return measure()


def requeued() -> Measured:
    """Preempted jobs that run again on Slurm."""
    from bench.slurm import requeued as measure

    return measure()


def lost_cpu() -> Measured:
    """CPU lost to preemption on Slurm."""
    from bench.slurm import lost_cpu as measure

    return measure()


def tracking() -> Measured:
    """Keeping track of jobs on Slurm."""
    from bench.slurm import tracking as measure

    return measure()


def signals() -> Measured:
    """From a signal to an accepted submission."""
    from bench.slurm import signals as measure

    return measure()


def serving_log() -> Measured:
    """The logger beside serving."""
    from bench.serving_log import measure

    return measure()


def windows() -> Measured:
    """Windows of low traffic, by rolling origin."""
    from bench.windows import window_regrets

    return window_regrets()


MEASURES: dict[str, Callable[[], Measured]] = {
    measure.__name__: measure
    for measures in (
        (whylogs, large, evidently, mlflow, ledger, score, replay, demo, drift, promotion, admissions),
        (submissions, urgent_starts, requeued, lost_cpu, tracking, signals, serving_log, windows),
    )
    for measure in measures
}


def main(name: str, file: str) -> None:
    """Measure the group and write what came out; a failure ends with a traceback."""
    try:
        measured = MEASURES[name]()
    except PeerMissing as missing:
        measured = Measured(why=str(missing))
    Path(file).write_text(json.dumps(measured.plain()), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

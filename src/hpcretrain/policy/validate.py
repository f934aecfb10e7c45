"""The gate: may a candidate replace the champion? Both are judged on the same held-out rows, which neither has seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hpcretrain.policy.types import Gate
from hpcretrain.records import Finding, Outcome, Reading
from hpcretrain.stats import metrics
from hpcretrain.stats.compare import Comparison, compare, spend
from hpcretrain.stats.groups import MISCALIBRATION, miscalibration

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What the gate is asked: labels and predictions, shape (rows,), and how the rows relate to others.

    `seen_share` is the share of held-out rows that stand among the rows before them too (without their times), and
    `usual_share` the same share inside the reference, among as many rows. `use` counts the verdicts on any of these
    rows, with this one.
    """

    labels: FloatArray
    champion: FloatArray
    candidate: FloatArray
    task: str
    primary: str
    guards: tuple[str, ...]
    use: int
    seen_share: float
    usual_share: float


def judge(question: Question, gate: Gate) -> tuple[Finding, ...]:
    """Every check of the gate, each with its numbers."""
    findings = [_enough(len(question.labels), gate), _classes(question, gate)]
    findings += [
        _finite("champion_predictions", question.champion),
        _finite("candidate_predictions", question.candidate),
        _overlap(question, gate),
    ]
    alpha = spend(gate.alpha, question.use)
    findings.append(_superior(_compare(question.primary, question, alpha), question.use, alpha))
    findings += [_not_inferior(_compare(guard, question, gate.guard_alpha), gate) for guard in question.guards]
    return tuple(findings)


def readings(
    labels: FloatArray, predictions: FloatArray, task: str, names: Sequence[str], gate: Gate
) -> tuple[Reading, ...]:
    """The metrics, bias and miscalibration, with standard errors; none where the rarer class has too few labels.

    A metric that is not defined on these rows is left out.
    """
    if metrics.rarer(labels, task) < gate.min_class_rows:
        return ()
    measured = [(name, metrics.measure(name, labels, predictions)) for name in names]
    measured.append(("bias", metrics.bias(task, labels, predictions)))
    measured.append((MISCALIBRATION, miscalibration(task, labels, predictions)))
    return tuple(
        Reading(metric=name, value=m.value, se=m.se, n=m.n)
        for name, m in measured
        if math.isfinite(m.value) and math.isfinite(m.se)
    )


def check_refit(
    labels: FloatArray, twin: FloatArray, refit: FloatArray, names: Sequence[str], gate: Gate
) -> tuple[Finding, ...]:
    """Whether a refit stands in for its judged twin: on the holdout, which the refit has learned, it is no worse."""
    findings = [_finite("refit_predictions", refit)]
    for name in names:
        was, now = metrics.measure(name, labels, twin), metrics.measure(name, labels, refit)
        worse, _ = metrics.decline(name, was.value, now.value)
        outcome = Outcome.INSUFFICIENT
        if math.isfinite(worse):
            outcome = Outcome.PASS if worse <= gate.refit_tolerance else Outcome.FAIL
        findings.append(
            Finding(
                check=f"refit:{name}",
                outcome=outcome,
                reason=f"{name} of the refit, which has learned these rows, {now.value:.4g}, of its judged twin "
                f"{was.value:.4g}; relative worsening",
                observed=worse if math.isfinite(worse) else None,
                limit=gate.refit_tolerance,
            )
        )
    return tuple(findings)


def _compare(metric: str, question: Question, alpha: float) -> Comparison:
    return compare(metric, question.labels, question.champion, question.candidate, alpha=alpha)


def _enough(rows: int, gate: Gate) -> Finding:
    outcome = Outcome.PASS if rows >= gate.min_rows else Outcome.INSUFFICIENT
    return Finding(
        check="holdout_rows", outcome=outcome, reason=f"{rows} held-out rows", observed=rows, limit=gate.min_rows
    )


def _classes(question: Question, gate: Gate) -> Finding:
    distinct, fewest = len(np.unique(question.labels)), metrics.rarer(question.labels, question.task)
    fine = distinct >= 2 and fewest >= gate.min_class_rows
    reason = f"{fewest} held-out labels of the rarer class" if question.task == "binary" else "held-out labels vary"
    return Finding(
        check="holdout_labels",
        outcome=Outcome.PASS if fine else Outcome.INSUFFICIENT,
        reason=reason if distinct >= 2 else "held-out labels are all the same",
        observed=fewest,
        limit=gate.min_class_rows,
    )


def _finite(check: str, values: FloatArray) -> Finding:
    bad = int(np.count_nonzero(~np.isfinite(values)))
    return Finding(
        check=check,
        outcome=Outcome.PASS if bad == 0 else Outcome.ERROR,
        reason=f"{bad} of {len(values)} predictions are not finite",
        observed=bad,
        limit=0,
    )


def _overlap(question: Question, gate: Gate) -> Finding:
    limit = question.usual_share + gate.overlap_slack
    return Finding(
        check="leakage",
        outcome=Outcome.PASS if question.seen_share <= limit else Outcome.FAIL,
        reason="share of held-out rows that stand among the rows before them too",
        observed=question.seen_share,
        limit=limit,
    )


def _superior(result: Comparison, use: int, alpha: float) -> Finding:
    check = f"superior:{result.metric}"
    if not math.isfinite(result.p_value):
        reason = f"{result.metric} cannot be compared on {result.n} rows"
        return Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=reason, limit=alpha)
    return Finding(
        check=check,
        outcome=Outcome.PASS if result.p_value <= alpha else Outcome.FAIL,
        reason=f"{result.metric} {result.new:.4g} against the champion's {result.old:.4g} on {result.n} rows, gain "
        f"{result.gain:+.4g}; p by {result.method}; use {use} of these rows",
        observed=result.p_value,
        limit=alpha,
    )


def _not_inferior(result: Comparison, gate: Gate) -> Finding:
    check = f"not_inferior:{result.metric}"
    margin = gate.guard_margin * abs(result.old)
    if not (math.isfinite(result.lower) and math.isfinite(margin)):
        reason = f"{result.metric} cannot be compared on {result.n} rows"
        return Finding(check=check, outcome=Outcome.INSUFFICIENT, reason=reason)
    return Finding(
        check=check,
        outcome=Outcome.PASS if result.lower > -margin else Outcome.FAIL,
        reason=f"{result.metric} {result.new:.4g} against the champion's {result.old:.4g}; lower bound of the gain by "
        f"{result.method}",
        observed=result.lower,
        limit=-margin,
    )

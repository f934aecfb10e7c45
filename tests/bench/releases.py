"""Simulated releases: candidates of known worth before the real gate.

Champion and candidate are calibrated and binormal on the same rows, with a known AUC each and a known correlation of
their scores within a class. Every release has a holdout of its own, used once: the case in which the gate spends most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from bench.simulate import FloatArray, probability, separation

from hpcretrain.policy.types import Gate
from hpcretrain.policy.validate import Question, judge
from hpcretrain.records import Outcome


@dataclass(frozen=True)
class Contest:
    """A holdout, and how champion and candidate do on it."""

    gain: float
    """AUC of the candidate less that of the champion."""
    rows: int = 5_000
    correlation: float = 0.9
    positives: float = 0.2
    champion_auc: float = 0.75


def promoted(contest: Contest, gate: Gate, seed: int) -> bool:
    """Whether the gate lets the candidate replace the champion: AUC superior, log loss not inferior."""
    labels, champion, candidate = draw(contest, np.random.default_rng(seed))
    question = Question(
        labels=labels,
        champion=champion,
        candidate=candidate,
        task="binary",
        primary="auc",
        guards=("log_loss",),
        use=1,
        seen_share=0.0,
        usual_share=0.0,
    )
    return Outcome.worst(finding.outcome for finding in judge(question, gate)) is Outcome.PASS


def draw(contest: Contest, rng: np.random.Generator) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels, and the champion's and the candidate's predictions; each of shape (rows,)."""
    labels = (rng.random(contest.rows) < contest.positives).astype(np.float64)
    shared, *own = rng.normal(size=(3, contest.rows))

    def predicted(auc: float, noise: FloatArray) -> FloatArray:
        # Two scores that share this much of their variance correlate this much.
        scores = np.sqrt(contest.correlation) * shared + np.sqrt(1 - contest.correlation) * noise
        return probability(scores + separation(auc) * labels, auc, contest.positives)

    champion, candidate = own
    better = contest.champion_auc + contest.gain
    return labels, predicted(contest.champion_auc, champion), predicted(better, candidate)

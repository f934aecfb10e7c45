"""Contest: pilots of several windows compete, each also averaged with the fits of recent releases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hpcretrain.errors import TrainingError
from hpcretrain.policy.select import Contest, select
from hpcretrain.policy.types import WindowName
from hpcretrain.ports import FloatArray, Rows
from hpcretrain.records import Candidate, Decision, Finding, Job, Outcome, Purpose, Stage, Verdict
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.plan import Plan, draw
from hpcretrain.steps.train import average, order, train


@dataclass(frozen=True)
class Won:
    """The winner, which goes to the gate; how its rows were drawn; the fits that it is averaged with; the verdict."""

    candidate: Candidate
    window: WindowName
    others: tuple[Candidate, ...]
    verdict: Verdict


def compete(desk: Desk, decision: Decision, plan: Plan) -> Won | Verdict:
    """Train a pilot for each window and record which promises most; the verdict alone where none promises a gain."""
    pilots, jobs, failures = _pilots(desk, decision, plan)
    if not pilots:
        return _record(desk, jobs[0].id, tuple(job.id for job in jobs), Outcome.ERROR, tuple(failures), plan)
    others = recent_fits(desk)
    # The fits to average with are the champion's and older ones. Where it has learned rows of the selection, an average
    # would be measured on its own training rows: pilots compete alone, and the gate judges the winner's average.
    learned = desk.history.champion.window.end > plan.selection.start
    contestants: dict[str, tuple[WindowName, tuple[Candidate, ...]]] = {str(name): (name, ()) for name in pilots}
    if others and not learned:
        contestants |= {f"{name}, averaged": (name, others) for name in pilots}
    ranking = select(
        Contest(
            labels=desk.table.labels(plan.selection),
            champion=desk.predictor.predict(desk.history.champion.model_digest, plan.selection),
            contestants={
                contestant: _mean(desk, (pilots[name], *with_), plan.selection)
                for contestant, (name, with_) in contestants.items()
            },
            primary=desk.terms.config.model.primary_metric,
            guards=desk.terms.config.model.guard_metrics,
            learned=learned,
        ),
        desk.terms.policy.gate,
    )
    name, with_ = contestants[ranking.winner or next(iter(contestants))]
    with_ = others if learned else with_
    promising = ranking.outcome is Outcome.PASS
    winner = average(desk, pilots[name], with_) if promising else pilots[name]
    answers = tuple(dict.fromkeys((*(each.id for each in pilots.values()), winner.id)))
    verdict = _record(desk, winner.id, answers, ranking.outcome, (*failures, *ranking.findings), plan)
    return Won(winner, name, with_, verdict) if promising else verdict


def recent_fits(desk: Desk) -> tuple[Candidate, ...]:
    """The newly trained fits of the last releases, newest first, but for those that were rolled back."""
    known, releases = desk.history.known, desk.history.releases
    bad = {cycle.release.id for cycle in desk.history.cycles if cycle.rollback and cycle.release}
    fits: dict[str, Candidate] = {}
    for release in reversed(releases):
        candidate = known[release.candidate]
        assert isinstance(candidate, Candidate)
        fit = known[candidate.members[0]] if candidate.members else candidate
        assert isinstance(fit, Candidate)
        if release.id not in bad:
            fits.setdefault(fit.id, fit)
    return tuple(fits.values())[: desk.terms.policy.training.average_with]


def _pilots(desk: Desk, decision: Decision, plan: Plan) -> tuple[dict[WindowName, Candidate], list[Job], list[Finding]]:
    """Pilots by window, the jobs that were ordered, and a finding for each that failed."""
    training = desk.terms.policy.training
    pilots: dict[WindowName, Candidate] = {}
    jobs: list[Job] = []
    failures = []
    for name in training.windows:
        drawn = draw(desk, plan.training, name, training.pilot_rows)
        # The whole history always has enough rows: the decision saw to that.
        if len(drawn.rows) < desk.terms.policy.gate.min_rows and (jobs or name != training.windows[-1]):
            continue
        jobs.append(order(desk, drawn, Purpose.PILOT, (decision.id,)))
        try:
            pilots[name] = train(desk, jobs[-1], drawn)
        except TrainingError as error:
            failures.append(Finding(check=f"training:{name}", outcome=Outcome.ERROR, reason=error.reason))
    return pilots, jobs, failures


def _mean(desk: Desk, members: tuple[Candidate, ...], rows: Rows) -> FloatArray:
    predictions: FloatArray = np.mean([desk.predictor.predict(each.model_digest, rows) for each in members], axis=0)
    return predictions


def _record(
    desk: Desk, candidate: str, answers: tuple[str, ...], outcome: Outcome, findings: tuple[Finding, ...], plan: Plan
) -> Verdict:
    verdict = Verdict(
        model=desk.terms.config.model.name,
        at=desk.now,
        answers=(*answers, desk.history.champion.id),
        stage=Stage.SELECTION,
        candidate=candidate,
        twin=None,
        outcome=outcome,
        holdout=desk.slice(plan.selection, labels=True),
        use=0,
        findings=findings,
        readings=(),
    )
    desk.book.enter(verdict)
    return verdict

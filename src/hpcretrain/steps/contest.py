"""Contest: pilots of several windows compete, each also averaged with the fits of recent releases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from hpcretrain.errors import TrainingError
from hpcretrain.history import History
from hpcretrain.policy.select import CONTEST, Contest, Round, select
from hpcretrain.policy.types import WindowName
from hpcretrain.ports import FloatArray, Rows
from hpcretrain.records import Candidate, Decision, Finding, Job, Outcome, Purpose, Stage, Verdict
from hpcretrain.report.lineage import lineage
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.plan import Plan, draw
from hpcretrain.steps.train import Order, average, order, train


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
    others = recent_fits(desk.history, desk.terms.policy.training.average_with)
    # The fits to average with are the champion's and older ones. Where it has learned rows of the selection, an average
    # would be measured on its own training rows: pilots compete alone, and the gate judges the winner's average.
    learned = desk.history.learned[1] > plan.selection.start
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
            task=desk.terms.config.model.task,
            primary=desk.terms.config.model.primary_metric,
            guards=desk.terms.config.model.guard_metrics,
            learned=learned,
            pilots=tuple(str(name) for name in pilots),
            earlier=earlier_rounds(desk.history, plan.holdout.start),
        ),
        desk.terms.policy,
    )
    name, with_ = contestants[ranking.winner or next(iter(contestants))]
    with_ = others if learned else with_
    promising = ranking.outcome is Outcome.PASS
    winner = average(desk, pilots[name], with_) if promising else pilots[name]
    answers = tuple(dict.fromkeys((*(each.id for each in pilots.values()), winner.id)))
    verdict = _record(desk, winner.id, answers, ranking.outcome, (*failures, *ranking.findings), plan)
    return Won(winner, name, with_, verdict) if promising else verdict


def recent_fits(history: History, count: int) -> tuple[Candidate, ...]:
    """The newly trained fits of the last releases, newest first, but for those that were rolled back."""
    known, releases = history.known, history.releases
    bad = {cycle.release.id for cycle in history.cycles if cycle.rollback and cycle.release}
    fits: dict[str, Candidate] = {}
    for release in reversed(releases):
        candidate = known[release.candidate]
        assert isinstance(candidate, Candidate)
        fit = known[candidate.members[0]] if candidate.members else candidate
        assert isinstance(fit, Candidate)
        if release.id not in bad:
            fits.setdefault(fit.id, fit)
    return tuple(fits.values())[:count]


def _pilots(desk: Desk, decision: Decision, plan: Plan) -> tuple[dict[WindowName, Candidate], list[Job], list[Finding]]:
    """Pilots by window, the jobs that were ordered, and a finding for each window that gave no pilot."""
    training, enough = desk.terms.policy.training, desk.terms.policy.gate.min_rows
    orders: dict[WindowName, Order] = {}
    failures = []
    for name in training.windows:
        drawn = draw(desk, plan.training, name, training.pilot_rows)
        # The whole history always has enough rows: the decision saw to that.
        if len(drawn.rows) < enough and (orders or name != training.windows[-1]):
            reason = f"{len(drawn.rows)} rows in the window, too few for a pilot"
            failures.append(_no_pilot(name, Outcome.INSUFFICIENT, reason, len(drawn.rows), enough))
            continue
        orders[name] = order(desk, drawn, Purpose.PILOT, decision.priority_class, (decision.id,))
    pilots: dict[WindowName, Candidate] = {}
    jobs = [job for job, _ in orders.values()]
    for name, job, pilot in zip(orders, jobs, train(desk, list(orders.values())), strict=True):
        if isinstance(pilot, TrainingError):
            failures.append(_no_pilot(name, Outcome.ERROR, pilot.reason))
            desk.registry.fail(job, pilot.reason, lineage(desk.history, job))
        else:
            pilots[name] = pilot
    return pilots, jobs, failures


def _no_pilot(
    name: WindowName, outcome: Outcome, reason: str, observed: int | None = None, limit: int | None = None
) -> Finding:
    return Finding(check=f"training:{name}", outcome=outcome, reason=reason, observed=observed, limit=limit)


def earlier_rounds(history: History, before: datetime) -> tuple[Round, ...]:
    """What earlier selections measured on rows before the holdout, oldest first: it must not have chosen already."""
    return tuple(
        Round(
            {
                finding.check.removeprefix(CONTEST): float(finding.observed)
                for finding in verdict.findings
                if finding.check.startswith(CONTEST) and isinstance(finding.observed, int | float)
            },
            verdict.holdout.rows,
        )
        for verdict in history.verdicts
        if verdict.stage is Stage.SELECTION and verdict.holdout is not None and verdict.holdout.end <= before
    )


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

"""Contest: pilots of windows and of a tuned search compete, each also averaged with the fits of recent releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle

import numpy as np

from hpcretrain.canonical import sha256
from hpcretrain.errors import TrainingError
from hpcretrain.history import History
from hpcretrain.policy import search
from hpcretrain.policy.select import CONTEST, Contest, Round, select
from hpcretrain.policy.types import WindowName
from hpcretrain.ports import FloatArray, Rows
from hpcretrain.records import Candidate, Decision, Finding, Job, Outcome, Purpose, Stage, Verdict
from hpcretrain.report.lineage import lineage
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.plan import Draw, Plan, draw
from hpcretrain.steps.train import average, canonicals, in_use, order, train


@dataclass(frozen=True)
class Won:
    """The winner, which goes to the gate; its fit; how its rows were drawn; what it is averaged with; the verdict."""

    candidate: Candidate
    fit: Candidate
    window: WindowName
    others: tuple[Candidate, ...]
    verdict: Verdict


def compete(desk: Desk, decision: Decision, plan: Plan) -> Won | Verdict:
    """Train the pilots and record which promises most; the verdict alone where none promises a gain."""
    pilots, jobs, failures = _pilots(desk, decision, plan)
    if not pilots:
        return _record(desk, jobs[0].id, tuple(job.id for job in jobs), Outcome.ERROR, tuple(failures), plan)
    others = recent_fits(desk.history, desk.terms.policy.training.average_with)
    # The fits to average with are the champion's and older ones. Where it has learned rows of the selection, an average
    # would be measured on its own training rows: pilots compete alone, and the gate judges the winner's average.
    learned = desk.history.learned[1] > plan.selection.start
    contestants: dict[str, tuple[str, tuple[Candidate, ...]]] = {name: (name, ()) for name in pilots}
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
            # What a search tries is tried once: it is no measure of what is usual, unless there is nothing else.
            pilots=tuple(name for name in pilots if name in desk.terms.policy.training.windows) or tuple(pilots),
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
    if not promising:
        return verdict
    window = next(each for each in desk.terms.policy.training.windows if each == pilots[name].window.name)
    return Won(winner, pilots[name], window, with_, verdict)


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


def _pilots(desk: Desk, decision: Decision, plan: Plan) -> tuple[dict[str, Candidate], list[Job], list[Finding]]:
    """Pilots by name, the jobs that were ordered, and a finding for each that gave no pilot."""
    training, enough = desk.terms.policy.training, desk.terms.policy.gate.min_rows
    draws: dict[WindowName, Draw] = {}
    failures = []
    for name in training.windows:
        drawn = draw(desk, plan.training, name, training.pilot_rows)
        # The whole history always has enough rows: the decision saw to that.
        if len(drawn.rows) < enough and (draws or name != training.windows[-1]):
            reason = f"{len(drawn.rows)} rows in the window, too few for a pilot"
            failures.append(_no_pilot(name, Outcome.INSUFFICIENT, reason, len(drawn.rows), enough))
            continue
        draws[name] = drawn
    usual = in_use(desk)
    wanted: dict[str, tuple[Draw, Mapping[str, str]]] = {name: (drawn, usual) for name, drawn in draws.items()}
    wanted |= _trials(desk, decision, draws, usual)
    orders = [
        order(desk, drawn, Purpose.PILOT, decision.priority_class, (decision.id,), params)
        for drawn, params in wanted.values()
    ]
    pilots: dict[str, Candidate] = {}
    jobs = [job for job, _ in orders]
    for contestant, job, pilot in zip(wanted, jobs, train(desk, orders), strict=True):
        if isinstance(pilot, TrainingError):
            failures.append(_no_pilot(contestant, Outcome.ERROR, pilot.reason))
            desk.registry.fail(job, pilot.reason, lineage(desk.history, job))
        else:
            pilots[contestant] = pilot
    return pilots, jobs, failures


def _trials(
    desk: Desk, decision: Decision, draws: Mapping[WindowName, Draw], usual: Mapping[str, str]
) -> dict[str, tuple[Draw, Mapping[str, str]]]:
    """What a tuned search tries, by name: each set of parameters on one of the windows, in turn."""
    count, space = desk.terms.policy.training.trials, desk.terms.config.model.search
    if count is None:
        return {}
    seed = int(sha256(f"{desk.terms.config.model.seed} {decision.id}")[:16], 16)
    drawn = search.trials(space, count, seed)
    tried = {f"{name}, {search.said(each)}": (name, each) for name, each in zip(cycle(draws), drawn, strict=False)}
    params = {name: (draws[window], {**usual, **canonicals(each)}) for name, (window, each) in tried.items()}
    # What is in use competes already.
    return {name: (rows, each) for name, (rows, each) in params.items() if each != usual}


def _no_pilot(
    name: str, outcome: Outcome, reason: str, observed: int | None = None, limit: int | None = None
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

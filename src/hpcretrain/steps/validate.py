"""Validate: let candidate and champion meet on held-out rows, and check a refit against its judged twin."""

from __future__ import annotations

import numpy as np

from hpcretrain.errors import TrainingError
from hpcretrain.policy import validate as policy
from hpcretrain.ports import HashArray, Rows
from hpcretrain.records import Candidate, Finding, Job, Outcome, Stage, Verdict
from hpcretrain.report.holdout import meet, verdict_numbers
from hpcretrain.report.lineage import lineage
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.plan import Plan
from hpcretrain.steps.show import show


def validate(desk: Desk, candidate: Candidate, plan: Plan, selected: Verdict) -> Verdict:
    """Record whether the winner of a selection may replace the champion."""
    champion, table = desk.history.champion, desk.table
    labels = table.labels(plan.holdout)
    predictions = desk.predictor.predict(candidate.model_digest, plan.holdout)
    model = desk.terms.config.model
    use = 1 + _earlier_uses(desk, plan.holdout)
    question = policy.Question(
        labels=labels,
        champion=desk.predictor.predict(champion.model_digest, plan.holdout),
        candidate=predictions,
        task=model.task,
        primary=model.primary_metric,
        guards=model.guard_metrics,
        use=use,
        seen_share=_share_seen(_contents(desk, plan.holdout), _just_before(desk, plan.holdout)),
        usual_share=usual_share(desk),
    )
    findings = policy.judge(question, desk.terms.policy.gate)
    verdict = Verdict(
        model=model.name,
        at=desk.now,
        answers=(candidate.id, champion.id, selected.id),
        stage=Stage.GATE,
        candidate=candidate.id,
        twin=None,
        outcome=Outcome.worst(finding.outcome for finding in findings),
        holdout=desk.slice(plan.holdout, labels=True),
        use=use,
        findings=findings,
        readings=policy.readings(labels, predictions, model.task, desk.metrics, desk.terms.policy.gate),
    )
    desk.book.enter(verdict)
    _publish(desk, verdict, question)
    return verdict


def validate_refit(desk: Desk, refit: Candidate, judged: Verdict, twin: Candidate, plan: Plan) -> Verdict:
    """Record whether a refit stands in for the twin that was judged."""
    labels = desk.table.labels(plan.holdout)
    findings = policy.check_refit(
        labels,
        desk.predictor.predict(twin.model_digest, plan.holdout),
        desk.predictor.predict(refit.model_digest, plan.holdout),
        desk.metrics,
        desk.terms.policy.gate,
    )
    verdict = Verdict(
        model=refit.model,
        at=desk.now,
        answers=(refit.id, desk.history.champion.id),
        stage=Stage.REFIT,
        candidate=refit.id,
        twin=twin.id,
        outcome=Outcome.worst(finding.outcome for finding in findings),
        holdout=judged.holdout,
        use=judged.use,
        findings=findings,
        readings=(),
    )
    desk.book.enter(verdict)
    _publish(desk, verdict)
    return verdict


def failed(desk: Desk, job: Job, error: TrainingError) -> Verdict:
    """Record that a full fit ended without a model."""
    finding = Finding(check="training", outcome=Outcome.ERROR, reason=error.reason)
    verdict = Verdict(
        model=job.model,
        at=desk.now,
        answers=(job.id, desk.history.champion.id),
        stage=Stage.REFIT,
        candidate=job.id,
        twin=None,
        outcome=Outcome.ERROR,
        holdout=None,
        use=0,
        findings=(finding,),
        readings=(),
    )
    desk.book.enter(verdict)
    desk.registry.fail(job, error.reason, lineage(desk.history, job))
    show(desk, verdict)
    return verdict


def _earlier_uses(desk: Desk, holdout: Rows) -> int:
    """How many verdicts were given on rows of this holdout before, by the hashes of rows with time and label."""
    mine = desk.table.hashes(holdout, times=True, labels=True)
    uses = 0
    for verdict in desk.history.verdicts:
        if verdict.holdout is None or verdict.stage is not Stage.GATE:
            continue
        earlier = desk.table.labeled(verdict.holdout.start, verdict.holdout.end)
        uses += bool(np.isin(desk.table.hashes(earlier, times=True, labels=True), mine).any())
    return uses


def _contents(desk: Desk, rows: Rows) -> HashArray:
    return desk.table.hashes(rows, times=False, labels=True)


def _share_seen(rows: HashArray, learned: HashArray) -> float:
    return float(np.isin(rows, learned).mean()) if len(rows) else 0.0


def usual_share(desk: Desk) -> float:
    """The share of rows of the reference's last quarter that stand in its earlier part too: what is usual here."""
    rows = _contents(desk, desk.table.labeled(desk.start, desk.terms.reference_until))
    return _share_seen(rows[_earlier_part(len(rows)) :], rows[: _earlier_part(len(rows))])


def _just_before(desk: Desk, holdout: Rows) -> HashArray:
    """Contents of as many rows before a holdout as `usual_share` looks at: among more, more are alike by chance."""
    rows = desk.table.labeled(desk.start, holdout.start, desk.history.quarantine)
    count = _earlier_part(len(desk.table.labeled(desk.start, desk.terms.reference_until)))
    return _contents(desk, rows)[-count:]


def _earlier_part(rows: int) -> int:
    return rows * 3 // 4


def _publish(desk: Desk, verdict: Verdict, question: policy.Question | None = None) -> None:
    """Show a verdict; `question` has the arrays of one that was given on a comparison with the champion."""
    numbers = {}
    if question is not None:
        meeting = meet(question.labels, question.champion, question.candidate, question.task, desk.metrics)
        numbers = verdict_numbers(verdict, meeting)
        desk.registry.picture(verdict.candidate, meeting)
    desk.registry.measure(verdict.candidate, numbers, {"verdict": verdict.outcome.value, "verdict_id": verdict.id})
    show(desk, verdict)

"""One tick: everything that is due for a model at the clock's time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from hpcretrain.cycle import Cycle
from hpcretrain.errors import InputError, TrainingError
from hpcretrain.policy import scope
from hpcretrain.policy.approve import awaited
from hpcretrain.policy.emergency import holding
from hpcretrain.policy.validate import readings
from hpcretrain.ports import Table
from hpcretrain.records import (
    RULE_VERSION,
    Action,
    Activation,
    Asked,
    Assessment,
    Baseline,
    Candidate,
    Closing,
    Decision,
    Outcome,
    PriorityClass,
    Purpose,
    Stage,
    Verdict,
)
from hpcretrain.steps.ask import ask_to_release
from hpcretrain.steps.assess import assess, request
from hpcretrain.steps.contest import Won, compete
from hpcretrain.steps.decide import decide
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.observe import observe
from hpcretrain.steps.outside import paused
from hpcretrain.steps.plan import Plan, draw, everything, plan, whole
from hpcretrain.steps.release import first, promote
from hpcretrain.steps.review import close
from hpcretrain.steps.train import average, order, train, trained_with
from hpcretrain.steps.validate import failed, validate, validate_refit
from hpcretrain.steps.watch import watch

MIN_REFERENCE_ROWS = 100


def require_reference(table: Table, start: datetime, until: datetime) -> None:
    """Refuse a reference that is too small, before anything is written; the clock is at `until`.

    Raises:
        InputError: It holds too few labeled rows.
    """
    rows = len(table.labeled(start, until))
    if rows < MIN_REFERENCE_ROWS:
        raise InputError(
            f"{rows} rows before backtest.reference_until have labels by then; a first champion needs at least "
            f"{MIN_REFERENCE_ROWS}: set it later"
        )


def begin(desk: Desk) -> None:
    """Freeze the reference and put the first champion to serve.

    Raises:
        TrainingError: The recipe could not be trained on the reference.
    """
    reference = desk.table.rows(desk.start, desk.terms.reference_until)
    matured = everything(desk)
    baseline = Baseline(
        model=desk.terms.config.model.name,
        at=desk.now,
        config_digest=desk.terms.config_digest,
        policy_digest=desk.terms.policy_digest,
        rule_version=RULE_VERSION,
        contract_digest=desk.profiles.freeze(reference),
        batch_s=round(desk.terms.config.backtest.observe_every.total_seconds()),
        reference=desk.slice(reference, labels=False),
    )
    first_policy = Activation(
        model=baseline.model,
        at=desk.now,
        answers=(baseline.id,),
        policy_digest=desk.terms.policy_digest,
        policy=desk.terms.policy_text,
        rule_version=RULE_VERSION,
        actor=None,
    )
    desk.book.enter(baseline, first_policy)
    # A quarter of the reference, at most, judges the first champion's twin: its readings are the honest start.
    cut = desk.table.newest(matured, min(len(matured) // 4, desk.terms.policy.gate.max_rows))
    early, late = whole(desk, desk.table.labeled(desk.start, cut)), desk.table.labeled(cut, desk.matured_until)
    orders = [
        order(desk, draw, purpose, PriorityClass.BACKGROUND, (baseline.id,))
        for draw, purpose in ((early, Purpose.JUDGE), (whole(desk, matured), Purpose.REFIT))
    ]
    twin, champion = _whole(train(desk, orders))
    predictions = desk.predictor.predict(twin.model_digest, late)
    if not np.isfinite(predictions).all():
        raise TrainingError("the first model gives predictions that are not finite; look at the recipe")
    labels, task = desk.table.labels(late), desk.terms.config.model.task
    first(desk, twin, champion, readings(labels, predictions, task, desk.metrics, desk.terms.policy.gate))


def _whole(fits: list[Candidate | TrainingError]) -> list[Candidate]:
    for fit in fits:
        if isinstance(fit, TrainingError):
            raise fit
    return [fit for fit in fits if isinstance(fit, Candidate)]


@dataclass(frozen=True)
class Run:
    """A decision to run, its cycle, and the rows that it was made on."""

    cycle: Cycle
    decision: Decision
    split: Plan


@dataclass(frozen=True)
class Rejected:
    """What came of a training that is not released; `by` is the verdict that ended it."""

    by: Verdict


@dataclass(frozen=True)
class Passed:
    """What came of a training that is released: the verdict of the gate, what it judged, the full fit if as good."""

    judged: Verdict
    twin: Candidate
    refit: tuple[Verdict, Candidate] | None


def tick(desk: Desk) -> None:
    """Observe, assess, watch, request, decide; and where the decision is to run: train, validate, release."""
    if run := consider(desk):
        conclude(desk, run.cycle, retrain(desk, run.decision, run.split))


def consider(desk: Desk) -> Run | None:
    """Observe, assess, watch, request and decide; the decision, if it is to run."""
    assessment = look(desk)
    return judge(desk, assessment) if assessment else None


def look(desk: Desk) -> Assessment | None:
    """Observe, assess and watch; the assessment, unless the release that it is about was rolled back."""
    observe(desk)
    assessment = assess(desk)
    watched = desk.history.watched
    return None if watched is not None and watch(desk, watched) else assessment


def judge(desk: Desk, assessment: Assessment) -> Run | None:
    """Request where the assessment asks for it, and decide about the open request; the decision, if it is to run."""
    request(desk, assessment)
    cycle = desk.history.open_cycle
    return settle(desk, cycle, assessment) if cycle else None


def settle(desk: Desk, cycle: Cycle, assessment: Assessment) -> Run | None:
    """Decide about an open request; the decision, if it is to run. It then takes the place of a lesser training."""
    split = plan(desk, desk.history.learned[1])
    lesser = desk.history.training
    decision = decide(desk, cycle, assessment, split)
    if decision.action is not Action.RUN:
        return None
    if lesser is not None:
        close(desk, lesser, Closing.SUPERSEDED, decision.id)
    return Run(cycle, decision, split)


def retrain(desk: Desk, decision: Decision, split: Plan) -> Passed | Rejected:
    """Let pilots compete, judge the winner against the champion, and fit it in full; on the decision's rung."""
    desk = on_rung(desk, decision)
    won = compete(desk, decision, split)
    if isinstance(won, Verdict):
        return Rejected(won)
    twin = won.candidate
    desk.registry.alias(twin.id, "challenger")
    judged = validate(desk, twin, split, won.verdict)
    if judged.outcome is not Outcome.PASS:
        return Rejected(judged)
    return Passed(judged, twin, _fit_in_full(desk, decision, won, judged, split))


def on_rung(desk: Desk, decision: Decision) -> Desk:
    """The desk with the rules of training of the rung that a decision chose."""
    rules = desk.terms.policy.training
    named = next((each.observed for each in decision.findings if each.check == scope.CHECK), None)
    rung = next((each for each in rules.rungs or () if each.name == named), None)
    if rung is None:
        return desk
    policy = desk.terms.policy.model_copy(update={"training": scope.on(rules, rung)})
    return replace(desk, terms=replace(desk.terms, policy=policy))


def conclude(desk: Desk, cycle: Cycle, came: Passed | Rejected) -> None:
    """Release what passed, once it is approved where that is called for; close the cycle of what did not."""
    if isinstance(came, Rejected):
        close(desk, cycle, Closing.REJECTED, came.by.id)
        return
    candidate = came.refit[1] if came.refit else came.twin
    rules = desk.terms.policy.approvals
    if broken := holding(cycle.broken, desk.now):
        promote(desk, came.judged, came.twin, came.refit, (broken,))
        return
    priority_class = desk.terms.policy.classes.known(cycle.decisions[-1].priority_class)
    if rules is None or not desk.attended or priority_class not in rules.release:
        promote(desk, came.judged, came.twin, came.refit)
        return
    ask_to_release(desk, cycle, came.judged, candidate)


def conclude_asked(desk: Desk, cycle: Cycle) -> bool:
    """Release what was approved, from its records alone, or close what was denied or expired; whether it was asked."""
    ask, approval = cycle.asked(Asked.RELEASE) or (None, None)
    if ask is None:
        return False
    if paused(desk, cycle):
        return True
    said, broken = awaited(ask, approval, desk.now).outcome, holding(cycle.broken, desk.now)
    if said is Outcome.PASS or broken:
        [judged] = [verdict for verdict in cycle.verdicts if verdict.id in ask.answers]
        twin, served = cycle.candidates[judged.candidate], cycle.candidates[ask.subject]
        refits = [each for each in cycle.verdicts if each.stage is Stage.REFIT and each.candidate == served.id]
        promote(
            desk,
            judged,
            twin,
            (refits[-1], served) if refits else None,
            (broken,) if broken else cycle.approvals[ask.id],
        )
    elif said is Outcome.FAIL:
        close(desk, cycle, Closing.REJECTED, approval.id if approval else ask.id)
    return True


def _fit_in_full(
    desk: Desk, decision: Decision, won: Won, judged: Verdict, split: Plan
) -> tuple[Verdict, Candidate] | None:
    """The full fit, on the holdout too: the newest rows are too good to leave out of what serves.

    None where it failed or is worse: the judged twin stands by itself, since it is what was tested.
    """
    drawn = draw(desk, everything(desk), won.window, desk.terms.policy.training.full_rows)
    params = trained_with(desk.history, won.fit)
    refit = order(desk, drawn, Purpose.REFIT, decision.priority_class, (judged.id,), params)
    [fit] = train(desk, [refit])
    if isinstance(fit, TrainingError):
        failed(desk, refit[0], fit)
        return None
    candidate = average(desk, fit, won.others)
    verdict = validate_refit(desk, candidate, judged, won.candidate, split)
    return (verdict, candidate) if verdict.outcome is Outcome.PASS else None

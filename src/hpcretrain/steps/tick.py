"""One tick: everything that is due for a model at the clock's time."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from hpcretrain.errors import InputError, TrainingError
from hpcretrain.history import Cycle
from hpcretrain.policy.validate import readings
from hpcretrain.ports import Table
from hpcretrain.records import RULE_VERSION, Action, Baseline, Closing, Decision, Outcome, Purpose
from hpcretrain.steps.assess import assess, request
from hpcretrain.steps.decide import decide
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.observe import observe
from hpcretrain.steps.plan import Plan, everything, plan
from hpcretrain.steps.release import first, promote
from hpcretrain.steps.review import close
from hpcretrain.steps.train import order, train
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
        reference=desk.slice(reference, labels=False),
    )
    desk.book.enter(baseline)
    # A quarter of the reference, at most, judges the first champion's twin: its readings are the honest start.
    cut = desk.table.newest(matured, min(len(matured) // 4, desk.terms.policy.gate.max_rows))
    split = Plan(desk.table.labeled(desk.start, cut), desk.table.labeled(cut, desk.matured_until))
    twin = train(desk, order(desk, split.training, Purpose.JUDGE, (baseline.id,)), split.training)
    champion = train(desk, order(desk, matured, Purpose.REFIT, (baseline.id,)), matured)
    predictions = desk.predictor.predict(twin.model_digest, split.holdout)
    if not np.isfinite(predictions).all():
        raise TrainingError("the first model gives predictions that are not finite; look at the recipe")
    labels, task = desk.table.labels(split.holdout), desk.terms.config.model.task
    first(desk, twin, champion, readings(labels, predictions, task, desk.metrics, desk.terms.policy.gate))


def tick(desk: Desk) -> None:
    """Observe, assess, watch, request, decide; and where the decision is to run: train, validate, release."""
    observe(desk)
    assessment = assess(desk)
    watched = desk.history.watched
    if watched is not None and watch(desk, watched):
        return
    request(desk, assessment)
    cycle = desk.history.open_cycle
    if cycle is None:
        return
    split = plan(desk, desk.history.champion.window.end)
    decision = decide(desk, cycle, assessment, split)
    if decision.action is Action.RUN:
        retrain(desk, cycle, decision, split)


def retrain(desk: Desk, cycle: Cycle, decision: Decision, split: Plan) -> None:
    """Train a candidate, judge it, refit it if the policy says so, and release what passed."""
    job = order(desk, split.training, Purpose.JUDGE, (decision.id,))
    try:
        twin = train(desk, job, split.training)
    except TrainingError as error:
        close(desk, cycle, Closing.REJECTED, failed(desk, job, error).id)
        return
    desk.registry.alias(twin.id, "challenger")
    judged = validate(desk, twin, split)
    if judged.outcome is not Outcome.PASS:
        close(desk, cycle, Closing.REJECTED, judged.id)
        return
    refit = None
    if desk.terms.policy.training.refit:
        rows = everything(desk)
        job = order(desk, rows, Purpose.REFIT, (judged.id,))
        try:
            candidate = train(desk, job, rows)
        except TrainingError as error:
            # The judged twin stands by itself: it is what was tested.
            failed(desk, job, error)
        else:
            verdict = validate_refit(desk, candidate, judged, twin, split)
            refit = (verdict, candidate) if verdict.outcome is Outcome.PASS else None
    promote(desk, judged, twin, refit)

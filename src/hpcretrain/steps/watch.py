"""Watch: look at a fresh release on the rows that it served; keep it, watch on, or roll back."""

from __future__ import annotations

from hpcretrain.cycle import Cycle
from hpcretrain.policy import watch as policy
from hpcretrain.policy.review import gain
from hpcretrain.records import Closing, Outcome, Watch
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.release import roll_back
from hpcretrain.steps.review import close


def watch(desk: Desk, cycle: Cycle) -> bool:
    """Record one look at the release of a cycle; whether it was rolled back."""
    release = desk.history.champion
    before = desk.history.release(release.previous or "")
    model = desk.terms.config.model
    rows = desk.table.labeled(release.at, max(desk.matured_until, release.at), desk.history.quarantine)
    sight = policy.Sight(
        labels=desk.table.labels(rows),
        released=desk.predictor.predict(release.model_digest, rows),
        previous=desk.predictor.predict(before.model_digest, rows),
        primary=model.primary_metric,
        guards=model.guard_metrics,
        look=1 + cycle.looks,
    )
    outcome, findings = policy.look(sight, desk.terms.policy.watch)
    record = Watch(
        model=model.name,
        at=desk.now,
        answers=(release.id,),
        look=sight.look,
        outcome=outcome,
        slot=desk.slice(rows, labels=True),
        findings=findings,
    )
    desk.book.enter(record)
    if outcome in (Outcome.PASS, Outcome.FAIL):
        worth = gain(sight.labels, sight.released, sight.previous, model.primary_metric)
        if outcome is Outcome.FAIL:
            roll_back(desk, record)
        close(desk, cycle, Closing.KEPT if outcome is Outcome.PASS else Closing.ROLLED_BACK, record.id, worth)
    return outcome is Outcome.FAIL

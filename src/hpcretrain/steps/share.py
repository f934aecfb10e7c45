"""Share: look at what homes share before a decision, and tell the others afterwards how this one stands."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from hpcretrain import claims
from hpcretrain.backlog import Entry, Means, Shared
from hpcretrain.errors import InputError
from hpcretrain.policy import headroom, windows
from hpcretrain.policy.types import Admission, Windows
from hpcretrain.records import Family, Finding, Outcome, PriorityClass
from hpcretrain.steps.desk import Desk

ALONE = "this home"
_WINDOW, _QUARTERS, _LONGEST_H = "window", 4, 24.0


@contextmanager
def sharing(desk: Desk, priority_class: PriorityClass) -> Iterator[Shared | None]:
    """What is shared, while no other home decides; None where nothing is shared, and in a replay."""
    rules = desk.terms.policy.admission
    if not desk.attended or (rules is None and desk.board is None):
        yield None
        return
    means, own = _own(desk, rules)
    opened, ends = _window(desk, rules, priority_class, means)
    site = (*_site(desk, rules, priority_class), *opened)
    files = {name: desk.modified(name) for name in means.after if name.startswith("file:")}
    if desk.board is None:
        yield Shared(means, (own,), site, files, ends)
        return
    with desk.board.meet() as told:
        yield Shared(means, (own, *told.entries), site, files, ends, told.stop, told.troubles)


def tell(desk: Desk) -> None:
    """Tell the board how this home stands.

    Raises:
        OSError: It cannot be written.
    """
    rules = desk.terms.policy.admission
    if desk.board is not None and desk.history.releases:
        desk.board.tell(_own(desk, rules)[1])


def _own(desk: Desk, rules: Admission | None) -> tuple[Means, Entry]:
    model, used = desk.terms.config.model, cpu_s(desk.ledger.notes("job_finished"))
    means = claims.means(desk.history, used, desk.terms.policy, model.threads, model.team, model.after)
    name = desk.board.home if desk.board else ALONE
    return means, claims.entry(name, desk.history, used, means, rules, desk.now)


def cpu_s(notes: list[Mapping[str, object]]) -> dict[str, float]:
    """What jobs used that have ended, all their lives together, by their identifiers."""
    told = ("cpu_s", "lives_cpu_s")
    return {str(note["serves"]): max(float(str(note.get(each) or 0)) for each in told) for note in notes}


def _window(
    desk: Desk, rules: Admission | None, priority_class: PriorityClass, means: Means
) -> tuple[tuple[Finding, ...], datetime | None]:
    """The finding "window" where the class needs one, and when the window that is open ends."""
    if rules is None or not rules.of(priority_class).needs_window:
        return (), None
    wanted = desk.terms.policy.windows or Windows()
    rest = wanted.rollback_h + wanted.margin_h
    length = min(math.ceil((means.hours + rest) * _QUARTERS) / _QUARTERS, _LONGEST_H)
    lightest = min((rung.hours_share for rung in desk.terms.policy.training.rungs or ()), default=1.0)
    try:
        series = desk.traffic(wanted.zone)
    except InputError as error:
        return (Finding(check=_WINDOW, outcome=Outcome.INSUFFICIENT, reason=str(error)),), None
    if series is None:
        reason = f"class {priority_class.value} needs a window, and no past traffic is named: set model.traffic"
        return (Finding(check=_WINDOW, outcome=Outcome.INSUFFICIENT, reason=reason),), None
    planned = windows.plan(series, desk.now, length, wanted)
    found = windows.open_now(planned, desk.now, means.hours * lightest + rest, wanted)
    ends = [each.end for each in planned.windows if each.start <= desk.now < each.end]
    # What is left of it for the retraining itself.
    return (found,), ends[0] - timedelta(hours=rest) if ends else None


def _site(desk: Desk, rules: Admission | None, priority_class: PriorityClass) -> tuple[Finding, ...]:
    if rules is None:
        return ()
    heard, wanted = None, rules.headroom
    if wanted is not None and wanted.signal is not None:
        known = (*desk.history.signals, *desk.history.heard)
        named = [each.measure for each in known if each.family is Family.SERVING and each.name == wanted.signal]
        newest = max(named, key=lambda each: each.at, default=None)
        heard = headroom.Serving(newest.name, newest.at, newest.effect) if newest else None
    return headroom.site(desk.trainer.outlook(priority_class), heard, wanted, desk.now)

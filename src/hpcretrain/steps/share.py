"""Share: look at what homes share before a decision, and tell the others afterwards how this one stands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hpcretrain import claims
from hpcretrain.backlog import Entry, Means, Shared
from hpcretrain.policy import headroom
from hpcretrain.policy.types import Admission
from hpcretrain.records import Family, Finding, PriorityClass
from hpcretrain.steps.desk import Desk

ALONE = "this home"


@contextmanager
def sharing(desk: Desk, priority_class: PriorityClass) -> Iterator[Shared | None]:
    """What is shared, while no other home decides; None where nothing is shared, and in a replay."""
    rules = desk.terms.policy.admission
    if not desk.attended or (rules is None and desk.board is None):
        yield None
        return
    means, own = _own(desk, rules)
    site = _site(desk, rules, priority_class)
    files = {name: desk.modified(name) for name in means.after if name.startswith("file:")}
    if desk.board is None:
        yield Shared(means, (own,), site, files)
        return
    with desk.board.meet() as told:
        yield Shared(means, (own, *told.entries), site, files, told.stop, told.troubles)


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


def _site(desk: Desk, rules: Admission | None, priority_class: PriorityClass) -> tuple[Finding, ...]:
    if rules is None:
        return ()
    heard, wanted = None, rules.headroom
    if wanted is not None and wanted.signal is not None:
        named = [each for each in desk.history.signals if each.family is Family.SERVING and each.name == wanted.signal]
        newest = max(named, key=lambda each: each.at, default=None)
        heard = headroom.Serving(newest.name, newest.at, newest.effect) if newest else None
    return headroom.site(desk.trainer.outlook(priority_class), heard, wanted, desk.now)

"""Share: what a request gets of what homes share, and what this home tells the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hpcretrain.backlog import Shared, Waiting
from hpcretrain.claims import Home
from hpcretrain.history import Cycle
from hpcretrain.policy import admit, headroom
from hpcretrain.policy import decide as policy
from hpcretrain.policy.types import Headroom
from hpcretrain.records import Action, Family, Finding, Outcome, PriorityClass
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.outside import stops

_ALONE = "this home"
_SHARED = ("running:", "hours:", "risk:", "board")
"""Checks about what is shared; every other is a home's own, and what lacks it keeps nobody from his slot."""


@contextmanager
def sharing(desk: Desk, cycle: Cycle, priority_class: PriorityClass) -> Iterator[Shared | None]:
    """What is shared, while no other home decides; None where the policy shares nothing, and in a replay."""
    if desk.terms.policy.admission is None or not desk.attended:
        yield None
        return
    own = home_of(desk).entry(desk.now, None)
    site = _site(desk, desk.terms.policy.admission.headroom, priority_class)
    files = {name: desk.modified(name) for name in desk.terms.config.model.after if name.startswith("file:")}
    if desk.board is None:
        yield Shared((own,), site, files)
        return
    with desk.board.meet() as told:
        yield Shared((own, *told.entries), site, files, told.stop, told.troubles)


def home_of(desk: Desk) -> Home:
    """This home's claims."""
    used = {
        note["serves"]: max(float(note.get("cpu_s") or 0.0), float(note.get("lives_cpu_s") or 0.0))
        for note in desk.ledger.notes("job_finished")
    }
    name = desk.board.home if desk.board else _ALONE
    model = desk.terms.config.model
    return Home(name, model.name, model.team, model.threads, model.after, desk.terms.policy, desk.history, used)


def admitted(
    desk: Desk, cycle: Cycle, priority_class: PriorityClass, choice: policy.Choice, shared: Shared | None
) -> policy.Choice:
    """The choice, once the rules of what is shared have their say."""
    standing = stops(desk, priority_class)
    if choice.action is Action.DROP:
        return choice
    rules = desk.terms.policy.admission
    if rules is None or shared is None:
        said = tuple(admit.stopped(each) for each in standing)
        return policy.choose(choice.cost_mrow_passes, (*choice.findings, *said)) if said else choice
    request = home_of(desk).waiting(cycle, priority_class, choice.cost_mrow_passes, _lacks(choice.findings))
    found = admit.about(request, shared, standing, rules, desk.now)
    findings = (*choice.findings, *found.findings)
    return policy.choose(choice.cost_mrow_passes, findings, at_best=choice.outcome)


def tell(desk: Desk) -> None:
    """Tell the board how this home stands."""
    if desk.board is None or desk.terms.policy.admission is None or not desk.history.releases:
        return
    desk.board.tell(home_of(desk).entry(desk.now, waiting(home_of(desk))))


def waiting(home: Home) -> Waiting | None:
    """The open request of a home, as its last decision left it."""
    cycle = home.history.open_cycle
    if cycle is None or not cycle.decisions:
        return None
    last = cycle.decisions[-1]
    found = home.waiting(cycle, last.priority_class, last.cost_mrow_passes, _lacks(last.findings))
    return found.alone


def _lacks(findings: tuple[Finding, ...]) -> str | None:
    missing = (each for each in findings if each.outcome is not Outcome.PASS and not each.check.startswith(_SHARED))
    return next((each.check for each in missing), None)


def _site(desk: Desk, rules: Headroom | None, priority_class: PriorityClass) -> tuple[Finding, ...]:
    heard = None
    if rules is not None and rules.signal is not None:
        named = [each for each in desk.history.signals if each.family is Family.SERVING and each.name == rules.signal]
        newest = max(named, key=lambda each: each.at, default=None)
        heard = headroom.Serving(newest.name, newest.at, newest.effect) if newest else None
    return headroom.site(desk.trainer.outlook(priority_class), heard, rules, desk.now)

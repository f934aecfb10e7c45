"""The backlog of a home, or of the board that it is on: who waits, in which order, for what, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcretrain import claims
from hpcretrain.adapters.board import FolderBoard
from hpcretrain.adapters.home import default_home
from hpcretrain.adapters.livesettings import LiveSettings
from hpcretrain.backlog import MODEL, Entry, Running, Stop, Waiting
from hpcretrain.canonical import plain
from hpcretrain.config.load import kept_policy, load
from hpcretrain.history import History
from hpcretrain.policy import admit, expect, pay
from hpcretrain.policy.types import Admission, Policy
from hpcretrain.ports import Told
from hpcretrain.records import Finding, Outcome
from hpcretrain.report.explain import owed
from hpcretrain.steps.share import ALONE, cpu_s
from hpcretrain.wiring import read_history


def backlog(home: Path | None = None) -> dict[str, Any]:
    """The backlog of a home that lives; see docs/reference/json.md.

    Args:
        home: The folder. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.

    Raises:
        InputError: There is no such home.
    """
    place = home or default_home()
    settings = LiveSettings.read(place)
    history, ledger = read_history(place)
    if history.activation is None or not history.releases:
        return _content(settings, history, [], [], [], (), ())
    terms, now = load(settings.config), settings.now()
    policy = kept_policy(history.activation.policy, "the policy in force")
    board = FolderBoard(settings.board, terms.config.model.name, place) if settings.board else None
    told = board.read() if board else Told((), None, ())
    used, model = cpu_s(ledger.notes("job_finished")), terms.config.model
    means = claims.means(history, used, policy, model.threads, model.team, model.after)
    own = claims.entry(board.home if board else ALONE, history, used, means, policy.admission, now)
    here = (replace(each, scope="") if each.scope == MODEL else each for each in history.standing_stops)
    standing = (*here, *((told.stop,) if told.stop else ()))
    entries = (own, *told.entries)
    running = [each for entry in entries for each in entry.running]
    measured = means.cpu_s_per_mrow_pass is not None
    turns = [
        {**turn, **_priced(request, policy.admission, measured=measured)}
        for request, turn in _turns(history, policy, entries, told, now)
    ]
    return _content(settings, history, turns, running, entries, standing, told.troubles)


def _turns(
    history: History, policy: Policy, entries: Sequence[Entry], told: Told, now: datetime
) -> list[tuple[Waiting, dict[str, Any]]]:
    """Who waits, in order; without rules on sharing the order is that of asking, and nobody knows when one begins."""
    rules = policy.admission
    if rules is None:
        waiting = [each for entry in entries for each in entry.waiting]
        return [
            (each, _turn(place, each, None, None, _own(history, each)))
            for place, each in enumerate(sorted(waiting, key=lambda one: one.asked_at), start=1)
        ]
    requests, state = admit.gather(entries, rules, now, policy.classes.order)
    state = admit.State(
        running=state.running, spent=state.spent, risks=state.risks, refreshed=state.refreshed,
        stops=(told.stop,) if told.stop else (), troubles=told.troubles,
    )  # fmt: skip
    found = admit.admit(requests, state, rules, now)
    lacking = [tuple(each for each in one.findings if each.outcome is not Outcome.PASS) for one in found]
    turns = [
        expect.Turn(one.request, {each.check: each.outcome for each in lacks})
        for one, lacks in zip(found, lacking, strict=True)
    ]
    begins = expect.starts(turns, state.running, rules, now, rules.next_month(now))
    return [
        (each, _turn(one.place, each, admit.turn(each, rules), start, (*_own(history, each), *lacks)))
        for one, start, lacks in zip(found, begins, lacking, strict=True)
        for each in (one.request,)
    ]


def _own(history: History, request: Waiting) -> tuple[Finding, ...]:
    """What a request of this home lacks beside what is shared; of another's only the check is known."""
    cycle = next((each for each in history.going if each.request.id == request.request), None)
    if cycle is not None and cycle.decisions:
        missing = (each for each in cycle.decisions[-1].findings if each.outcome is not Outcome.PASS)
        return tuple(each for each in missing if not each.check.startswith(claims.SHARED))
    if request.lacks is None:
        return ()
    return (Finding(check=request.lacks, outcome=Outcome.WAIT, reason="as its home says"),)


def _priced(request: Waiting, rules: Admission | None, *, measured: bool) -> dict[str, Any]:
    """What a request is expected to cost, by this home's prices and its knowledge of what preemption loses."""
    cost = pay.price(request.cpu_hours, rules.of(request.priority_class), measured=measured) if rules else None
    return {"expected_cost": cost, "currency": rules.worth.currency if rules and rules.worth else None}


def _turn(
    place: int, request: Waiting, turn: datetime | None, begins: datetime | None, lacks: Sequence[Finding]
) -> dict[str, Any]:
    return {
        "place": place,
        "request": request.request,
        "model": request.model,
        "team": request.team,
        "priority_class": request.priority_class.value,
        "requester": request.by,
        "asked_at": plain(request.asked_at),
        "deadline": plain(request.deadline),
        "turn": plain(turn),
        "expected_start": plain(begins),
        "expected_hours": request.hours,
        "expected_cpu_hours": request.cpu_hours,
        "waits_for": plain(tuple(lacks)),
    }


def _content(
    settings: LiveSettings,
    history: History,
    waiting: list[dict[str, Any]],
    running: Sequence[Running],
    entries: Sequence[Entry],
    stops: Sequence[Stop],
    troubles: Sequence[Finding],
) -> dict[str, Any]:
    return {
        "board": str(settings.board) if settings.board else None,
        "homes": [{"home": each.home, "model": each.model, "at": plain(each.at)} for each in entries],
        "waiting": waiting,
        "running": plain(tuple(running)),
        "spent": plain(tuple(spent for entry in entries for spent in entry.spent)),
        "stops": plain(tuple(stops)),
        "troubles": plain(tuple(troubles)),
        "review_owed": owed(history),
    }

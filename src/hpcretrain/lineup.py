"""The backlog of a home, or of the board that it is on: who waits, in which order, for what, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcretrain import claims
from hpcretrain.adapters.board import FolderBoard
from hpcretrain.adapters.home import default_home
from hpcretrain.adapters.livesettings import LiveSettings
from hpcretrain.backlog import Entry, Running, Stop, Waiting
from hpcretrain.canonical import plain
from hpcretrain.config.load import kept_policy, load
from hpcretrain.history import History
from hpcretrain.policy import admit, expect
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
    standing = (*history.stopped(), *((told.stop,) if told.stop else ()))
    entries = (own, *told.entries)
    running = [each for entry in entries for each in entry.running]
    turns = _turns(history, policy, entries, told, now)
    return _content(settings, history, turns, running, entries, standing, told.troubles)


def _turns(
    history: History, policy: Policy, entries: Sequence[Entry], told: Told, now: datetime
) -> list[dict[str, Any]]:
    """Who waits, in order; without rules on sharing the order is that of asking, and nobody knows when one begins."""
    rules = policy.admission
    if rules is None:
        waiting = [each for entry in entries for each in entry.waiting]
        return [
            _turn(place, each, None, None, _own(history, each), None)
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
    begins = expect.starts(turns, state.running, rules, now, admit.next_month(now, rules))
    return [
        _turn(
            one.place, one.request, admit.turn(one.request, rules), start, (*_own(history, one.request), *lacks), rules
        )
        for one, start, lacks in zip(found, begins, lacking, strict=True)
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


def _turn(
    place: int,
    request: Waiting,
    turn: datetime | None,
    begins: datetime | None,
    lacks: Sequence[Finding],
    rules: Admission | None,
) -> dict[str, Any]:
    price = rules.of(request.priority_class).hour_price if rules else None
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
        "expected_cost": None if price is None else request.cpu_hours * price,
        "currency": rules.worth.currency if rules and rules.worth else None,
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

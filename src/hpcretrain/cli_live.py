"""Commands about homes that live."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcretrain.errors import InputError

_FASTEST = 10_000_000
DONE, NO, OUTSIDE_FAILED = 0, 1, 3


def add(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add them; `command` adds one with what all have."""
    alive = command(commands, "live", _live, "make a home whose cycle runs as time passes")
    alive.add_argument("config", type=Path, metavar="CONFIG.toml", help="what to predict, from which table")
    alive.add_argument("--cluster", type=Path, metavar="FILE.toml", help="train on Slurm, as this cluster profile says")
    alive.add_argument(
        "--arrival", default="0h", metavar="TIME", help="how long after its time a row is in the table: 30min, 6h (0h)"
    )
    alive.add_argument("--from", dest="from_time", metavar="TIME", help="let the past pass as if live, from then on")
    alive.add_argument("--speed", type=float, metavar="N", help="how many times faster the past passes (1)")
    alive.add_argument("--inbox", type=Path, metavar="DIR", help="folder where others hand in requests and approvals")
    alive.add_argument(
        "--board", type=Path, metavar="DIR", help="folder where homes that share limits tell each other how they stand"
    )
    once = command(commands, "tick", _tick, "do all that is due in a home that lives; waits for no training")
    once.add_argument(
        "--until",
        choices=("observe", "triage", "retrain", "release"),
        default="release",
        help="how far to go with the newest batch (release)",
    )
    command(commands, "controller", _controller, "hold a home that lives for good, and do what is due when it is due")
    command(commands, "backlog", _backlog, "who waits, in which order, for what, and when it should begin")
    command(commands, "notify", _notify, "send a test by each route by which people are told of a home that lives")
    less = command(commands, "prune", _prune, "remove what the configuration of a home that lives keeps no longer")
    less.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    _add_messages(commands, command)


def _add_messages(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Those by which somebody says something to a home."""
    wish = command(commands, "request", _request, "ask for a retraining of the model of a home that lives")
    wish.add_argument(
        "--class", dest="priority_class", metavar="CLASS", default="standard",
        help="how urgent it is: a class of the policy in force, such as urgent or background (standard)",
    )  # fmt: skip
    wish.add_argument("--deadline", metavar="TIME", help="until when the new model must serve")
    wish.add_argument("--key", metavar="TEXT", help="requests with the same key are one request")
    told = command(commands, "tell", _tell_signals, "tell a home that lives what was measured elsewhere")
    told.add_argument(
        "signals",
        type=Path,
        metavar="SIGNALS.jsonl",
        help="lines as `hpcretrain observe --json` prints them; - reads them here",
    )
    end = command(commands, "cancel", _cancel, "end a retraining; its jobs leave a checkpoint")
    end.add_argument("subject", metavar="REQUEST", help="the request, as `hpcretrain status` shows it")
    yes = command(commands, "approve", _approve, "approve what is asked; without ASK, show what is asked")
    no = command(commands, "deny", _deny, "deny what is asked; without ASK, show what is asked")
    glass = command(commands, "break-glass", _break_glass, "set approvals, budget and queue aside, in an emergency")
    glass.add_argument("subject", metavar="REQUEST", help="the request, as `hpcretrain status` shows it")
    look = command(commands, "review", _review, "review that somebody else broke the glass")
    look.add_argument("subject", metavar="ID", help="what is owed a review, as `hpcretrain status` shows it")
    for said in (yes, no):
        said.add_argument("subject", nargs="?", metavar="ASK", help="what is asked, by its identifier")
    halt = command(commands, "stop", _stop, "have nothing trained or released until it is resumed")
    go_on = command(commands, "resume", _resume, "lift a stop")
    for about in (halt, go_on):
        scope = about.add_mutually_exclusive_group()
        scope.add_argument("--class", dest="scope", metavar="CLASS", help="only this class (the model)")
        scope.add_argument("--all", dest="scope", action="store_const", const="all", help="every model of the board")
    halt.add_argument("--now", action="store_true", help="end what is under way, too; its jobs leave a checkpoint")
    back = command(commands, "rollback", _rollback, "have the model serve again that served before this one")
    for each in (wish, told, end, yes, no, halt, go_on, back, glass, look):
        each.add_argument("--reason", default="", metavar="TEXT", help="why, in one line, for the record")
        each.add_argument(
            "--inbox", type=Path, metavar="DIR", help="hand it in there, if the home belongs to somebody else"
        )
        each.add_argument(
            "--wait", type=float, default=60, metavar="SECONDS", help="how long to wait for an answer there (60)"
        )


def _live(options: argparse.Namespace) -> int:
    from hpcretrain.adapters.home import default_home
    from hpcretrain.config.types import parse_duration
    from hpcretrain.livehome import start_live
    from hpcretrain.report.served import moment

    try:
        arrival = parse_duration(options.arrival)
    except ValueError as error:
        raise InputError(f"--arrival: {error}") from None
    if options.speed is not None and (options.from_time is None or not 0 < options.speed <= _FASTEST):
        raise InputError(f"--speed {options.speed:g}: give --from too, and a number above 0, at most {_FASTEST:,}")
    start_live(
        options.config,
        options.home,
        options.cluster,
        arrival=arrival,
        from_time=moment(options.from_time) if options.from_time else None,
        speed=options.speed or 1.0,
        inbox=options.inbox,
        board=options.board,
    )
    home = options.home or default_home()
    print(json.dumps({"home": str(home)}) if options.json else f"{home} lives; `hpcretrain tick` does what is due")
    return DONE


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _tick(options: argparse.Namespace) -> int:
    from hpcretrain.report.text import show_stand
    from hpcretrain.ways import tick

    stand = tick(options.home, options.until, _tell)
    print(json.dumps(stand) if options.json else show_stand(stand))
    return DONE


def _controller(options: argparse.Namespace) -> int:
    from hpcretrain.controller import run

    run(options.home, _tell)
    return DONE


def _request(options: argparse.Namespace) -> int:
    from hpcretrain.report.served import moment
    from hpcretrain.ways import requesting

    until = moment(options.deadline) if options.deadline else None
    return _send(options, requesting(options.priority_class, options.reason, options.key, until))


def _backlog(options: argparse.Namespace) -> int:
    from hpcretrain.lineup import backlog
    from hpcretrain.report.text import show_backlog

    found = backlog(options.home)
    print(json.dumps(found) if options.json else show_backlog(found))
    return DONE


def _tell_signals(options: argparse.Namespace) -> int:
    from hpcretrain.adapters.signalfile import read_signals
    from hpcretrain.messages import telling

    return _send(options, telling(read_signals(options.signals), options.reason))


def _cancel(options: argparse.Namespace) -> int:
    from hpcretrain.messages import Message, Verb, identifier

    return _send(options, Message(identifier(), Verb.CANCEL, options.reason, options.subject))


def _break_glass(options: argparse.Namespace) -> int:
    from hpcretrain.messages import Message, Verb, identifier

    return _send(options, Message(identifier(), Verb.BREAK_GLASS, options.reason, options.subject))


def _review(options: argparse.Namespace) -> int:
    from hpcretrain.messages import Message, Verb, identifier

    return _send(options, Message(identifier(), Verb.REVIEW, options.reason, options.subject))


def _notify(options: argparse.Namespace) -> int:
    from hpcretrain.adapters.home import default_home
    from hpcretrain.report.text import show_routes
    from hpcretrain.telling import try_routes

    found = try_routes(options.home or default_home())
    print(json.dumps(found) if options.json else show_routes(found))
    return OUTSIDE_FAILED if any(each["problem"] for each in found) else DONE


def _prune(options: argparse.Namespace) -> int:
    from hpcretrain.report.removed import pruned_text
    from hpcretrain.ways import prune

    gone = prune(options.home, dry_run=options.dry_run)
    print(json.dumps(gone) if options.json else pruned_text(gone, dry_run=options.dry_run))
    return DONE


def _approve(options: argparse.Namespace) -> int:
    from hpcretrain.messages import Verb

    return _say(options, Verb.APPROVE)


def _deny(options: argparse.Namespace) -> int:
    from hpcretrain.messages import Verb

    return _say(options, Verb.DENY)


def _stop(options: argparse.Namespace) -> int:
    from hpcretrain.messages import Message, Verb, identifier

    return _send(
        options, Message(identifier(), Verb.STOP, options.reason, options.scope or "model", at_once=options.now)
    )


def _resume(options: argparse.Namespace) -> int:
    from hpcretrain.messages import Message, Verb, identifier

    return _send(options, Message(identifier(), Verb.RESUME, options.reason, options.scope or "model"))


def _rollback(options: argparse.Namespace) -> int:
    from hpcretrain.messages import Message, Verb, identifier

    return _send(options, Message(identifier(), Verb.ROLLBACK, options.reason))


def _say(options: argparse.Namespace, verb: Any) -> int:
    from hpcretrain.messages import Message, identifier
    from hpcretrain.report.asks import show_asks
    from hpcretrain.ways import asked

    if options.subject is not None:
        return _send(options, Message(identifier(), verb, options.reason, options.subject))
    asks = asked(options.home, options.inbox)
    print(json.dumps(asks) if options.json else show_asks(asks))
    return DONE


def _send(options: argparse.Namespace, message: Any) -> int:
    from hpcretrain.adapters.home import default_home
    from hpcretrain.report.text import show_answer
    from hpcretrain.ways import hand_in, send

    if options.inbox is not None and options.home is not None:
        raise InputError("give --home for a home of your own, or --inbox for somebody else's")
    if options.inbox is None:
        answer = send(options.home or default_home(), message, _tell)
    else:
        answer = hand_in(options.inbox, message, options.wait) or {
            "done": None,
            "reason": "handed in; nobody has answered yet, and whoever advances the home next will",
            "subject": message.subject,
            "findings": [],
            "token": message.id,
        }
    print(json.dumps(answer) if options.json else show_answer(answer))
    return NO if answer["done"] is False else DONE

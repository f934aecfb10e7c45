"""The commands that weigh evidence and policies: what signals come to, and what would have been decided."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcretrain.errors import InputError

DONE, NO = 0, 1


def add(commands: Any, command: Any) -> None:
    """Add the commands to the parser's.

    Args:
        commands: The parser's commands.
        command: Makes one of a home: given `commands`, its name, function and help.
    """
    assess = commands.add_parser(
        "assess",
        help="score models from a file of signals",
        description="Score each model of a file of signals: how urgent it is, why, in which class, and what helps.",
    )
    assess.add_argument(
        "signals", type=Path, metavar="SIGNALS.jsonl", help="a JSON object a line (docs/signals.md); - reads them here"
    )
    assess.add_argument("--policy", type=Path, metavar="FILE.toml", help="the policy (the one that ships)")
    assess.add_argument("--now", metavar="TIME", help="the time; ISO 8601, without a zone it is UTC (now)")
    assess.add_argument(
        "--released", action="append", default=[], metavar="[MODEL=]TIME",
        help="when a model was released; earlier signals are left out; may be repeated, MODEL where there are several",
    )  # fmt: skip
    assess.add_argument(
        "--retrain-hours", type=float, metavar="N", help="hours from request to release (the policy's expected_hours)"
    )
    assess.add_argument("--json", action="store_true", help="print one JSON object a line, one for each model")
    assess.set_defaults(run=_assess)
    command(commands, "replay", _replay, "make every past decision of a home again, and compare bytes")
    what_if = command(commands, "what-if", _what_if, "show which past decisions another policy would have changed")
    what_if.add_argument("--policy", type=Path, required=True, metavar="FILE.toml", help="the other policy")
    _add_sweep(commands)
    _add_policy(commands, command)


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="vary settings of a policy over what was recorded",
        description="Vary settings of a policy: how often each model would have retrained, and at what cost.",
    )
    sweep.add_argument("--home", type=Path, action="append", default=[], metavar="DIR", help="a home; may be repeated")
    sweep.add_argument(
        "--vary", action="append", required=True, metavar="KEY=VALUE,...",
        help="values of a key of the policy; given more than once, all combinations",
    )  # fmt: skip
    sweep.add_argument("--policy", type=Path, metavar="FILE.toml", help="what is varied (the policy in force)")
    sweep.add_argument("--json", action="store_true", help="print one JSON object")
    sweep.set_defaults(run=_sweep)


def _add_policy(commands: Any, command: Any) -> None:
    policy = commands.add_parser("policy", help="check, compare and activate policies")
    verbs = policy.add_subparsers(required=True, metavar="COMMAND")
    check = verbs.add_parser("check", help="check a policy file", description="Check a policy file, whole.")
    check.add_argument("file", type=Path, metavar="FILE.toml")
    check.add_argument("--json", action="store_true", help="print one JSON object")
    check.set_defaults(run=_check)
    diff = verbs.add_parser(
        "diff", help="compare two policies", description="Compare two policies: files, or homes for what is in force."
    )
    diff.add_argument("before", metavar="BEFORE", help="a policy file, or a home")
    diff.add_argument("after", metavar="AFTER", help="a policy file, or a home")
    diff.add_argument("--json", action="store_true", help="print one JSON object")
    diff.set_defaults(run=_diff)
    activate = command(verbs, "activate", _activate, "have a policy take effect in a home that lives")
    activate.add_argument("file", nargs="?", type=Path, metavar="FILE.toml", help="the policy")
    activate.add_argument("--previous", action="store_true", help="the policy that was in force before, instead")
    activate.add_argument("--reason", default="", metavar="TEXT", help="why, in one line, for the record")


def _assess(options: argparse.Namespace) -> int:
    from hpcretrain.assessing import assess_file, json_line, text
    from hpcretrain.report.served import moment

    now = moment(options.now) if options.now else datetime.now(UTC)
    for content in assess_file(options.signals, now, options.policy, options.released, options.retrain_hours):
        sys.stdout.write((json_line(content) if options.json else text(content)) + "\n")
    return DONE


def _replay(options: argparse.Namespace) -> int:
    from hpcretrain.hindsight import replay
    from hpcretrain.report.hindsight import show_replay

    found = replay(options.home)
    print(json.dumps(found) if options.json else show_replay(found))
    return DONE if found["same"] == found["made_again"] else NO


def _what_if(options: argparse.Namespace) -> int:
    from hpcretrain.hindsight import what_if
    from hpcretrain.report.hindsight import show_what_if

    found = what_if(options.policy, options.home)
    print(json.dumps(found) if options.json else show_what_if(found))
    return DONE


def _sweep(options: argparse.Namespace) -> int:
    from hpcretrain.hindsight import sweep
    from hpcretrain.report.hindsight import show_sweep

    found = sweep(options.vary, options.home, options.policy)
    print(json.dumps(found) if options.json else show_sweep(found))
    return DONE


def _check(options: argparse.Namespace) -> int:
    from hpcretrain.hindsight import check
    from hpcretrain.report.hindsight import show_check

    found = check(options.file)
    print(json.dumps(found) if options.json else show_check(found))
    return DONE


def _diff(options: argparse.Namespace) -> int:
    from hpcretrain.hindsight import diff
    from hpcretrain.report.hindsight import show_diff

    found = diff(options.before, options.after)
    print(json.dumps(found) if options.json else show_diff(found))
    return DONE


def _activate(options: argparse.Namespace) -> int:
    from hpcretrain.hindsight import proposed
    from hpcretrain.messages import Message, Verb, identifier
    from hpcretrain.report.text import show_answer
    from hpcretrain.ways import send

    if (options.file is None) != options.previous:
        raise InputError("name a policy file, or give --previous")
    home, text = proposed(options.home, options.file)
    message = Message(identifier(), Verb.PROPOSE, options.reason, policy=text)
    answer = send(home, message, lambda line: print(line, file=sys.stderr, flush=True))
    print(json.dumps(answer) if options.json else show_answer(answer))
    return NO if answer["done"] is False else DONE

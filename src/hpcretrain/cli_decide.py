"""The commands that weigh evidence: what signals come to, without a home."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

DONE = 0


def add(commands: Any) -> None:
    """Add the commands to the parser's."""
    assess = commands.add_parser(
        "assess",
        help="score models from a file of signals",
        description="Score each model of a file of signals: how urgent it is, why, in which class, and what helps.",
    )
    assess.add_argument("signals", type=Path, metavar="SIGNALS.jsonl", help="a JSON object a line (docs/signals.md)")
    assess.add_argument("--policy", type=Path, metavar="FILE.toml", help="the policy (the one that ships)")
    assess.add_argument("--now", metavar="TIME", help="the time; ISO 8601, without a zone it is UTC (now)")
    assess.add_argument(
        "--released", metavar="TIME", help="when the model was released; signals of before are left out"
    )
    assess.add_argument("--json", action="store_true", help="print one JSON object a line, one for each model")
    assess.set_defaults(run=_assess)


def _assess(options: argparse.Namespace) -> int:
    from hpcretrain.report.served import moment
    from hpcretrain.signalled import assess_file, json_line, text

    now = moment(options.now) if options.now else datetime.now(UTC)
    released = moment(options.released) if options.released else None
    for content in assess_file(options.signals, now, options.policy, released):
        sys.stdout.write((json_line(content) if options.json else text(content)) + "\n")
    return DONE

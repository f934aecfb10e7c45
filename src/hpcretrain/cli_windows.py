"""The command that finds windows of low traffic."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

DONE, NO = 0, 1


def add_windows(commands: Any) -> None:
    """Add it."""
    windows = commands.add_parser(
        "windows",
        help="when traffic will be low, by its history",
        description="Learn from past traffic in which windows of the next days it will be low, one a day; or say that "
        "history does not tell. Exit code 1: none is named, or no training fits in.",
    )
    windows.add_argument(
        "traffic", type=Path, metavar="TRAFFIC.csv", help="columns timestamp and value; - reads them here"
    )
    windows.add_argument("--hours", type=float, required=True, metavar="N", help="length of a window")
    windows.add_argument("--now", metavar="TIME", help="plan from then on, by what came before (where the file ends)")
    windows.add_argument("--time-zone", metavar="ZONE", help="of weekdays and of times without an offset (UTC)")
    windows.add_argument("--policy", type=Path, metavar="FILE.toml", help="a policy with a table [windows]")
    windows.add_argument("--home", type=Path, metavar="DIR", help="whose past trainings tell what must fit in")
    windows.add_argument("--json", action="store_true", help="print one JSON object")
    windows.set_defaults(run=_windows)


def _windows(options: argparse.Namespace) -> int:
    from hpcretrain.evidence import Outcome
    from hpcretrain.lowtraffic import find_windows, window_rules
    from hpcretrain.report.windows import windows_json, windows_text

    rules = window_rules(options.policy, options.time_zone)
    found = find_windows(options.traffic, options.hours, options.now, rules, options.home)
    print(json.dumps(windows_json(found)) if options.json else windows_text(found))
    return DONE if found.plan.windows and found.fit.outcome is not Outcome.FAIL else NO

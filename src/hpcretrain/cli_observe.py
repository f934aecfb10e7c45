"""The commands that bring evidence: what a batch or another tool says, and what was spooled beside serving."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hpcretrain.errors import InputError

DONE, OUTSIDE_FAILED = 0, 3
SOURCES = ("batch", "signals", "csv", "prometheus", "evidently", "upstream", "events", "serving")
_IN_SLOTS = ("csv", "prometheus", "serving")
_FILES_ONLY = ("batch", "serving")


def add(commands: Any) -> None:
    """Add the commands to the parser's."""
    observe = commands.add_parser(
        "observe",
        help="say what a batch of rows, a file of signals, or another tool's results mean",
        description="Make signals of a batch of rows or of what another tool says, and say what each means. "
        "With --json it prints the lines that `hpcretrain assess` reads.",
    )
    observe.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="what is observed, - reads it here; none for prometheus"
    )
    observe.add_argument(
        "--from", dest="source", choices=SOURCES,
        help="what FILE is (batch with --against; signals for a name in .jsonl)",
    )  # fmt: skip
    observe.add_argument(
        "--against", type=Path, metavar="CONFIG.toml", help="the configuration whose reference a batch is held against"
    )
    observe.add_argument("--map", type=Path, metavar="FILE.toml", help="how the other tool's results become signals")
    observe.add_argument(
        "--since", metavar="TIME", help="csv, prometheus, serving: from when on (first sample; else the newest slot)"
    )
    observe.add_argument("--now", metavar="TIME", help="the time; what is later is not heeded (now)")
    observe.add_argument("--json", action="store_true", help="print one JSON object a line, one for each signal")
    observe.set_defaults(run=_observe)
    _add_table(commands)


def _add_table(commands: Any) -> None:
    serving = commands.add_parser("serving", help="what was spooled beside serving").add_subparsers(
        required=True, metavar="COMMAND"
    )
    table = serving.add_parser(
        "table",
        help="make a table of spooled predictions and their labels",
        description="Make a Parquet table of spooled inputs, with labels joined by id, that a home can read.",
    )
    table.add_argument("segments", nargs="+", type=Path, metavar="SEGMENTS", help="folders of segments, or segments")
    table.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.parquet", help="the file to write")
    table.add_argument("--labels", nargs="+", type=Path, default=[], metavar="FILE", help="labels: CSV or Parquet")
    table.add_argument("--id", default="id", metavar="COLUMN", help="column of the prediction's id in --labels (id)")
    table.add_argument("--label", default="label", metavar="COLUMN", help="column of the label in --labels (label)")
    table.add_argument("--label-time", metavar="COLUMN", help="column in --labels that says when a label was known")
    table.add_argument(
        "--label-delay", metavar="TIME",
        help="leave out labels that came later than that after their prediction: 30min, 6h, 7d",
    )  # fmt: skip
    table.add_argument("--time-name", default="at", metavar="NAME", help="what the table calls the time (at)")
    table.add_argument("--label-name", default="label", metavar="NAME", help="what the table calls the label (label)")
    table.add_argument("--since", metavar="TIME", help="only predictions from then on")
    table.add_argument("--until", metavar="TIME", help="only predictions before then")
    table.add_argument("--json", action="store_true", help="print one JSON object")
    table.set_defaults(run=_table)


def _observe(options: argparse.Namespace) -> int:
    from hpcretrain import observing
    from hpcretrain.report.served import moment
    from hpcretrain.report.signals import printable, text
    from hpcretrain.signallines import line_of

    source = _source(options)
    now = moment(options.now) if options.now else datetime.now(UTC)
    since = moment(options.since) if options.since else None
    failed = None
    if source == "batch":
        found = observing.observe_batch(options.file, options.against, now)
    elif source == "signals":
        found = observing.observe_signals(options.file, now, _tell)
    elif source == "csv":
        found = observing.observe_csv(options.file, options.map, since, now)
    elif source == "serving":
        from hpcretrain.spooled import observe_serving

        found = observe_serving(options.file, options.map, since, now, _tell)
    elif source == "prometheus":
        found, failed = observing.observe_prometheus(options.map, since, now, _tell)
    else:
        ask = {
            "evidently": observing.observe_evidently,
            "upstream": observing.observe_upstream,
            "events": observing.observe_events,
        }[source]
        found = ask(options.file, options.map, now)
    found = [printable(each) for each in found]
    if options.json:
        sys.stdout.writelines(f"{line_of(each)}\n" for each in found)
    else:
        print(text(found))
    if failed is not None:
        _tell(str(failed))
        return OUTSIDE_FAILED
    return DONE


def _table(options: argparse.Namespace) -> int:
    from hpcretrain.config.types import parse_duration
    from hpcretrain.report.served import moment
    from hpcretrain.spooled import LabelColumns, make_table

    try:
        delay = parse_duration(options.label_delay) if options.label_delay else None
    except ValueError as error:
        raise InputError(f"--label-delay: {error}") from None
    columns = LabelColumns(options.id, options.label, options.label_time, delay, options.time_name, options.label_name)
    since, until = (moment(each) if each else None for each in (options.since, options.until))
    made = make_table(options.segments, options.labels, options.output, columns, (since, until), _tell)
    if options.json:
        print(json.dumps(made))
        return DONE
    print(f"{made['table']}: {made['rows']} rows, {made['labeled']} with a label")
    for what, count in made["left_out"].items():
        if count:
            print(f"  left out: {count} {what.replace('_', ' ')}")
    return DONE


def _source(options: argparse.Namespace) -> str:
    """What is observed.

    Raises:
        InputError: The options do not say, or do not fit.
    """
    source = options.source
    if source is None and options.against is not None:
        source = "batch"
    if source is None and options.file is not None and options.file.suffix == ".jsonl":
        source = "signals"
    if source is None:
        raise InputError(f"say what is observed: --against CONFIG.toml for a batch, or --from {'|'.join(SOURCES[1:])}")
    needs: Sequence[tuple[str, bool, bool]] = (
        ("FILE", options.file is not None, source != "prometheus"),
        ("--against", options.against is not None, source == "batch"),
        ("--map", options.map is not None, source not in ("batch", "signals")),
    )
    wrong = [f"--from {source} needs {name}" for name, given, needed in needs if needed and not given]
    wrong += [f"--from {source} does not go with {name}" for name, given, needed in needs if given and not needed]
    if options.since is not None and source not in _IN_SLOTS:
        wrong.append(f"--from {source} does not go with --since")
    if source in _FILES_ONLY and options.file == Path("-"):
        wrong.append(f"--from {source} reads files, not standard input; name one")
    if wrong:
        raise InputError(wrong)
    return str(source)


def _tell(line: str) -> None:
    for each in line.splitlines():
        print(f"hpcretrain: {each}", file=sys.stderr, flush=True)

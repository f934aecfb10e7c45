"""The command line. Exit codes: 0 done, 1 the answer is no, 2 bad input, 3 an outside system failed."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpcretrain import cli_audit, cli_decide, cli_live, cli_observe
from hpcretrain.cli_windows import add_windows
from hpcretrain.errors import HpcretrainError, InputError
from hpcretrain.flows.command import add_prefect

DONE, NO, OUTSIDE_FAILED, BROKEN_PIPE = 0, 1, 3, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
    except HpcretrainError as error:
        for line in str(error).splitlines():
            print(f"hpcretrain: {line}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # Whoever reads the output has enough of it; what is left to write at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        # A full disk, a folder that may not be written: the same command goes on once that is mended.
        print(f"hpcretrain: {error}", file=sys.stderr)
        return OUTSIDE_FAILED
    except KeyboardInterrupt:
        print("hpcretrain: interrupted; the same command takes it up where it stopped", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hpcretrain", description="Keeps models fresh on a cluster without hurting what it serves."
    )
    parser.add_argument("--version", action="version", version=f"hpcretrain {version('hpcretrain')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_replays(commands)
    cli_live.add(commands, _command)
    cli_decide.add(commands, _command)
    cli_observe.add(commands)
    _command(commands, "status", _status, "how the model of a home stands")
    explain = _command(commands, "explain", _explain, "why a thing happened")
    explain.add_argument("id", help="identifier of a record, or its beginning")
    report = _command(commands, "report", _report, "write the page about a home: one HTML file, to be opened offline")
    report.add_argument("place", nargs="?", type=Path, metavar="HOME", help="the same as --home")
    report.add_argument(
        "-o", "--output", type=Path, metavar="FILE.html", help="the file to write (report.html in the home)"
    )
    _add_large(commands)
    served = _command(commands, "served", _served, "which model served, and why")
    served.add_argument("--at", metavar="TIME", help="ISO 8601; without a zone it is UTC, a date alone is its midnight")
    _add_doctor(commands)
    add_windows(commands)
    add_prefect(commands)
    pages = _command(commands, "mlflow", _mlflow, "show the MLflow store of a home: on loopback, behind a password")
    pages.add_argument("--port", type=int, metavar="N", help="where it listens (a free port, the same each time)")
    pages.add_argument("--stop", action="store_true", help="stop it")
    cli_audit.add(commands, _command)
    return parser


def _add_replays(commands: Any) -> None:
    start = commands.add_parser(
        "init",
        help="write a configuration of your own, guessed from a table if you have one",
        description="Write a commented configuration and policy; nothing is asked, and nothing is overwritten.",
    )
    start.add_argument("folder", type=Path, metavar="DIR", help="folder for hpcretrain.toml and policy.toml")
    start.add_argument("--data", type=Path, metavar="FILE", help="CSV or Parquet table to guess from")
    start.add_argument("--target", metavar="COLUMN", help="column to be predicted")
    start.add_argument("--json", action="store_true", help="print one JSON object")
    start.set_defaults(run=_init)
    demo = _command(commands, "demo", _demo, "replay the flights of New York in 2013, as if live")
    demo.set_defaults(config=None)
    replay = _command(commands, "backtest", _backtest, "replay your own table, as if live")
    replay.add_argument("config", type=Path, metavar="CONFIG.toml", help="what to predict, from which table")
    for command in (demo, replay):
        command.add_argument(
            "--cluster", type=Path, metavar="FILE.toml", help="train on Slurm, as this cluster profile says"
        )


def _add_large(commands: Any) -> None:
    large = _command(commands, "profile", _profile, "profile a large table by the frozen contract of a home")
    large.add_argument("data", nargs="+", type=Path, metavar="FILE", help="files of Parquet or CSV")
    large.add_argument(
        "--cluster", type=Path, metavar="FILE.toml", help="by workers of the background class on this cluster"
    )
    large.add_argument("--workers", type=int, default=10, metavar="N", help="most workers at a time (10)")
    large.add_argument("--memory", type=int, metavar="MB", help="memory of a worker (that of the class)")
    large.add_argument("--listen", metavar="ADDRESS", help="address of this machine that nodes reach (found out)")
    large.add_argument("--from", dest="start", metavar="TIME", help="only rows from then on")
    large.add_argument("--until", dest="end", metavar="TIME", help="only rows before then")


def _add_doctor(commands: Any) -> None:
    doctor = commands.add_parser(
        "doctor",
        help="check a cluster as the user who runs this, or draft its profile",
        description="Check a live cluster against its profile: what is fine, what is wrong and which line mends it, "
        "what cannot be seen. Sends one job of a few seconds for each class.",
    )
    doctor.add_argument("--cluster", type=Path, required=True, metavar="FILE.toml", help="the cluster profile")
    doctor.add_argument("--write", action="store_true", help="draft the profile; nothing is overwritten")
    doctor.add_argument(
        "--wait",
        type=float,
        default=60,
        metavar="SECONDS",
        help="how long the jobs may wait to start (60; 0: send none)",
    )
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.set_defaults(run=_doctor)


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.add_argument(
        "--home", type=Path, metavar="DIR", help="folder of ledger, models and profiles (HPCRETRAIN_HOME, .hpcretrain/)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)
    return parser


def _init(options: argparse.Namespace) -> int:
    from hpcretrain.report.start import show_start
    from hpcretrain.start import init

    found = init(options.folder, options.data, options.target)
    print(json.dumps(found) if options.json else show_start(found))
    return DONE


def _demo(options: argparse.Namespace) -> int:
    from hpcretrain.wiring import run_demo

    return _print_result(run_demo(options.home, _Progress(), _cluster(options)), options)


def _backtest(options: argparse.Namespace) -> int:
    from hpcretrain.wiring import run_backtest

    return _print_result(run_backtest(options.config, options.home, _Progress(), _cluster(options)), options)


def _profile(options: argparse.Namespace) -> int:
    import dataclasses

    from hpcretrain.config.cluster import load_cluster
    from hpcretrain.largetable import profile_table, window_of
    from hpcretrain.report.profile import show_counts

    counts = profile_table(
        options.data,
        options.home,
        cluster=load_cluster(options.cluster) if options.cluster else None,
        most_workers=options.workers,
        memory_mb=options.memory,
        listen=options.listen,
        window=window_of(options.start, options.end),
        tell=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(json.dumps(dataclasses.asdict(counts)) if options.json else show_counts(counts))
    return DONE


def _cluster(options: argparse.Namespace) -> Any:
    """The site to train at, or None."""
    if options.cluster is None:
        return None
    from hpcretrain.config.cluster import load_cluster
    from hpcretrain.trainers import Cluster

    return Cluster(load_cluster(options.cluster), lambda line: print(line, file=sys.stderr, flush=True))


def _print_result(result: dict[str, Any], options: argparse.Namespace) -> int:
    from hpcretrain.adapters.home import default_home
    from hpcretrain.report.text import show_result
    from hpcretrain.wiring import PAGE

    print(json.dumps(result) if options.json else show_result(result))
    if not options.json:
        print((options.home or default_home()) / PAGE)
    return DONE


def _status(options: argparse.Namespace) -> int:
    from hpcretrain.report.explain import status_text
    from hpcretrain.report.text import show_cycle
    from hpcretrain.wiring import read_status

    state = read_status(options.home)
    print(json.dumps(state) if options.json else status_text(state, show_cycle))
    return DONE


def _explain(options: argparse.Namespace) -> int:
    from hpcretrain.report.explain import explain, explain_text
    from hpcretrain.wiring import read_history

    history, ledger = read_history(options.home)
    notes = ledger.notes()
    told = json.dumps(explain(history, options.id, notes)) if options.json else explain_text(history, options.id, notes)
    print(told)
    return DONE


def _report(options: argparse.Namespace) -> int:
    from hpcretrain.wiring import write_report

    if options.place and options.home and options.place != options.home:
        raise InputError(f"two homes are named, {options.place} and {options.home}; give one")
    page = write_report(options.place or options.home, options.output)
    print(json.dumps({"page": str(page), "bytes": page.stat().st_size}) if options.json else page)
    return DONE


def _served(options: argparse.Namespace) -> int:
    from hpcretrain.report.served import all_served_text, moment, served_text
    from hpcretrain.wiring import read_served

    at = None if options.at is None else moment(options.at)
    answer = read_served(options.home, at)
    if options.json:
        print(json.dumps(answer))
    else:
        print(all_served_text(answer) if at is None else served_text(answer))
    return DONE if (answer["served"] if at is None else answer["release"]) else NO


def _mlflow(options: argparse.Namespace) -> int:
    from hpcretrain.adapters.home import default_home
    from hpcretrain.adapters.mlflow_server import start, stop
    from hpcretrain.adapters.ownserver import PASSWORD

    home = options.home or default_home()
    if options.stop:
        stopped = stop(home)
        print(json.dumps({"stopped": stopped}) if options.json else "stopped" if stopped else "no server ran there")
        return DONE if stopped else NO
    server = start(home, options.port)
    secret = server.folder / PASSWORD
    told = {"page": server.page, "pid": server.pid, "password_file": str(secret)}
    print(json.dumps(told) if options.json else f"{server.page} is up; it asks for user and password in {secret}")
    return DONE


def _doctor(options: argparse.Namespace) -> int:
    from hpcretrain.doctor import check_site, draft_site
    from hpcretrain.site.show import draft_json, draft_text, items_json, items_text

    if options.write:
        draft = draft_site(options.cluster)
        show = draft_json if options.json else draft_text
        print(show(options.cluster, draft.open))
        return DONE
    found = check_site(options.cluster, options.wait, lambda what: print(f"{what} ...", file=sys.stderr, flush=True))
    told = (found.name, found.user, found.items)
    print(json.dumps(items_json(*told)) if options.json else items_text(*told))
    return (DONE if found.healthy else NO) if found.answers else OUTSIDE_FAILED


class _Progress:
    """Progress on standard error: one line that is rewritten on a terminal, else one line at each tenth."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._shown = ""

    def __call__(self, what: str, done: int, count: int, history: Any) -> None:
        from hpcretrain.report.text import show_progress

        line = show_progress(what, done, count, history.cycles[-1] if history and history.cycles else None)
        if self._terminal:
            print(f"\r\033[K{line[:99]}", end="\n" if done == count else "", file=sys.stderr, flush=True)
            return
        tenth = f"{done * 10 // max(count, 1)}/{count}"
        if tenth != self._shown:
            self._shown = tenth
            print(line, file=sys.stderr, flush=True)

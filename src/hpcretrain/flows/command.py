"""`hpcretrain prefect`: the part of the command line that is about Prefect."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path
from typing import Any

from hpcretrain.errors import InputError
from hpcretrain.flows.names import POOL

DONE, NO = 0, 1


def add_prefect(commands: Any) -> None:
    """Add the command and its parts to a parser's commands."""
    parser = commands.add_parser(
        "prefect",
        help="steer homes from Prefect",
        description="Steer homes from a Prefect server; needs `pip install 'hpcretrain[prefect]'`.",
    )
    parts = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, text in (
        ("setup", _setup, "make what a home needs in Prefect, or put it right"),
        ("teardown", _teardown, "remove what setup made for a home, and nothing else"),
    ):
        part = _part(parts, name, run, text)
        part.add_argument("--home", type=Path, metavar="DIR", help="a home that lives (HPCRETRAIN_HOME, .hpcretrain/)")
        if name == "setup":
            part.add_argument("--pool", default=POOL, metavar="NAME", help=f"work pool ({POOL})")
    worker = _part(parts, "worker", _worker, "run flows, until ended")
    worker.add_argument("--pool", default=POOL, metavar="NAME", help=f"work pool ({POOL})")
    server = _part(parts, "server", _server, "start a Prefect server of your own: on loopback, behind a password")
    server.add_argument("folder", type=Path, metavar="DIR", help="folder for its files, yours alone")
    server.add_argument("--port", type=int, metavar="N", help="where it listens (a free port, the same each time)")
    server.add_argument("--stop", action="store_true", help="stop it; its files stay")


def _part(parts: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    part: argparse.ArgumentParser = parts.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    part.add_argument("--json", action="store_true", help="print one JSON object")
    part.set_defaults(run=run)
    return part


def _home(options: argparse.Namespace) -> Path:
    from hpcretrain.adapters.home import default_home

    home: Path = options.home or default_home()
    return home.resolve()


def _installed() -> None:
    from importlib.util import find_spec

    if find_spec("prefect") is None:
        raise InputError("Prefect is not installed; `pip install 'hpcretrain[prefect]'` does that")


def _setup(options: argparse.Namespace) -> int:
    _installed()
    from hpcretrain.adapters.prefect import setup
    from hpcretrain.flows.deployments import wanted

    return _print(setup(wanted(_home(options), options.pool)), options)


def _teardown(options: argparse.Namespace) -> int:
    _installed()
    from hpcretrain.adapters.prefect_teardown import teardown
    from hpcretrain.flows.deployments import ours

    return _print(teardown(ours(_home(options))), options)


def _print(report: dict[str, list[str]], options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(report))
    else:
        for how, names in report.items():
            for name in names:
                print(f"{how:<8} {name}")
    return DONE


def _server(options: argparse.Namespace) -> int:
    _installed()
    from hpcretrain.adapters.loopback import beside_proxies, proxied
    from hpcretrain.adapters.ownserver import PASSWORD
    from hpcretrain.adapters.prefect_server import start, stop

    if options.stop:
        stopped = stop(options.folder)
        print(json.dumps({"stopped": stopped}) if options.json else "stopped" if stopped else "no server ran there")
        return DONE if stopped else NO
    server = start(options.folder, options.port)
    told = {"url": server.url, "page": server.page, "pid": server.pid, "folder": str(server.folder)}
    if options.json:
        print(json.dumps(told))
    else:
        print(f"{server.page} is up; its page asks for the line in {server.folder / PASSWORD}")
        needed = {"PREFECT_HOME": str(server.folder), **(beside_proxies(os.environ) if proxied() else {})}
        for name, value in needed.items():
            print(f"export {name}={shlex.quote(value)}")
    return DONE


def _worker(options: argparse.Namespace) -> int:
    _installed()
    from hpcretrain.adapters.prefect import reach
    from hpcretrain.flows.worker import work

    reach()
    work(options.pool)
    return DONE

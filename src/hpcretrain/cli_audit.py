"""Commands about the trail of a home, and about its copies."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

DONE, NO = 0, 1


def add(commands: Any, command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add them; `command` adds one with what all have."""
    audit = commands.add_parser("audit", help="check the trail").add_subparsers(required=True, metavar="COMMAND")
    text = "check that no record or model was altered, removed, inserted or reordered"
    verify = command(audit, "verify", _verify, text)
    verify.add_argument(
        "--anchors", type=Path, metavar="DIR", help="folder of the anchors (where the home keeps them, if it does)"
    )
    anchor = command(audit, "anchor", _anchor, "sign where the ledger ends, and keep it elsewhere")
    anchor.add_argument(
        "folder", nargs="?", type=Path, metavar="DIR", help="from now on there, at each release; without it, as before"
    )
    export = command(audit, "export", _export, "write the ledger to a file that a short program of your own can verify")
    export.add_argument("file", type=Path, metavar="FILE", help="the file to write; nothing is overwritten")
    backup = command(commands, "backup", _backup, "write a home, checked, into one file; whoever is at it goes on")
    backup.add_argument("file", type=Path, metavar="FILE.tar", help="the file to write; nothing is overwritten")
    restore = command(commands, "restore", _restore, "make a home of a backup, checked, whole or not at all")
    restore.add_argument("file", type=Path, metavar="FILE.tar", help="the backup")
    command(commands, "migrate", _migrate, "bring a home of an earlier version up to date, and keep what it was")


def _verify(options: argparse.Namespace) -> int:
    from hpcretrain.audit import verify
    from hpcretrain.canonical import plain
    from hpcretrain.records import Outcome

    findings = verify(options.home, options.anchors)
    whole = all(finding.outcome in (Outcome.PASS, Outcome.WAIT) for finding in findings)
    if options.json:
        print(json.dumps({"intact": whole, "findings": [plain(finding) for finding in findings]}))
    else:
        for finding in findings:
            print(f"{finding.outcome.value:<6} {finding.check}: {finding.reason}")
    return DONE if whole else NO


def _anchor(options: argparse.Namespace) -> int:
    from hpcretrain.audit import anchor

    told = anchor(options.home, options.folder)
    print(json.dumps(told) if options.json else f"anchored in {told['file']}; its public key is {told['key']}")
    return DONE


def _export(options: argparse.Namespace) -> int:
    from hpcretrain.audit import export

    told = export(options.home, options.file)
    rows = told["decisions"]["rows"] + told["operations"]["rows"]
    print(json.dumps(told) if options.json else f"{told['file']}: {rows} rows, ledger head {told['decisions']['head']}")
    return DONE


def _backup(options: argparse.Namespace) -> int:
    from hpcretrain.copies import backup

    told = backup(options.home, options.file)
    shown = f"{told['file']}: {told['files']} files, ledger head {told['ledger_head']}; read back and checked"
    print(json.dumps(told) if options.json else shown)
    return DONE


def _restore(options: argparse.Namespace) -> int:
    from hpcretrain.copies import restore

    told = restore(options.file, options.home)
    shown = f"{told['home']} is as it was at {told['at']}, ledger head {told['ledger_head']}"
    print(json.dumps(told) if options.json else shown)
    return DONE


def _migrate(options: argparse.Namespace) -> int:
    from hpcretrain.copies import migrate

    told = migrate(options.home)
    shown = f"{told['home']} is up to date; what it was is kept in {told['kept']}"
    if not told["migrated"]:
        shown = f"{told['home']} is up to date"
    print(json.dumps(told) if options.json else shown)
    return DONE

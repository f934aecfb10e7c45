"""Homes made by hand for auditors, and how they are altered and asked."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from whole_cycle import whole_cycle

from hpcretrain.adapters.home import Home
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.ledger_rows import CHAINS, anchor_path, anchor_text, genesis, line, lines, link, read_line
from hpcretrain.cli import main
from hpcretrain.node.model import Manifest, seal
from hpcretrain.ports import Note
from hpcretrain.records import RULE_VERSION

SCRIPT = Path(__file__).parents[1] / "docs" / "reference" / "verify_export.py"
IDENTITY = {"model": "orders", "configuration": "c", "policy": "p", "data": "d", "rules": RULE_VERSION}


def make_home(path: Path) -> Path:
    """A home with the records of a whole cycle, notes, and models of a line each."""

    def model(name: str) -> str:
        folder = place.models / "new"
        folder.mkdir(exist_ok=True)
        (folder / "model.txt").write_text(f"model {name} 0.5")
        digest = seal(folder, Manifest("r", {}, "binary", ("a",), ()))
        if not (place.models / digest).exists():
            folder.rename(place.models / digest)
        else:
            shutil.rmtree(folder)
        return digest

    with Home.open(path, IDENTITY) as place:
        (place.profiles / "profile.bin").write_bytes(b"profile" * 1000)
        (place.mlflow / "artifacts").mkdir()
        (place.mlflow / "artifacts" / "picture.png").write_bytes(b"picture")
        with closing(sqlite3.connect(place.mlflow / "mlflow.db")) as database:
            database.execute("CREATE TABLE runs AS SELECT 1 AS run")
            database.commit()
        ledger = FileLedger(place.ledger)
        for record in whole_cycle(model):
            ledger.append([record], Note("seen", record.id, {}))
        ledger.close()
    return path


class Run:
    """Runs commands, and keeps what they printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = self.out = ""

    def __call__(self, *arguments: str | Path, code: int = 0) -> Any:
        found = main([*map(str, arguments), "--json"])
        self.out, self.err = self._capsys.readouterr()
        assert found == code, self.out + self.err
        return json.loads(self.out) if self.out else None

    def wrong(self, home: Path, *arguments: str | Path) -> str:
        """What `audit verify` finds wrong; empty if nothing is."""
        found = main(["audit", "verify", "--home", str(home), *map(str, arguments), "--json"])
        told = json.loads(self._capsys.readouterr().out)
        assert found == (not told["intact"])
        return "\n".join(
            f"{each['check']}: {each['reason']}" for each in told["findings"] if each["outcome"] not in ("pass", "wait")
        )


def make_anew(home: Path, change: Callable[[list[tuple[str, str, str]]], None]) -> None:
    """As somebody who may write all of a home would make its ledger anew: every hash and the anchor fit."""
    path = Home(home).ledger
    with path.open("rb") as file:
        read = [read_line(text) for text in lines(file.fileno(), 0, path.stat().st_size) if text]
    rows = [(row.chain.decode(), row.name.decode(), row.body.decode()) for row in read if row]
    change(rows)
    heads = {chain: (0, genesis(chain)) for chain in CHAINS}
    with path.open("wb") as file:
        for chain, name, body in rows:
            seq, previous = heads[chain]
            heads[chain] = seq + 1, link(previous, seq + 1, name, body)
            file.write(line(chain, seq + 1, name, body, heads[chain][1]) + b"\n")
    anchor_path(path).write_text(anchor_text(heads, path.stat().st_size))


def verify_export(*arguments: Path, first_path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What the script says; modules in `first_path` hide those that are installed."""
    environment = {**os.environ, **({"PYTHONPATH": str(first_path)} if first_path else {})}
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)

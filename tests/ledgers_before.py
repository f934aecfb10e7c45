"""Makes ledgers as earlier versions of hpcretrain kept them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from hpcretrain.adapters.ledger_rows import CHAINS, RECORDS_BEFORE, anchor_path, genesis, lines, link, read_line
from hpcretrain.canonical import canonical

_TABLE = """\
CREATE TABLE {chain} (
    seq INTEGER PRIMARY KEY, name TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL
) STRICT;
CREATE INDEX {chain}_by_name ON {chain} (name);
"""


def keep_as_before(ledger: Path) -> Path:
    """Put the ledger of an earlier version, with the same rows, in the place of one of today; the database."""
    path = ledger.with_name("ledger.db")
    heads = {chain: (0, genesis(chain)) for chain in CHAINS}
    with closing(sqlite3.connect(path)) as database, ledger.open("rb") as file:
        for chain in CHAINS:
            database.executescript(_TABLE.format(chain=chain))
        for text in lines(file.fileno(), 0, ledger.stat().st_size):
            row = read_line(text) if text else None
            if row:
                chain, name, body = (each.decode() for each in (row.chain, row.name, row.body))
                # Notes did not say then how many records stand before them.
                content = {key: value for key, value in json.loads(body).items() if key != RECORDS_BEFORE}
                body = canonical(content) if chain == "operations" else body
                previous = heads[chain][1]
                digest = link(previous, row.seq, name, body)
                database.execute(f"INSERT INTO {chain} VALUES (?, ?, ?, ?, ?)", (row.seq, name, body, previous, digest))
                heads[chain] = row.seq, digest
        database.commit()
    anchor_path(ledger).write_text(json.dumps(heads))
    ledger.unlink()
    return path

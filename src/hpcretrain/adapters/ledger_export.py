"""A copy of a ledger for others: JSON Lines that a short program of their own can verify."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpcretrain.adapters.ledger_before import open_rows
from hpcretrain.adapters.ledger_rows import lines
from hpcretrain.adapters.ledger_verify import check
from hpcretrain.canonical import canonical
from hpcretrain.errors import InputError, LedgerDamagedError
from hpcretrain.records import Outcome

FORM = "hpcretrain ledger 1"


def export(ledger: Path, file: Path) -> dict[str, Any]:
    """Write a ledger to a file: what it is, its rows, and the heads of its chains with a digest of all before.

    Args:
        ledger: The ledger.
        file: What is to be written, whole or not at all.

    Returns:
        The file, its size in bytes, and the number of rows and the head of each chain.

    Raises:
        InputError: The file is there already, or cannot be written.
        LedgerDamagedError: The ledger is not what was written.
    """
    if file.exists():
        raise InputError(f"{file} is there already; nothing is overwritten, so name another file")
    checked = check(ledger)
    if not checked.intact:
        wrong = next(finding.reason for finding in checked.findings if finding.outcome is not Outcome.PASS)
        raise LedgerDamagedError(f"{ledger} is damaged, so nothing was exported: {wrong}")
    temporary = file.with_name(f".{file.name}.part")
    try:
        with temporary.open("wb") as target, open_rows(ledger) as source:
            _write(target, source.fileno(), checked.size, checked.heads)
            target.flush()
            os.fsync(target.fileno())
            size = target.tell()
        os.replace(temporary, file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{file} cannot be written: {error.strerror or error}; nothing was written") from error
    heads = {chain: {"rows": seq, "head": digest} for chain, (seq, digest) in checked.heads.items()}
    return {"file": str(file), "bytes": size, **heads}


def _write(target: Any, source: int, size: int, heads: Any) -> None:
    digest = hashlib.sha256()

    def put(text: bytes) -> None:
        digest.update(text)
        target.write(text)

    made = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "version": version("hpcretrain")}
    put(canonical({"form": FORM, **made}).encode() + b"\n")
    for text in lines(source, 0, size):
        if text:
            put(text + b"\n")
    target.write(json.dumps({"heads": heads, "sha256": digest.hexdigest()}).encode() + b"\n")

"""Data profiles in whylogs: stored once, counted exactly in bins that are frozen on the reference.

Drift is measured on the counts and not by whylogs, whose drift verdicts depend on the number of rows. The stored
profile holds whylogs' standard metrics for people, and `frozen_bins` (see `whylogs_bins`) for decisions.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpcretrain.adapters.whylogs_rules import CategoryRule, Contract, IntArray, NumberRule
from hpcretrain.canonical import canonical, sha256
from hpcretrain.errors import LedgerError, LifeCycleError
from hpcretrain.ports import BatchCounts, ColumnCounts, HashArray, Ledger, Rows
from hpcretrain.records import Baseline

if TYPE_CHECKING:
    import pandas as pd


class Column(Protocol):
    """A feature: its name, and its kind, "number" or "category"."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...


class Frames(Protocol):
    """What is needed of a table: frames of features with a name, a kind and known cells, and hashes of rows."""

    @property
    def columns(self) -> tuple[Column, ...]: ...

    def frame(self, rows: Rows) -> pd.DataFrame:
        """Features: numbers as float64 (or objects, where text stands among them), categories as str or None."""

    def hashes(self, rows: Rows, *, times: bool, labels: bool) -> HashArray:
        """One hash a row, shape (rows,)."""


class WhylogsProfiles:
    """The `Profiles` port over a folder of whylogs profiles, whose digests are in the operations log.

    Args:
        table: Gives frames and hashes.
        folder: Where contracts and profiles are kept.
        ledger: Keeps the digest of each stored profile, and the baseline that names the contract.
        model: Name of the model.
        range_slack: Spans of the reference beyond its range that are still plausible.
    """

    def __init__(self, table: Frames, folder: Path, ledger: Ledger, model: str, range_slack: float) -> None:
        self._table = table
        self._folder = folder
        self._ledger = ledger
        self._model = model
        self._range_slack = range_slack
        self._contract: Contract | None = None
        self._counts: dict[str, BatchCounts] = {}

    def freeze(self, reference: Rows) -> str:
        """Freeze the contract on the reference, and keep it in the folder; its digest. Idempotent.

        Raises:
            LedgerError: The folder holds an altered copy of it.
        """
        frame = self._table.frame(reference)
        rules: dict[str, NumberRule | CategoryRule] = {}
        for column in self._table.columns:
            cells = frame[column.name].to_list()
            if column.kind == "number":
                numbers = np.array([cell for cell in cells if isinstance(cell, int | float)], dtype=np.float64)
                rules[column.name] = NumberRule.freeze(numbers, self._range_slack)
            else:
                rules[column.name] = CategoryRule.freeze([cell for cell in cells if isinstance(cell, str)])
        contract = Contract(self._range_slack, rules)
        path = contract_path(self._folder, contract.digest)
        if path.exists():
            read_contract(self._folder, contract.digest)
        else:
            _write(path, contract.body.encode())
        self._contract = contract
        return contract.digest

    def counts(self, rows: Rows) -> BatchCounts:
        """Profile a batch, unless its profile is stored; count from what is stored.

        Raises:
            LedgerError: The stored profile or contract is not the one in the ledger.
            LifeCycleError: No contract is frozen.
        """
        contract = self._frozen()
        key = self._key(contract, rows)
        if key not in self._counts:
            serialized = stored(self._ledger, self._folder, key) or self._profile(contract, rows, key)
            self._counts[key] = counted(contract, serialized)
        return self._counts[key]

    def places(self, rows: Rows) -> Mapping[str, IntArray]:
        """The bin of each cell, shape (rows,), of each feature, in the order of `counts.distribution`.

        Raises:
            LedgerError: The stored contract is not the one in the ledger.
            LifeCycleError: No contract is frozen.
        """
        frame = self._table.frame(rows)
        return {name: rule.places(frame[name]) for name, rule in self._frozen().rules.items()}

    def _frozen(self) -> Contract:
        if self._contract is None:
            records = (record for record in self._ledger.records() if record.model == self._model)
            baseline = next((record for record in records if isinstance(record, Baseline)), None)
            if baseline is None:
                raise LifeCycleError(f"{self._model} has no baseline: freeze its reference before counting a batch")
            self._contract = read_contract(self._folder, baseline.contract_digest)
        return self._contract

    def _key(self, contract: Contract, rows: Rows) -> str:
        hashes = self._table.hashes(rows, times=True, labels=False).astype("<u8")
        content = hashlib.sha256(hashes.tobytes()).hexdigest()
        batch = [contract.digest, rows.start, rows.end, len(rows), content]
        return sha256(canonical(batch))[:32]

    def _profile(self, contract: Contract, rows: Rows, key: str) -> bytes:
        from hpcretrain.adapters import whylogs_bins

        # Sorted, since `np.unique` takes a hundred times as long on hashes.
        hashes = np.sort(self._table.hashes(rows, times=True, labels=False))
        known = facts(self._model, contract, len(rows), int(np.count_nonzero(hashes[1:] == hashes[:-1])))
        serialized = whylogs_bins.profile(self._table.frame(rows), contract.rules, rows.start, known)
        return store(self._ledger, self._folder, key, serialized, rows=len(rows))


def facts(model: str, contract: Contract, rows: int, duplicates: int) -> dict[str, str]:
    """What is stored with a profile besides its columns."""
    return {
        "hpcretrain.model": model,
        "hpcretrain.contract": contract.digest,
        "hpcretrain.rows": str(rows),
        "hpcretrain.duplicates": str(duplicates),
    }


def contract_path(folder: Path, digest: str) -> Path:
    """Where a folder of profiles keeps a contract."""
    return folder / f"contract-{digest}.json"


def read_contract(folder: Path, digest: str) -> Contract:
    """The contract of a digest in a folder of profiles.

    Raises:
        LedgerError: It is missing or was altered.
    """
    path = contract_path(folder, digest)
    if not path.exists():
        raise LedgerError(f"{path} is missing; restore it, or start anew in another home")
    body = path.read_bytes()
    if hashlib.sha256(body).hexdigest() != digest:
        raise LedgerError(f"{path} was altered: its SHA-256 is not in its name; restore it, or start anew elsewhere")
    return Contract.parse(body.decode())


def stored(ledger: Ledger, folder: Path, key: str) -> bytes | None:
    """The stored profile; None if there is none, or one without a note: then its writing was cut short.

    Raises:
        LedgerError: It is not the one in the ledger.
    """
    path = folder / f"{key}.bin"
    notes = ledger.notes(event="profile_stored", serves=key)
    if not notes or not path.exists():
        return None
    serialized = path.read_bytes()
    noted, found = notes[-1]["sha256"], hashlib.sha256(serialized).hexdigest()
    if noted != found:
        raise LedgerError(
            f"{path} was altered: its SHA-256 is {found}, and the ledger's is {noted}; restore it, "
            "or delete it to have the batch profiled again"
        )
    return serialized


def store(ledger: Ledger, folder: Path, key: str, serialized: bytes, **noted: Any) -> bytes:
    """Keep a profile, and its digest in the ledger's notes; what was stored, read back: that is what is scored."""
    path = folder / f"{key}.bin"
    _write(path, serialized)
    kept = path.read_bytes()
    ledger.note("profile_stored", serves=key, path=path.name, sha256=hashlib.sha256(kept).hexdigest(), **noted)
    return kept


def counted(contract: Contract, serialized: bytes) -> BatchCounts:
    """The exact counts in a profile that was stored with its facts."""
    from hpcretrain.adapters import whylogs_bins

    profile = whylogs_bins.read(serialized)
    columns = {name: _column(profile.columns[name], rule.cell is float) for name, rule in contract.rules.items()}
    rows, duplicates = int(profile.facts["hpcretrain.rows"]), int(profile.facts["hpcretrain.duplicates"])
    body = {
        "rows": rows,
        "duplicates": duplicates,
        "columns": {name: dataclasses.asdict(column) for name, column in columns.items()},
    }
    return BatchCounts(rows=rows, duplicates=duplicates, columns=columns, digest=sha256(canonical(body)))


def _column(parts: Mapping[str, Any], is_number: bool) -> ColumnCounts:
    places = sum(name.startswith("bin:") for name in parts)
    varies = parts["least"] != parts["greatest"]
    ranged = is_number and parts["minimum"] <= parts["maximum"]
    return ColumnCounts(
        rows=parts["rows"],
        missing=parts["missing"],
        infinite=parts["infinite"],
        wrong_type=parts["wrong_type"],
        unseen=parts["unseen"],
        bins=tuple(parts[f"bin:{place}"] for place in range(places)),
        minimum=parts["minimum"] if ranged else None,
        maximum=parts["maximum"] if ranged else None,
        constant=parts["rows"] >= 2 and parts["missing"] == 0 and not varies,
    )


def _write(path: Path, content: bytes) -> None:
    """Write by atomic rename; for the owner's eyes, since profiles hold frequent values of the table."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    os.replace(temporary, path)

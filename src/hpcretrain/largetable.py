"""Profiles of tables that are too large for one machine: planned here, counted by workers, stored like any other."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hpcretrain.adapters.home import Home, default_home
from hpcretrain.adapters.large import Each, build, here
from hpcretrain.adapters.largeplan import PART_CELLS, Piece, Reading, Window, named, split, whole
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.whylogs import contract_path, counted, facts, read_contract, store, stored
from hpcretrain.adapters.whylogs_rules import Contract
from hpcretrain.canonical import canonical, sha256
from hpcretrain.config.cluster import ClusterProfile
from hpcretrain.counts import BatchCounts
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.node.durable import make, write
from hpcretrain.wiring import CONFIGURATION

_LOCK = "large.lock"


@dataclass(frozen=True)
class Terms:
    """What a home says about how its table is read and counted."""

    model: str
    contract: Contract
    time_column: str
    timezone: str
    time_format: str | None

    @staticmethod
    def of(home: Home, ledger: FileLedger) -> Terms:
        """The terms of a home whose reference is frozen.

        Raises:
            InputError: No reference is frozen, or the configuration that it keeps is not that of its ledger.
            LedgerError: The contract is missing or was altered.
        """
        baseline = History.fold(ledger.records()).baseline
        if baseline is None:
            raise InputError(f"home {home.path} has no frozen reference: `hpcretrain backtest` or `live` freezes one")
        path = home.path / CONFIGURATION
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        if sha256(text) != baseline.config_digest:
            raise InputError(f"{path} is not what the ledger was made under; the same backtest, run again, mends it")
        data = json.loads(text)["data"]
        if data.get("mask"):
            raise InputError(
                f"home {home.path} masks {', '.join(data['mask'])}, by a key that leaves the home for no worker: large "
                "tables are profiled only where nothing is masked"
            )
        contract = read_contract(home.profiles, baseline.contract_digest)
        return Terms(baseline.model, contract, data["time_column"], data["timezone"], data["time_format"])


@dataclass(frozen=True)
class Work:
    """The profile of a table that is to be made, once.

    Attributes:
        home: Where it is stored.
        terms: How it is counted.
        files: Of the table.
        reading: How parts are read; its folder is seen by all who work at it.
        cells: Most cells of a part.
        name: The name that all jobs of this home's profiles bear.
    """

    home: Home
    terms: Terms
    files: tuple[Piece, ...]
    reading: Reading
    cells: int
    name: str

    @property
    def key(self) -> str:
        """Names the profile: the same files, window and contract give the same key."""
        return named(self.reading, self.files)

    def stored(self, ledger: FileLedger) -> BatchCounts | None:
        """The counts, if the profile is stored."""
        found = stored(ledger, self.home.profiles, self.key)
        return counted(self.terms.contract, found) if found else None

    def done_by(self, each: Each, ledger: FileLedger) -> BatchCounts:
        """Profile all parts and store what comes of them; the counts.

        Raises:
            InputError: Files cannot be read or have changed.
        """
        from hpcretrain.adapters import whylogs_bins

        terms, folder = self.terms, self.reading.folder
        make(folder)
        write(contract_path(folder, terms.contract.digest), terms.contract.body)
        parts = split(self.files, tuple(terms.contract.rules), self.cells)
        built = build(self.reading, parts, each)
        known = facts(terms.model, terms.contract, built.rows, built.duplicates)
        whole_profile = whylogs_bins.with_facts(built.serialized, known)
        noted = {"rows": built.rows, "files": len(self.files), "parts": len(parts)}
        kept = store(ledger, self.home.profiles, self.key, whole_profile, **noted)
        for done in ("parts", "merges"):
            shutil.rmtree(folder / done, ignore_errors=True)
        return counted(terms.contract, kept)


@contextlib.contextmanager
def planned(
    data: Sequence[Path | str],
    home: Path | str | None = None,
    *,
    spool: Path | None = None,
    window: Window | None = None,
    cells: int = PART_CELLS,
) -> Iterator[tuple[Work, FileLedger]]:
    """The work for a table, and the ledger of its home; no other process profiles for this home meanwhile.

    Args:
        data: Files of Parquet or CSV; where workers are elsewhere, on a file system that they share.
        home: A home whose reference is frozen. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        spool: Shared by all who work at it. Default: in the home.
        window: Which rows count. Default: all.
        cells: Most cells of a part, unless a single row group has more.

    Raises:
        InputError: There is no such home or file, or another process profiles for this home.
    """
    place = Home.existing((Path(home) if home else default_home()).absolute())
    files = whole([Path(each) for each in data])
    ledger = FileLedger(place.ledger)
    try:
        with _alone(place):
            terms = Terms.of(place, ledger)
            # One user may have homes of the same path on several machines, and one spool.
            token = sha256(canonical([socket.gethostname(), str(place.path)]))[:10]
            reading = Reading(
                folder=(spool or place.spool) / f"profiles-{token}",
                contract=terms.contract.digest,
                time_column=terms.time_column,
                timezone=terms.timezone,
                time_format=terms.time_format,
                window=window or Window(),
            )
            yield Work(place, terms, files, reading, cells, f"hpcretrain-profile.{token}"), ledger
    finally:
        ledger.close()


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[None]:
    lock = os.open(home.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another process makes a profile for home {home.path}; wait for it") from None
        yield
    finally:
        os.close(lock)


def profile_table(
    data: Sequence[Path | str],
    home: Path | str | None = None,
    *,
    cluster: ClusterProfile | None = None,
    most_workers: int = 10,
    memory_mb: int | None = None,
    listen: str | None = None,
    window: Window | None = None,
    cells: int = PART_CELLS,
    tell: Callable[[str], None] = lambda _: None,
) -> BatchCounts:
    """Profile a table by the frozen contract of a home, and store the profile there, once.

    The counts are those that one machine would make of all rows. What was done is kept when the call is cut short; the
    same call then goes on.

    Args:
        data: Files of Parquet or CSV, the first split by row groups; on a cluster, on a file system that nodes share.
        home: A home whose reference is frozen. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        cluster: Where workers run, in the background class. Default: this process does it alone.
        most_workers: How many workers there may be at a time.
        memory_mb: Memory of a worker. Default: that of the class.
        listen: Address by which nodes reach this machine. Default: the one from which it would send to them.
        window: Which rows count. Default: all.
        cells: Most cells of a part, unless a single row group has more.
        tell: Is told how far the work is.

    Raises:
        InputError: The files or the home cannot be used.
        SlurmError: Workers are refused, or could come to a node that serves.
    """
    spool = cluster.spool.path if cluster else None
    with planned(data, home, spool=spool, window=window, cells=cells) as (work, ledger):
        known = work.stored(ledger)
        if known is not None:
            return known
        with _worker(work, cluster, most_workers, memory_mb, listen, tell) as each:
            return work.done_by(each, ledger)


def _worker(
    work: Work,
    cluster: ClusterProfile | None,
    most_workers: int,
    memory_mb: int | None,
    listen: str | None,
    tell: Callable[[str], None],
) -> AbstractContextManager[Each]:
    if cluster is None:
        return contextlib.nullcontext(here)
    try:
        from hpcretrain.adapters import dask
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is not installed: pip install 'hpcretrain[prefect]'") from error
    return dask.workers(site_of(work, cluster, memory_mb, listen), most_workers, tell)


def site_of(work: Work, cluster: ClusterProfile, memory_mb: int | None = None, listen: str | None = None) -> Any:
    """Where the workers of this work run.

    Raises:
        SlurmError: Slurm does not answer.
    """
    from hpcretrain.adapters import dask
    from hpcretrain.adapters.dask_script import CLASS
    from hpcretrain.adapters.slurm import Slurm
    from hpcretrain.adapters.slurm_address import facing_nodes

    slurm = Slurm(cluster.commands)
    host = listen or facing_nodes(slurm, cluster, CLASS)
    return dask.Site(slurm, cluster, work.name, work.reading.folder, host, memory_mb)


def window_of(start: str | None, end: str | None) -> Window:
    """A window of two times in ISO 8601 with an offset.

    Raises:
        InputError: They cannot be read.
    """
    from hpcretrain.canonical import utc

    bounds: list[datetime | None] = []
    for text in (start, end):
        try:
            bounds.append(utc(datetime.fromisoformat(text)) if text else None)
        except ValueError as error:
            raise InputError(
                f'"{text}" is no time with an offset; write ISO 8601, such as 2024-03-01T06:00Z'
            ) from error
    return Window(*bounds)

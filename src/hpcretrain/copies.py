"""Copies of a home: backup, restore, and what becomes of a home that an earlier version made."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hpcretrain.adapters import backup as archive
from hpcretrain.adapters import sqlite
from hpcretrain.adapters.home import Home, default_home
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.ledger_before import database_of, in_lines, kept_before
from hpcretrain.adapters.ledger_rows import anchor_path, anchor_text, lines
from hpcretrain.adapters.ledger_verify import check
from hpcretrain.adapters.mlflow_store import DATABASE
from hpcretrain.audit import check_models
from hpcretrain.errors import HpcretrainError, InputError
from hpcretrain.history import History
from hpcretrain.node.durable import sync_all
from hpcretrain.records import Outcome
from hpcretrain.report.removed import REMOVED, removed


def backup(home: Path | None, file: Path) -> dict[str, Any]:
    """Write a home into one file, and read it back; whoever is at the home goes on.

    The ledger is taken first, and what it names lies there already: so what is written fits together.

    Args:
        home: The home. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        file: The file; only its owner may read it.

    Returns:
        See docs/reference/json.md.

    Raises:
        InputError: There is no home, it is damaged, or the file is there already or cannot be written.
    """
    place = Home.existing(Path(home) if home else default_home())
    if file.exists():
        raise InputError(f"{file} is there already; nothing is overwritten, so name another file")
    if kept_before(place.ledger):
        raise InputError(f"{place.path} was made by an earlier version; `hpcretrain migrate` brings it up to date")
    temporary = file.with_name(f".{file.name}.part")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with (
            open(descriptor, "wb") as target,
            tempfile.TemporaryDirectory(dir=file.parent, prefix=".backup-") as folder,
        ):
            told = _write(place, target, Path(folder))
            target.flush()
            os.fsync(target.fileno())
        with _unpacked(temporary, file.parent) as (restored, _):
            head = _head(restored)
        os.replace(temporary, file)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror or error}; nothing was written") from error
    finally:
        temporary.unlink(missing_ok=True)
    size = file.stat().st_size
    return {"file": str(file), "bytes": size, "files": len(told["files"]), "at": told["at"], "ledger_head": head}


def restore(file: Path, home: Path | None = None) -> dict[str, Any]:
    """Make a home of a backup: checked, and whole or not at all.

    Args:
        file: The backup.
        home: Where; there must be nothing yet. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.

    Returns:
        See docs/reference/json.md.

    Raises:
        InputError: The backup cannot be used, or there is something already; nothing was changed.
    """
    place = Path(home) if home else default_home()
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise InputError(f"{place} is not empty; --home names a new folder, or move away what is there")
    try:
        place.absolute().parent.mkdir(parents=True, exist_ok=True)
        with _unpacked(file, place.absolute().parent) as (folder, told):
            with closing(FileLedger(Home(folder).ledger)) as ledger:
                ledger.note("home_restored", "home", backup=told["at"], place=str(place.absolute()))
                head = ledger.head()
            sync_all(folder)
            # Onto an empty folder; onto anything else it fails.
            os.rename(folder, place)
    except OSError as error:
        raise InputError(
            f"{file} cannot be restored to {place}: {error.strerror or error}; nothing was left"
        ) from error
    return {"home": str(place), "at": told["at"], "files": len(told["files"]), "ledger_head": head}


def migrate(home: Path | None = None) -> dict[str, Any]:
    """Bring a home that an earlier version made up to date; one that is already stays as it is.

    Args:
        home: The home. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.

    Returns:
        See docs/reference/json.md.

    Raises:
        InputError: There is no home, somebody is at it, or it is damaged; nothing was changed.
    """
    place = Home.existing(Path(home) if home else default_home())
    database = database_of(place.ledger)
    kept = database.with_name(f"{database.name}.kept")
    with Home.held(place.path):
        if migrated := kept_before(place.ledger):
            _convert(place)
        if database.exists():
            os.replace(database, kept)
            database.with_name(f"{database.name}-journal").unlink(missing_ok=True)
        checked = check(place.ledger)
    if not checked.intact:
        raise InputError(f"{place.path} is damaged; `hpcretrain audit verify` tells more")
    told = str(kept) if kept.exists() else None
    return {"home": str(place.path), "migrated": migrated, "kept": told, "ledger_head": checked.heads["decisions"][1]}


def _convert(place: Home) -> None:
    """Write the ledger in the form of today beside the old one, which stands until it has its name."""
    checked = check(place.ledger)
    if not checked.intact:
        wrong = next(each.reason for each in checked.findings if each.outcome is not Outcome.PASS)
        raise InputError(f"{place.path} is damaged, so nothing was changed: {wrong}")
    fresh = place.ledger.with_name(f".{place.ledger.name}.part")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as target, in_lines(place.ledger) as source:
        for text in lines(source.fileno(), 0, checked.size):
            target.write(text + b"\n")
        target.flush()
        os.fsync(target.fileno())
    # It tells both of the old form and of the new.
    place.write(anchor_path(place.ledger).name, anchor_text(checked.heads, checked.size))
    os.replace(fresh, place.ledger)


def _write(place: Home, target: Any, scratch: Path) -> dict[str, Any]:
    checked = check(place.ledger)
    if not checked.intact:
        raise InputError(f"{place.path} is damaged, so nothing was written; `hpcretrain audit verify` tells more")
    ledger, anchor, database = scratch / "ledger.jsonl", scratch / "anchor.json", scratch / DATABASE
    with place.ledger.open("rb") as source, ledger.open("wb") as copied:
        left = checked.size
        while block := source.read(min(left, 1 << 20)):
            copied.write(block)
            left -= len(block)
    anchor.write_text(anchor_text(checked.heads, checked.size), encoding="utf-8")
    instead = {place.ledger: ledger, anchor_path(place.ledger): anchor}
    if (place.mlflow / DATABASE).exists():
        sqlite.copy(place.mlflow / DATABASE, database)
        instead[place.mlflow / DATABASE] = database
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    about = {"at": at, "version": version("hpcretrain"), "home": str(place.path.resolve())}
    return archive.write(target, archive.wanted(place.path, instead), about)


@contextmanager
def _unpacked(file: Path, beside: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """What a backup holds, checked, in a folder that goes unless it was given another name."""
    folder = Path(tempfile.mkdtemp(dir=beside, prefix=".restoring-"))
    try:
        told = archive.unpack(file, folder)
        _head(folder)
        for name in ("spool", "models", "profiles", "mlflow"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        yield folder, told
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _head(home: Path) -> str:
    """The ledger head of a home that is whole.

    Raises:
        InputError: It is not.
    """
    place = Home.existing(home)
    checked = check(place.ledger)
    findings = list(checked.findings)
    if checked.intact:
        try:
            with closing(FileLedger(place.ledger, read_only=True)) as ledger:
                findings.append(check_models(place, History.fold(ledger.records()), removed(ledger.notes(REMOVED))))
        except HpcretrainError as error:
            raise InputError(f"the backup holds no home that can be read: {error}") from error
    for finding in findings:
        if finding.outcome is not Outcome.PASS:
            raise InputError(f"what it holds is no whole home: {finding.reason}")
    return checked.heads["decisions"][1]

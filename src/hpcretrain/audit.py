"""What an auditor asks of a home: whether its trail is whole, and a copy of it that anybody can check."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from hpcretrain.adapters import anchors, ledger_export, ledger_verify
from hpcretrain.adapters.home import Home, default_home
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.errors import InputError, LedgerError, LifeCycleError, ModelFileError
from hpcretrain.history import History
from hpcretrain.records import Candidate, Finding, Outcome
from hpcretrain.report.removed import REMOVED, removed


def verify(home: Path | None = None, kept: Path | None = None) -> list[Finding]:
    """Check both chains of a home's ledger, the anchors kept elsewhere, and the models that the ledger names.

    Args:
        home: The home. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        kept: The folder of the anchors. Default: where the home keeps them, if it does.

    Returns:
        Findings, at least one. WAIT: something is not done yet; all else but PASS: damage, or it cannot be seen.

    Raises:
        InputError: There is no home there.
    """
    place = Home.existing(Path(home) if home else default_home())
    folder = kept or anchors.folder_of(place.path)
    try:
        with closing(FileLedger(place.ledger, read_only=True)) as ledger:
            history: History | None = History.fold(ledger.records())
            noted = anchors.newest_noted(ledger)
            gone = removed(ledger.notes(REMOVED))
    except (LedgerError, LifeCycleError) as error:
        history, noted, gone = None, None, {}
        trouble = str(error)
    found = anchors.find(place.path, folder) if folder else None
    lines = found.lines if isinstance(found, anchors.Kept) else ()
    wanted = {(chain, head[0]) for line in lines for chain, head in line.heads.items()}
    checked = ledger_verify.check(place.ledger, wanted)
    findings = list(checked.findings)
    if isinstance(found, anchors.Kept):
        findings.append(anchors.agree(found, checked.hashes, noted))
        behind = anchors.late(found, history.releases if history else ())
        findings += [behind] if behind else []
    elif found:
        findings.append(found)
    if history is not None and checked.intact:
        findings.append(check_models(place, history, gone))
    elif checked.intact:
        findings.append(Finding(check="records", outcome=Outcome.FAIL, reason=trouble))
    return findings


def anchor(home: Path | None = None, folder: Path | None = None) -> dict[str, Any]:
    """Anchor a home's ledger now, and, where a folder is given, there from now on; see docs/reference/json.md.

    Raises:
        InputError: There is no home or folder, or nothing can be written there.
    """
    place = Home.existing(Path(home) if home else default_home())
    if folder is not None:
        anchors.set_folder(place.path, folder)
    target = anchors.folder_of(place.path)
    if target is None:
        raise InputError(f"{place.path} keeps no anchors; `hpcretrain audit anchor DIR` has it keep them in DIR")
    with closing(FileLedger(place.ledger)) as ledger:
        history = History.fold(ledger.records())
        release = history.releases[-1].id if history.releases else ""
        try:
            path = anchors.Anchors(place.path, ledger, place.model).write(target, release)
        except (OSError, ValueError) as error:
            raise InputError(f"the anchor could not be written: {error}") from error
        return {"file": str(path), "key": str(path.with_suffix(".pub")), "release": release or None}


def export(home: Path | None, file: Path) -> dict[str, Any]:
    """Write a home's ledger, checked, to a file that `docs/reference/verify_export.py` verifies.

    Raises:
        InputError: There is no home, the file is there already or cannot be written; nothing was written.
        LedgerDamagedError: The ledger is not what was written; nothing was written.
    """
    place = Home.existing(Path(home) if home else default_home())
    return ledger_export.export(place.ledger, file)


def check_models(place: Home, history: History, gone: Mapping[str, str]) -> Finding:
    """Whether the folder of each candidate has the digest that the ledger names, unless retention removed it."""
    from hpcretrain.node.model import verify as verify_model

    named = sorted({record.model_digest for record in history.known.values() if isinstance(record, Candidate)})
    kept = [digest for digest in named if digest not in gone or (place.models / digest).exists()]
    wrong = []
    for digest in kept:
        try:
            verify_model(place.models / digest, digest)
        except ModelFileError as error:
            wrong.append(str(error))
    reason = f"{len(kept)} models, each with the digest that the ledger names" if not wrong else "; ".join(wrong)
    if len(kept) < len(named):
        last = max(gone[digest] for digest in named if digest not in kept)
        reason += f"; the payload of {len(named) - len(kept)} more was removed by retention, the last on {last}"
    return Finding(
        check="models",
        outcome=Outcome.FAIL if wrong else Outcome.PASS,
        reason=reason,
        observed=len(wrong),
        limit=0,
    )

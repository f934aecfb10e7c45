"""Removes what is kept no longer: the ledger keeps its digests, and notes that it is gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hpcretrain.adapters.home import Home
from hpcretrain.adapters.mlflow_store import remove_model
from hpcretrain.config.types import RetentionConfig
from hpcretrain.errors import InputError
from hpcretrain.live import Live
from hpcretrain.policy import retain
from hpcretrain.report.removed import REMOVED

PRUNED = "pruned"
_EVERY = timedelta(days=1)


def prune(live: Live, home: Path, *, dry_run: bool = False) -> list[dict[str, Any]]:
    """Remove what the configuration keeps no longer, and say what: `payload`, `id`, `days`.

    Args:
        live: The home at work.
        home: Where it is.
        dry_run: Whether only to say what would be removed.

    Raises:
        InputError: The configuration keeps everything.
        OSError: Something could not be removed; the next time goes on.
    """
    rules = live.desk.terms.config.retention
    if rules is None:
        raise InputError("the configuration keeps everything: say in [retention] for how many days")
    gone = _due(live, Home(home), rules)
    if dry_run:
        return gone
    ledger, place = live.desk.ledger, Home(home)
    runs = {note["serves"]: str(note["run"]) for note in ledger.notes("registered")}
    for each in gone:
        # Noted first: what is not there and not noted would count as damaged.
        ledger.note(REMOVED, each["id"], payload=each["payload"], days=each["days"])
        if each["payload"] == "model":
            shutil.rmtree(place.models / each["id"])
            for candidate in live.desk.history.known.values():
                if getattr(candidate, "model_digest", None) == each["id"] and candidate.id in runs:
                    remove_model(place.mlflow, runs[candidate.id])
        else:
            live.desk.trainer.forget(each["id"])
    ledger.note(PRUNED, "home", removed=len(gone))
    return gone


def tidy(live: Live, home: Path, tell: Callable[[str], None]) -> None:
    """Remove what is kept no longer, unless that was done in the last day; what cannot be removed stops nothing."""
    if live.desk.terms.config.retention is None:
        return
    done = live.desk.ledger.notes(PRUNED)
    if done and datetime.now(UTC) - datetime.fromisoformat(done[-1]["at"]) < _EVERY:
        return
    try:
        prune(live, home)
    except OSError as error:
        tell(f"what is kept no longer could not be removed: {error}; the next day tries again")


def _due(live: Live, place: Home, rules: RetentionConfig) -> list[dict[str, Any]]:
    history, now = live.desk.history, live.now
    found: list[dict[str, Any]] = []
    if rules.job_folders_days is not None:
        old = retain.jobs(history, rules.job_folders_days, now)
        left = [job.id for job in old if live.desk.trainer.left(job.id)]
        found += [_told("job_folder", job, rules.job_folders_days) for job in left]
    if rules.models_days is not None:
        averaged = live.desk.terms.policy.training.average_with
        digests = retain.models(history, averaged, rules.models_days, now)
        there = [digest for digest in digests if (place.models / digest).exists()]
        found += [_told("model", digest, rules.models_days) for digest in there]
    return found


def _told(payload: str, identifier: str, days: float) -> dict[str, Any]:
    return {"payload": payload, "id": identifier, "days": days}

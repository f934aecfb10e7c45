"""What a home shows of itself elsewhere, and how much of it was told already."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hpcretrain.adapters.home import Home, write_whole
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.livesettings import LiveSettings
from hpcretrain.adapters.mlflow_store import DATABASE, picture
from hpcretrain.adapters.mlflow_store import Store as MlflowStore
from hpcretrain.config.cluster import load_cluster
from hpcretrain.errors import InputError, SpoolError
from hpcretrain.history import History
from hpcretrain.node.jobfolder import JobFolder
from hpcretrain.records import Job, Record
from hpcretrain.report.artifacts.going import Saved, current, going
from hpcretrain.report.artifacts.made import artifacts
from hpcretrain.report.artifacts.shown import Artifact, Shown
from hpcretrain.report.events import Event, cycles, events
from hpcretrain.wiring import CONFIGURATION, policy_of

NAME, _LOCK = "prefect.json", "prefect.lock"
_ANNOUNCED = "announced"
Notes = Sequence[Mapping[str, Any]]


class FlowRun(NamedTuple):
    """A run of a flow: its identifier, and its name for people."""

    id: str
    name: str


@dataclass(frozen=True)
class Standing:
    """What there is to tell of a home.

    Attributes:
        home: Where it is.
        model: Name of its model; empty before its reference was frozen.
        fresh: The events that were not told yet.
        artifacts: How all stands.
        last: The newest record; empty if there is none.
    """

    home: Path
    model: str
    fresh: Sequence[Event]
    artifacts: Sequence[Artifact]
    last: str

    def told(self) -> None:
        """Keep in mind that all of it was told."""
        if _announced(self.home) != self.last:
            write_whole(self.home / NAME, json.dumps({_ANNOUNCED: self.last}), 0o600)


@contextmanager
def standing(home: Path, prefect: str = "", mlflow: str = "") -> Iterator[Callable[[FlowRun | None], Standing]]:
    """What there is to tell of a home, for one teller at a time; the home itself need not be free.

    Of what a home held before any of it was told, only the records of its newest moment are news.

    Args:
        home: The home.
        prefect: Where Prefect's pages are; empty if that is not known.
        mlflow: Where MLflow's pages are; empty if that is not known.

    Yields:
        Reads it, and names the flow run that tells it: for each cycle that it has news of, in the chain of operations
        and on the cycle's run in MLflow. Raises HpcretrainError if MLflow or the ledger could not be written.

    Raises:
        InputError: There is no home there, or its terms cannot be read.
    """
    place = Home.existing(home.resolve())
    lock = os.open(place.path / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lambda run: _read(place, run, prefect, mlflow)
    finally:
        os.close(lock)


def _read(place: Home, run: FlowRun | None, prefect: str, mlflow: str) -> Standing:
    with closing(FileLedger(place.ledger, read_only=True)) as ledger:
        records = list(ledger.records())
        history = History.fold(records)
        fresh = _fresh(_announced(place.path), records)
        if run and history.baseline and (about := cycles(fresh, history)):
            _name(place, history.baseline.model, run, about, f"{prefect}/runs/flow-run/{run.id}" if prefect else "")
        notes = ledger.notes()
    policy = policy_of(place.path, history)
    try:
        terms = json.loads((place.path / CONFIGURATION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the terms of the home {place.path} cannot be read: {error}") from error
    runs = {note["serves"]: str(note["run"]) for note in notes if note["event"] == "registered"}
    spent = {note["serves"]: float(note.get("cpu_s", 0.0)) for note in notes if note["event"] == "job_finished"}
    shown = Shown(
        history=history,
        notes=notes,
        primary_metric=terms["model"]["primary_metric"],
        zone=ZoneInfo(terms["data"]["timezone"]),
        cpu_s=lambda job: spent.get(job, 0.0),
        classes=policy.classes.order,
        jobs=going(history, notes, _saved(place, notes, current(history))),
        picture=lambda candidate: picture(place.mlflow, runs.get(candidate, "none"), candidate),
        prefect=prefect,
        mlflow=mlflow,
        mlflow_store=MlflowStore(place.mlflow, "").uri,
    )
    return Standing(
        home=place.path,
        model=history.baseline.model if history.baseline else "",
        fresh=events(fresh, history, str(place.path), policy),
        artifacts=artifacts(shown),
        last=records[-1].id if records else "",
    )


def _name(place: Home, model: str, run: FlowRun, about: Sequence[str], address: str) -> None:
    """Name a flow run, unless that was done."""
    with closing(FileLedger(place.ledger)) as ledger:
        unnamed = [cycle for cycle in about if all(note["run"] != run.id for note in ledger.notes("flow_run", cycle))]
        if unnamed and (place.mlflow / DATABASE).exists():
            from hpcretrain.adapters.mlflow import MlflowRegistry

            registry = MlflowRegistry(place.mlflow, model, place.models, ledger)
            for cycle in unnamed:
                registry.follow(cycle, run.id, address)
        ledger.note_each("flow_run", {cycle: {"run": run.id, "name": run.name} for cycle in unnamed})


def _announced(home: Path) -> str | None:
    """The last record that was told; empty if the ledger was empty then, None if nobody knows."""
    try:
        told = json.loads((home / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told.get(_ANNOUNCED) if isinstance(told, dict) else None


def _fresh(told: str | None, records: Sequence[Record]) -> Sequence[Record]:
    """The records after the last that was told."""
    if told == "":
        return records
    for place, record in enumerate(records):
        if record.id == told:
            return records[place + 1 :]
    return [record for record in records if record.at == records[-1].at]


def _saved(place: Home, notes: Notes, jobs: Sequence[Job]) -> dict[str, Saved]:
    """What the folders of jobs tell; nothing where they cannot be read, since they are for people here."""
    try:
        folder = _spool(place, notes) / "jobs"
        return {job.id: _far(folder / job.id) for job in jobs if (folder / job.id / "lives").is_dir()}
    except (InputError, SpoolError, OSError):
        return {}


def _far(folder: Path) -> Saved:
    lives = JobFolder(folder).lives()
    newest = lives[-1] if lives else None
    begun = (newest.told("begun") or {}) if newest and newest.told("ended") is None else {}
    return Saved(
        begun.get("slurm_nodelist") or begun.get("host"),
        max((state.segments for life in lives for state in life.states()), default=0),
    )


def _spool(place: Home, notes: Notes) -> Path:
    """Where jobs write: in the home, or in its part of the site's spool."""
    name = next((note["name"] for note in notes if note["event"] == "home_named"), None)
    if name is None:
        return place.spool
    cluster = LiveSettings.read(place.path).cluster
    return load_cluster(cluster).spool.path / str(name) if cluster else place.spool

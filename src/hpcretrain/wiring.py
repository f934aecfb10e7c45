"""The only place that knows every concrete class."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcretrain import backtest
from hpcretrain.adapters.board import FolderBoard
from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.home import Home, default_home, write_whole
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.livesettings import NAME as LIVE_SETTINGS
from hpcretrain.adapters.livesettings import LiveSettings
from hpcretrain.canonical import sha256
from hpcretrain.config.load import Terms, in_force, kept_policy, load, shipped_policy
from hpcretrain.desks import open_desk, open_table
from hpcretrain.errors import InputError
from hpcretrain.history import History
from hpcretrain.policy.types import Policy
from hpcretrain.ports import Ledger
from hpcretrain.report.cluster import cluster_use
from hpcretrain.report.explain import status
from hpcretrain.report.result import result
from hpcretrain.report.served import all_served, served_at
from hpcretrain.steps.tick import require_reference
from hpcretrain.trainers import Cluster

if TYPE_CHECKING:
    from hpcretrain.report.page import Source

POLICY, CONFIGURATION, _RESULT, PAGE = "policy.json", "configuration.json", "result.json", "report.html"


def run_backtest(
    config: Path | str,
    home: Path | str | None = None,
    progress: backtest.Progress | None = None,
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Replay the table of a configuration in virtual time; see docs/reference/json.md for the result.

    A home in which the same backtest was cut short is taken up where it stopped, and ends with the same ledger head.

    Args:
        config: The configuration, a TOML file.
        home: Folder of the ledger, models and profiles. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        progress: Told of each step.
        cluster: Where to train. Default: in processes on this machine.

    Raises:
        InputError: The configuration or the data cannot be used, or the home belongs to another; nothing was changed.
    """
    return _run(load(Path(config)), Path(home) if home else default_home(), progress or _silent, cluster, None)


def run_demo(
    home: Path | str | None = None, progress: backtest.Progress | None = None, cluster: Cluster | None = None
) -> dict[str, Any]:
    """Replay the flights of New York in 2013; the table and its configuration stay in the home's `demo/`."""
    from hpcretrain.adapters import nycflights

    with tempfile.TemporaryDirectory(prefix="hpcretrain-demo-") as folder:
        terms = load(nycflights.write(Path(folder)))
        return _run(terms, Path(home) if home else default_home(), progress or _silent, cluster, Path(folder))


def _silent(what: str, done: int, count: int, history: History | None) -> None:
    pass


def _run(
    terms: Terms, home: Path, progress: backtest.Progress, cluster: Cluster | None, keep: Path | None
) -> dict[str, Any]:
    from hpcretrain.node.recipe import load_recipe

    model = terms.config.model
    load_recipe(model.recipe, model.params, search_path=terms.folder)
    clock = VirtualClock(terms.reference_until)
    table = open_table(terms, clock, home)
    require_reference(table, table.first_time, terms.reference_until)
    shown = home / "demo" if keep else terms.folder
    with open_desk(terms, table, clock, home, shown, cluster) as (desk, place):
        if keep is not None:
            shutil.copytree(keep, place.path / "demo", dirs_exist_ok=True)
        place.write(POLICY, terms.policy_text)
        place.write(CONFIGURATION, terms.config_text)
        backtest.replay(desk, clock, table.last_time, progress)
        arms = backtest.compare_arms(desk, clock, table.last_time, progress)
        outcome = result(
            desk.history,
            model=model.name,
            task=model.task,
            primary=model.primary_metric,
            ledger_head=desk.ledger.head(),
            periods=[dataclasses.asdict(period) for period in arms.periods],
            cpu_s=_cpu(desk.ledger),
            ungated_train_cpu_s=arms.ungated_train_cpu_s,
            cluster=cluster_use(desk.ledger.notes()),
        )
        place.write(_RESULT, json.dumps(outcome, indent=1))
        write_report(place.path)
    return outcome


def read_history(home: Path | str | None = None) -> tuple[History, FileLedger]:
    """The state of a home, and its ledger, for reading.

    Raises:
        InputError: There is no home there.
    """
    place = Home.existing(Path(home) if home else default_home())
    ledger = FileLedger(place.ledger, read_only=True)
    return History.fold(ledger.records()), ledger


def policy_of(home: Path, history: History) -> Policy:
    """The policy in force in a home; until the first champion is begun, the one that the home was made under.

    Raises:
        InputError: It cannot be read.
    """
    if history.activation:
        return in_force(history)
    path = home / POLICY
    try:
        return kept_policy(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_status(home: Path | str | None = None) -> dict[str, Any]:
    """How the model of a home stands; see docs/reference/json.md."""
    history, ledger = read_history(home)
    from hpcretrain.adapters.courier import undelivered

    notes = ledger.notes()
    place = Path(home) if home else default_home()
    # Of a replay nobody is asked anything.
    live = LiveSettings.read(place) if (place / LIVE_SETTINGS).exists() else None
    now = live.now() if live else None
    model = history.baseline.model if history.baseline else ""
    stop = FolderBoard(live.board, model, place).read().stop if live and live.board else None
    told = status(history, ledger.head(), _cpu(ledger), cluster_use(notes), now, stop)
    return {**told, "undelivered": undelivered(notes, datetime.now(UTC))}


def write_report(home: Path | str | None = None, output: Path | str | None = None) -> Path:
    """Write the page about a home, finished or not: one HTML file that needs nothing else.

    Args:
        home: The home. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        output: The file to be written, by atomic rename. Default: `report.html` in the home.

    Returns:
        Where it was written.

    Raises:
        InputError: There is no home, nothing to report yet, or the file cannot be written; nothing was changed.
    """
    from hpcretrain.report.html import render
    from hpcretrain.report.page import page

    place = Home.existing(Path(home) if home else default_home())
    target = Path(output) if output else place.path / PAGE
    text = render(page(_source(place)))
    try:
        # In the home only its owner reads; elsewhere whoever may read new files of this user.
        write_whole(target, text, None if output else 0o600)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror or error}; -o names another file") from error
    return target


def _source(place: Home) -> Source:
    """What the page is made of; whatever does not belong to the ledger's terms is refused."""
    from hpcretrain.report.page import Source

    ledger = FileLedger(place.ledger, read_only=True)
    history = History.fold(ledger.records())
    baseline = history.baseline
    configuration = json.loads(_terms(place.path / CONFIGURATION, baseline.config_digest if baseline else None))
    outcome = _finished(place.path / _RESULT, ledger.head())
    notes = ledger.notes()
    # The arm that is retrained without any check leaves no decisions, only trainings.
    ungated = {
        note["serves"]: float(note.get("cpu_s", 0.0))
        for note in notes
        if note["event"] == "job_finished" and note["serves"] not in history.known
    }
    return Source(
        history=history,
        policy=in_force(history) if baseline else shipped_policy(),
        primary_metric=configuration["model"]["primary_metric"],
        timezone=configuration["data"]["timezone"],
        result=outcome,
        cpu_s=_cpu(ledger),
        ungated_cpu_s=tuple(ungated.values()),
        ledger_head=ledger.head(),
        worked=tuple(datetime.fromisoformat(note["at"]) for note in notes[:1] + notes[-1:]),
        version=version("hpcretrain"),
    )


def _terms(path: Path, digest: str | None) -> str:
    """The text of the terms that a home keeps.

    Raises:
        InputError: It is not there, or not what the ledger's baseline names.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}; the same backtest, run again, writes it") from error
    if digest is not None and sha256(text) != digest:
        raise InputError(f"{path} is not what the ledger was made under; the same backtest, run again, mends it")
    return text


def _finished(path: Path, ledger_head: str) -> dict[str, Any] | None:
    """The result in a home, if it is of the ledger as it stands."""
    try:
        outcome: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}; the same backtest, run again, mends it") from error
    return outcome if outcome.get("ledger_head") == ledger_head else None


def read_served(home: Path | str | None = None, at: datetime | None = None) -> dict[str, Any]:
    """What served at a time, or, without one, everything that served; see docs/reference/json.md."""
    history, ledger = read_history(home)
    return all_served(history, ledger.notes()) if at is None else served_at(history, ledger.notes(), at)


def _cpu(ledger: Ledger) -> Callable[[str], float]:
    spent: dict[str, float] = {}
    for note in ledger.notes(event="job_finished"):
        spent[note["serves"]] = float(note.get("cpu_s", 0.0))
    return lambda job: spent.get(job, 0.0)

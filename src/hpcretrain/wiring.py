"""The only place that knows every concrete class."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcretrain import backtest
from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.home import Home
from hpcretrain.adapters.ledger import SqliteLedger
from hpcretrain.config.load import Terms, load
from hpcretrain.history import History
from hpcretrain.ports import Ledger
from hpcretrain.records import RULE_VERSION, Finding
from hpcretrain.report.explain import status
from hpcretrain.report.result import result
from hpcretrain.report.served import all_served, served_at
from hpcretrain.steps.desk import Book, Desk
from hpcretrain.steps.tick import require_reference

if TYPE_CHECKING:
    from hpcretrain.adapters.origin import Origin
    from hpcretrain.adapters.table import MemoryTable

DEFAULT_HOME = ".hpcretrain"


def default_home() -> Path:
    """`HPCRETRAIN_HOME`, or `.hpcretrain/` here."""
    return Path(os.environ.get("HPCRETRAIN_HOME") or DEFAULT_HOME)


def run_backtest(
    config: Path | str, home: Path | str | None = None, progress: backtest.Progress | None = None
) -> dict[str, Any]:
    """Replay the table of a configuration in virtual time; see docs/reference/json.md for the result.

    A home in which the same backtest was cut short is taken up where it stopped, and ends with the same ledger head.

    Args:
        config: The configuration, a TOML file.
        home: Folder of the ledger, models and profiles. Default: `HPCRETRAIN_HOME`, or `.hpcretrain/`.
        progress: Told of each step.

    Raises:
        InputError: The configuration or the data cannot be used, or the home belongs to another; nothing was changed.
    """
    return _run(load(Path(config)), Path(home) if home else default_home(), progress or _silent, None)


def run_demo(home: Path | str | None = None, progress: backtest.Progress | None = None) -> dict[str, Any]:
    """Replay the flights of New York in 2013; the table and its configuration stay in the home's `demo/`."""
    from hpcretrain.adapters import nycflights

    with tempfile.TemporaryDirectory(prefix="hpcretrain-demo-") as folder:
        terms = load(nycflights.write(Path(folder)))
        return _run(terms, Path(home) if home else default_home(), progress or _silent, Path(folder))


def _silent(what: str, done: int, count: int, history: History) -> None:
    pass


def _run(terms: Terms, home: Path, progress: backtest.Progress, keep: Path | None) -> dict[str, Any]:
    from hpcretrain.node.recipe import load_recipe

    model = terms.config.model
    load_recipe(model.recipe, model.params, search_path=terms.folder)
    clock = VirtualClock(terms.reference_until)
    table = open_table(terms, clock)
    require_reference(table, table.first_time, terms.reference_until)
    shown = home / "demo" if keep else terms.folder
    with open_desk(terms, table, clock, home, shown) as (desk, place):
        if keep is not None:
            shutil.copytree(keep, place.path / "demo", dirs_exist_ok=True)
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
        )
        place.write("result.json", json.dumps(outcome, indent=1))
    return outcome


def open_table(terms: Terms, clock: VirtualClock) -> MemoryTable:
    """The table that a configuration names, as of a clock.

    Raises:
        InputError: It cannot be used.
    """
    from hpcretrain.adapters.table import TableSpec, read

    model, data = terms.config.model, terms.config.data
    return read(
        TableSpec(
            paths=terms.paths,
            time_column=data.time_column,
            timezone=data.timezone,
            time_format=data.time_format,
            target=model.target,
            task=model.task,
            features=model.features,
            categorical=model.categorical,
            label_delay=data.label_delay,
            reference_until=terms.reference_until,
        ),
        clock,
    )


@contextmanager
def open_desk(
    terms: Terms, table: MemoryTable, clock: VirtualClock, home: Path, shown: Path | None = None
) -> Iterator[tuple[Desk, Home]]:
    """The desk of a backtest, over its locked home; `shown` is where people find configuration and table."""
    from hpcretrain.adapters.mlflow import MlflowRegistry
    from hpcretrain.adapters.predictor import ModelPredictor
    from hpcretrain.adapters.submitit import LocalTrainer, TrainerSettings
    from hpcretrain.adapters.whylogs import WhylogsProfiles

    model = terms.config.model
    identity = {
        "model": model.name,
        "configuration": terms.config_digest,
        "policy": terms.policy_digest,
        "data": table.fingerprint,
        "rules": RULE_VERSION,
    }
    settings = TrainerSettings(
        recipe=model.recipe,
        params=model.params,
        threads=model.threads,
        task=model.task,
        categorical=tuple(column.name for column in table.columns if column.kind == "category"),
        search_path=terms.folder,
    )
    origin = _origin(terms, table, (shown or terms.folder).resolve())
    with Home.open(home, identity) as place:
        ledger = SqliteLedger(place.ledger)
        with ModelPredictor(table, place.models) as predictor:
            yield (
                Desk(
                    terms=terms,
                    start=table.first_time,
                    clock=clock,
                    ledger=ledger,
                    table=table,
                    profiles=WhylogsProfiles(
                        table, place.profiles, ledger, model.name, terms.policy.data_gate.range_slack
                    ),
                    trainer=LocalTrainer(table, place.spool, place.models, ledger, settings),
                    predictor=predictor,
                    registry=MlflowRegistry(place.mlflow, model.name, place.models, ledger, clock=clock, origin=origin),
                    book=Book(ledger),
                ),
                place,
            )


def _origin(terms: Terms, table: MemoryTable, shown: Path) -> Origin:
    from hpcretrain.adapters.origin import Origin, code, environment, recipe_file

    model, data = terms.config.model, terms.config.data
    tags, distributions = environment()
    types = {"number": "double", "category": "string"}
    return Origin(
        tags={**code(terms.files, str(shown / terms.files[0].name), recipe_file(model.recipe)), **tags},
        params={"task": model.task, "target": model.target, "threads": str(model.threads)},
        environment=distributions,
        table=Path(data.path).name,
        source=str(shown / data.path),
        columns=[(column.name, types[column.kind]) for column in table.columns],
        metric=model.primary_metric,
    )


def read_history(home: Path | str | None = None) -> tuple[History, SqliteLedger]:
    """The state of a home, and its ledger, for reading.

    Raises:
        InputError: There is no home there.
    """
    place = Home.existing(Path(home) if home else default_home())
    ledger = SqliteLedger(place.ledger, read_only=True)
    return History.fold(ledger.records()), ledger


def read_status(home: Path | str | None = None) -> dict[str, Any]:
    """How the model of a home stands; see docs/reference/json.md."""
    history, ledger = read_history(home)
    return status(history, ledger.head(), _cpu(ledger))


def read_served(home: Path | str | None = None, at: datetime | None = None) -> dict[str, Any]:
    """What served at a time, or, without one, everything that served; see docs/reference/json.md."""
    history, ledger = read_history(home)
    return all_served(history, ledger.notes()) if at is None else served_at(history, ledger.notes(), at)


def verify(home: Path | None = None) -> list[Finding]:
    """Check both chains of a home's ledger."""
    from hpcretrain.adapters import ledger

    return ledger.verify(Home.existing(Path(home) if home else default_home()).ledger)


def _cpu(ledger: Ledger) -> Callable[[str], float]:
    spent: dict[str, float] = {}
    for note in ledger.notes(event="job_finished"):
        spent[note["serves"]] = float(note.get("cpu_s", 0.0))
    return lambda job: spent.get(job, 0.0)

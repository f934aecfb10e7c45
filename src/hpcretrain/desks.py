"""Opens the desk of a model: its table, its home and all that the steps need, made of concrete classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hpcretrain.adapters.board import FolderBoard
from hpcretrain.adapters.clock import VirtualClock
from hpcretrain.adapters.home import AS_ACTIVATED, Home
from hpcretrain.adapters.ledger import FileLedger
from hpcretrain.adapters.refreshed import modified
from hpcretrain.adapters.trafficfile import past_traffic
from hpcretrain.config.cluster import require_classes
from hpcretrain.config.load import Terms, under
from hpcretrain.errors import InputError
from hpcretrain.policy.types import Policy
from hpcretrain.ports import Ledger
from hpcretrain.records import RULE_VERSION
from hpcretrain.steps.desk import Book, Desk, newest
from hpcretrain.trainers import Cluster, local_trainer, slurm_trainer

if TYPE_CHECKING:
    from hpcretrain.adapters.origin import Origin
    from hpcretrain.adapters.spool import TrainerSettings
    from hpcretrain.adapters.table import MemoryTable


@dataclass(frozen=True)
class Mode:
    """What differs between a replay and a home that lives.

    Attributes:
        data: What stands in the home's identity for a table that grows; None for the digest of the whole table.
        waits: Whether trainings on a cluster are waited for.
        attended: Whether there is somebody to ask.
        resume: Where the ledger says that an earlier process was cut short, and its records are to be made again.
    """

    data: str | None
    waits: bool
    attended: bool
    resume: Callable[[Ledger], datetime | None]


REPLAY = Mode(None, True, False, newest)
LIVE = Mode("as it comes", False, True, lambda _: None)


def open_table(terms: Terms, clock: VirtualClock, home: Path | None = None) -> MemoryTable:
    """The table that a configuration names, as of a clock.

    Args:
        terms: The terms.
        clock: The clock.
        home: Whose key masks what is to be masked; None for a key that nobody keeps.

    Raises:
        InputError: It cannot be used.
    """
    from hpcretrain.adapters.hiding import Hiding, home_key
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
            hiding=Hiding(frozenset(data.drop), frozenset(data.mask), home_key(home) if data.mask else b""),
        ),
        clock,
    )


@contextmanager
def open_desk(
    terms: Terms,
    table: MemoryTable,
    clock: VirtualClock,
    home: Path,
    shown: Path | None = None,
    cluster: Cluster | None = None,
    *,
    mode: Mode = REPLAY,
    board: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[tuple[Desk, Home]]:
    """The desk of a model, over its locked home.

    Args:
        terms: The terms.
        table: Its table, as of `clock`.
        clock: The clock.
        home: The home.
        shown: Where people find configuration and table; by default where they lie.
        cluster: Where to train; by default on this machine.
        mode: Whether history is replayed, or passes.
        board: Where homes that share limits meet.
        tell: Called with what could not be done and does not stop anything.

    Raises:
        InputError: Something cannot be used, such as a cluster that has not all classes of the policy.
    """
    from hpcretrain.adapters.anchors import Anchors
    from hpcretrain.adapters.hiding import keep_key
    from hpcretrain.adapters.mlflow import MlflowRegistry
    from hpcretrain.adapters.predictor import ModelPredictor
    from hpcretrain.adapters.slurm import Slurm
    from hpcretrain.adapters.whylogs import WhylogsProfiles

    model, settings = terms.config.model, _settings(terms, table)
    origin = _origin(terms, table, (shown or terms.folder).resolve())
    slurm = Slurm(cluster.profile.commands) if cluster else None
    fits = partial(_fits, terms, cluster)
    if not mode.attended or not (home / "home.json").exists():
        fits(terms.policy)
    with Home.open(home, _identity(terms, table, mode)) as place:
        if table.hiding.mask:
            keep_key(place.path, table.hiding.key)
        ledger = FileLedger(place.ledger)
        book = Book(ledger, mode.resume(ledger))
        terms = governed(terms, book) if mode.attended else terms
        fits(terms.policy)
        if cluster and slurm:
            rules = terms.policy.jobs
            trainer = slurm_trainer(cluster, slurm, place.models, table, ledger, settings, rules, waits=mode.waits)
        else:
            trainer = local_trainer(place, table, ledger, settings)
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
                    trainer=trainer,
                    predictor=predictor,
                    registry=MlflowRegistry(place.mlflow, model.name, place.models, ledger, clock=clock, origin=origin),
                    board=FolderBoard(board, model.name, home) if board else None,
                    modified=partial(modified, terms.folder),
                    traffic=partial(past_traffic, terms.folder / model.traffic if model.traffic else None),
                    book=book,
                    attended=mode.attended,
                    fits=fits,
                    anchors=Anchors(place.path, ledger, model.name, tell),
                ),
                place,
            )


def _fits(terms: Terms, cluster: Cluster | None, policy: Policy) -> None:
    if cluster:
        require_classes(cluster.profile, policy.classes.order)
    training, model = policy.training, terms.config.model
    shares = (training.warm_share, *(rung.warm_share for rung in training.rungs or ()))
    if any(share is not None for share in shares):
        from hpcretrain.node.recipe import load_recipe, require_warm

        require_warm(model.recipe, load_recipe(model.recipe, model.params, search_path=terms.folder))
    trials = (training.trials, *(rung.trials for rung in training.rungs or ()))
    if not model.search and any(each is not None for each in trials):
        raise InputError(
            "the policy asks for a tuned search (training.trials), and the configuration names nothing to be searched: "
            "leave trials out, or set model.search, which needs a new home: one that lives keeps its configuration"
        )
    if model.search:
        from hpcretrain.node.recipe import require_search

        corners = {name: dimension.corners for name, dimension in model.search.items()}
        require_search(model.recipe, model.params, corners, search_path=terms.folder)


def governed(terms: Terms, book: Book) -> Terms:
    """The terms of a home that lives: under the policy that is in force there, whatever the file says by now."""
    return terms if book.history.activation is None else under(terms, book.history.activation.policy)


def _identity(terms: Terms, table: MemoryTable, mode: Mode) -> dict[str, str]:
    """What a home is for. One that lives goes by the policy that was activated in it, and by the newest rules."""
    return {
        "model": terms.config.model.name,
        "configuration": terms.config_digest,
        "policy": AS_ACTIVATED if mode.attended else terms.policy_digest,
        "data": mode.data or table.fingerprint,
        "rules": AS_ACTIVATED if mode.attended else RULE_VERSION,
    }


def _settings(terms: Terms, table: MemoryTable) -> TrainerSettings:
    from hpcretrain.adapters.spool import TrainerSettings

    model = terms.config.model
    return TrainerSettings(
        recipe=model.recipe,
        params=model.params,
        threads=model.threads,
        task=model.task,
        categorical=tuple(column.name for column in table.columns if column.kind == "category"),
        search_path=terms.folder,
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

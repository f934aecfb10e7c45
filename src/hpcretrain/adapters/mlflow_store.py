"""The MLflow store inside a home: a SQLite database and a folder of artifacts; nothing leaves the machine."""

from __future__ import annotations

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hpcretrain.errors import HpcretrainError

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlflow.db"
_LONGEST_MESSAGE = 300
VIEW_TAG = "mlflow.sharedViewState.hpcretrain"
_TAGS = {
    # Else the pages of prompts and traces are shown.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "A run is a cycle of retraining: open it to see its candidates. Filter with "
    "``tags.`hpcretrain.outcome` = 'kept'`` (or `rejected`, `rolled_back`, `released`, `failed`; of candidates also "
    "`passed`, `not_chosen`, and `member` of an average), and add the columns of metrics that you want to see. "
    "Decisions stand in the ledger of hpcretrain; it never reads what is here.",
}


def address(database: Path) -> str:
    """The address of a SQLite database.

    Raises:
        HpcretrainError: Its path has none.
    """
    # SQLAlchemy 2.0 takes a path as it is, but for what stands behind a question mark.
    if "?" in str(database):
        raise HpcretrainError(f"MLflow's database cannot lie in {database.parent}: a question mark ends its address")
    return f"sqlite:///{database}"


class Store:
    """A store and its one experiment, both made when they are first needed.

    Args:
        folder: Where database and artifacts are.
        experiment: Name of the experiment.
        metric: The primary metric, for the columns of the view; "" for none.
    """

    def __init__(self, folder: Path, experiment: str, metric: str = "") -> None:
        self.folder = folder.resolve()
        self._name = experiment
        self._metric = metric
        self._made: MlflowClient | None = None
        self._experiment = ""

    @property
    def uri(self) -> str:
        """The store's address, for `mlflow ui --backend-store-uri`."""
        return address(self.folder / DATABASE)

    @property
    def experiment(self) -> str:
        """Identifier of the experiment."""
        assert self.client
        return self._experiment

    @property
    def client(self) -> MlflowClient:
        """The client of this store."""
        if self._made is None:
            quiet()
            from mlflow import MlflowClient

            self._make_database()
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            experiment = client.get_experiment_by_name(self._name)
            artifacts = (self.folder / "artifacts").as_uri()
            self._experiment = (
                experiment.experiment_id
                if experiment
                else client.create_experiment(self._name, artifacts, {**_TAGS, VIEW_TAG: _view(self._metric)})
            )
            self._made = client
        return self._made

    def _make_database(self) -> None:
        """Make the database elsewhere and move it here whole: one cut short in its migrations can never be opened."""
        from mlflow import MlflowClient

        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for scratch in self.folder.glob("making-*"):
            shutil.rmtree(scratch)
        if (self.folder / DATABASE).exists():
            return
        with tempfile.TemporaryDirectory(prefix="making-", dir=self.folder) as folder:
            made = Path(folder) / DATABASE
            MlflowClient(tracking_uri=address(made)).search_experiments(max_results=1)
            made.chmod(0o600)
            os.replace(made, self.folder / DATABASE)


def picture(folder: Path, run: str, candidate: str) -> bytes | None:
    """The picture of how a candidate met the champion, as PNG; None if there is none.

    Args:
        folder: Where database and artifacts are.
        run: The candidate's run.
        candidate: Its identifier.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return (folder / "artifacts" / run / "artifacts" / "plots" / f"{candidate}.png").read_bytes()
    except FileNotFoundError:
        return None


def _view(metric: str) -> str:
    """Columns of the list of runs, for the address with `viewStateShareKey=hpcretrain`."""
    measured = [f"metrics.`{metric}{end}`" for end in ("", "_lower", "_upper", "_gain", "_p")] if metric else []
    tags = [f"tags.`hpcretrain.{name}`" for name in ("outcome", "verdict", "triggers")]
    columns = ["attributes.`Dataset`", *measured, *tags]
    return json.dumps({"selectedColumns": columns, "orderByKey": "attributes.start_time", "orderByAsc": False})


def quiet() -> None:
    """Before MLflow is imported: no telemetry, no notices about databases that are being made."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def door(what: str, subject: str) -> Iterator[None]:
    """Errors of MLflow, its database and its files, as our own."""
    quiet()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        told = " ".join(str(error).split())[:_LONGEST_MESSAGE] or type(error).__name__
        raise HpcretrainError(f"MLflow could not {what} {subject}: {told}") from error


def remove_model(folder: Path, run: str) -> None:
    """Remove the files of the model that a run logged; what else it logged stays.

    Args:
        folder: Where the store is.
        run: Identifier of the run.
    """
    place = (folder / "artifacts" / run / "artifacts" / "model").resolve()
    if place.is_relative_to((folder / "artifacts").resolve()):
        shutil.rmtree(place, ignore_errors=True)

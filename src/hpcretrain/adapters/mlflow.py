"""Runs, model versions and aliases in MLflow, on a SQLite store inside the home; no server, nothing leaves the machine.

People look here; no decision ever does. What was done is found again by the tag `hpcretrain.id`, so every call can be
made again after a crash.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from hpcretrain.errors import HpcretrainError
from hpcretrain.ports import Ledger, Trained
from hpcretrain.records import Job, Record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ID_TAG = "hpcretrain.id"
LOADER = "hpcretrain.node.pyfunc"
DATABASE = "mlflow.db"
_LONGEST_MESSAGE = 300


class MlflowRegistry:
    """The `Registry` port over a real MLflow store.

    Args:
        folder: Where database and artifacts are.
        model: Name of the registered model and of the experiment.
        models: Folder of model folders, named by digest.
        ledger: Told what was done, so that a restart need not ask MLflow.
        loader: Module by which MLflow loads the model.
    """

    def __init__(self, folder: Path, model: str, models: Path, ledger: Ledger, loader: str = LOADER) -> None:
        self._folder = folder.resolve()
        self._model = model
        self._models = models
        self._ledger = ledger
        self._loader = loader
        self._made: MlflowClient | None = None
        self._experiment = ""

    @property
    def uri(self) -> str:
        """The store's address, for `mlflow ui --backend-store-uri`."""
        return f"sqlite:///{quote(str(self._folder / DATABASE))}"

    def register(self, candidate: Record, job: Job, trained: Trained, lineage: Mapping[str, str]) -> None:
        """Log a run with the model and its lineage, and make a version of it.

        Raises:
            HpcretrainError: MLflow failed.
        """
        if self._ledger.notes("registered", candidate.id):
            return
        with _door("register", candidate.id):
            run = self._find(candidate.id) or self._start(candidate.id)
            self._describe(run.info.run_id, job, trained, lineage)
            self._version(run, candidate, trained.model_digest)
            self._client().set_terminated(run.info.run_id)
        self._ledger.note("registered", candidate.id, run=run.info.run_id)

    def measure(self, candidate_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Log metrics and tags on a candidate's run; nothing if it has none (its training failed).

        Raises:
            HpcretrainError: MLflow failed.
        """
        facts = {"metrics": dict(metrics), "tags": dict(tags)}
        if any(note.get("facts") == facts for note in self._ledger.notes("measured", candidate_id)):
            return
        with _door("measure", candidate_id):
            run = self._find(candidate_id)
            if run is None:
                return
            for name, value in metrics.items():
                # A second point with the same value would show as a history that there never was.
                if run.data.metrics.get(name) != value:
                    self._client().log_metric(run.info.run_id, name, value)
            for name, text in tags.items():
                self._client().set_tag(run.info.run_id, f"hpcretrain.{name}", text)
        self._ledger.note("measured", candidate_id, facts=facts)

    def alias(self, candidate_id: str, alias: str) -> None:
        """Point `alias` at the candidate's version, and read it back.

        Raises:
            HpcretrainError: MLflow failed, there is no such version, or the alias points elsewhere afterwards.
        """
        with _door(f"alias {alias}", candidate_id):
            client = self._client()
            versions = client.search_model_versions(f"name = '{self._model}' and tags.`{ID_TAG}` = '{candidate_id}'")
            if not versions:
                raise HpcretrainError(f"MLflow has no version of {self._model} for {candidate_id}; see {self.uri}")
            wanted = str(versions[0].version)
            client.set_registered_model_alias(self._model, alias, wanted)
            seen = str(client.get_model_version_by_alias(self._model, alias).version)
        if seen != wanted:
            raise HpcretrainError(
                f"alias {alias} of {self._model} points at version {seen} after it was set to {wanted}"
            )

    def _client(self) -> MlflowClient:
        if self._made is None:
            _quiet()
            from mlflow import MlflowClient

            self._make_database()
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            experiment = client.get_experiment_by_name(self._model)
            self._experiment = (
                experiment.experiment_id
                if experiment
                else client.create_experiment(self._model, artifact_location=(self._folder / "artifacts").as_uri())
            )
            self._made = client
        return self._made

    def _make_database(self) -> None:
        """Make the database elsewhere and move it here whole: one cut short in its migrations can never be opened."""
        from mlflow import MlflowClient

        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for scratch in self._folder.glob("making-*"):
            shutil.rmtree(scratch)
        if (self._folder / DATABASE).exists():
            return
        with tempfile.TemporaryDirectory(prefix="making-", dir=self._folder) as folder:
            made = Path(folder) / DATABASE
            MlflowClient(tracking_uri=f"sqlite:///{quote(str(made))}").search_experiments(max_results=1)
            made.chmod(0o600)
            os.replace(made, self._folder / DATABASE)

    def _find(self, candidate_id: str) -> Run | None:
        client = self._client()
        found = client.search_runs([self._experiment], f"tags.`{ID_TAG}` = '{candidate_id}'", max_results=1)
        return found[0] if found else None

    def _start(self, candidate_id: str) -> Run:
        client = self._client()
        return client.create_run(self._experiment, tags={ID_TAG: candidate_id, "mlflow.runName": candidate_id})

    def _describe(self, run_id: str, job: Job, trained: Trained, lineage: Mapping[str, str]) -> None:
        from mlflow.entities import Metric, Param, RunTag

        window = job.window
        params = {
            "recipe": job.recipe,
            "seed": str(job.seed),
            "purpose": job.purpose.value,
            "window": window.name,
            "window_start": window.start.isoformat(),
            "window_end": window.end.isoformat(),
            "rows": str(window.rows),
            **{f"recipe.{name}": value for name, value in job.params.items()},
        }
        metrics = {"train_cpu_s": trained.cpu_s, "cost_mrow_passes": job.cost_mrow_passes}
        tags = {**lineage, "model_digest": trained.model_digest}
        self._client().log_batch(
            run_id,
            metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()],
            params=[Param(name, value) for name, value in params.items()],
            tags=[RunTag(f"hpcretrain.{name}", value) for name, value in tags.items()],
        )

    def _version(self, run: Run, candidate: Record, digest: str) -> None:
        client = self._client()
        if not client.search_registered_models(f"name = '{self._model}'"):
            client.create_registered_model(self._model)
        if client.search_model_versions(f"name = '{self._model}' and tags.`{ID_TAG}` = '{candidate.id}'"):
            return
        source = self._save(run, digest)
        client.create_model_version(
            self._model, source, run_id=run.info.run_id, tags={ID_TAG: candidate.id, "hpcretrain.digest": digest}
        )

    def _save(self, run: Run, digest: str) -> str:
        """Save the model as an MLflow pyfunc model among the run's artifacts; where it is."""
        import mlflow.pyfunc

        with tempfile.TemporaryDirectory(prefix="making-", dir=self._folder) as scratch:
            place = Path(scratch) / "model"
            # Requirements are named: working them out would start a process and take seconds.
            mlflow.pyfunc.save_model(
                str(place),
                loader_module=self._loader,
                data_path=str(self._models / digest),
                pip_requirements=[f"hpcretrain=={version('hpcretrain')}"],
            )
            self._client().log_artifacts(run.info.run_id, str(place), "model")
        return f"{run.info.artifact_uri}/model"


def _quiet() -> None:
    """Before MLflow is imported: no telemetry, no notices about databases that are being made."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def _door(what: str, candidate_id: str) -> Iterator[None]:
    """Errors of MLflow, its database and its files, as our own."""
    _quiet()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        told = " ".join(str(error).split())[:_LONGEST_MESSAGE] or type(error).__name__
        raise HpcretrainError(f"MLflow could not {what} {candidate_id}: {told}") from error

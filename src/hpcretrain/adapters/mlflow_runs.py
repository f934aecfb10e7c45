"""Runs of the MLflow store: found, begun, filled and ended, each in as few commits as MLflow allows."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcretrain.adapters.mlflow_store import Store
from hpcretrain.adapters.origin import Origin
from hpcretrain.canonical import plain
from hpcretrain.ports import Page
from hpcretrain.records import Window

if TYPE_CHECKING:
    from mlflow.entities import Dataset, Run

ID_TAG = "hpcretrain.id"
_LONGEST_TAG = 8_000
_LONGEST_PARAM = 6_000
# Of a data set MLflow keeps 36 at most, and shows all of them; the whole digest is the parameter data_digest.
_DATASET_DIGEST_DIGITS = 16


@dataclass
class Logged:
    """A run of the store, as far as it matters here."""

    id: str
    name: str
    artifacts: str
    parent: str | None
    status: str
    metrics: dict[str, float]
    version: str | None = None
    page: Page | None = None
    """What was shown of it in this life."""


class Runs:
    """The runs of one store, by the identifiers of what they are about.

    Args:
        store: Where they are.
        origin: Of their data.
    """

    def __init__(self, store: Store, origin: Origin) -> None:
        self._store = store
        self._origin = origin
        self._known: dict[str, Logged] = {}

    def known(self, identifier: str) -> Logged | None:
        """The run, if it was met in this life."""
        return self._known.get(identifier)

    def find(self, identifier: str) -> Logged | None:
        """The run of that identifier; None if there is none."""
        if identifier not in self._known:
            found = self._store.client.search_runs(
                [self._store.experiment], f"tags.`{ID_TAG}` = '{identifier}'", max_results=1
            )
            if not found:
                return None
            self._known[identifier] = _logged(found[0])
        return self._known[identifier]

    def start(self, identifier: str, name: str, begun: int, tags: Mapping[str, str]) -> Logged:
        """Begin a run; `begun` is in milliseconds since 1970."""
        own = {ID_TAG: identifier, "mlflow.runName": name}
        named = {**_fitting(tags, _LONGEST_TAG), **own}
        self._known[identifier] = _logged(self._store.client.create_run(self._store.experiment, begun, named))
        return self._known[identifier]

    def log(
        self,
        run: Logged,
        *,
        metrics: Mapping[str, float],
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log what is new, in one batch."""
        from mlflow.entities import Metric, Param, RunTag

        # A second point with the same value would show as a history that there never was.
        fresh = {name: value for name, value in metrics.items() if run.metrics.get(name) != value}
        now = now_ms()
        self._store.client.log_batch(
            run.id,
            metrics=[Metric(name, value, now, 0) for name, value in fresh.items()],
            params=[Param(*each) for each in _fitting(params or {}, _LONGEST_PARAM).items()],
            tags=[RunTag(*each) for each in _fitting(tags or {}, _LONGEST_TAG).items()],
        )
        run.metrics |= fresh

    def use(self, run: Logged, *windows: Window) -> None:
        """Name the rows, so that they show among the data sets of the run."""
        from mlflow.entities import DatasetInput, InputTag

        context = InputTag("mlflow.data.context", "training")
        distinct = {window.digest: window for window in windows}
        inputs = [DatasetInput(self._dataset(window), [context]) for window in distinct.values()]
        self._store.client.log_inputs(run.id, datasets=inputs)

    def _dataset(self, window: Window) -> Dataset:
        from mlflow.entities import Dataset

        span = {
            "start": plain(window.start),
            "end": plain(window.end),
            "num_rows": window.rows,
            "sha256": window.digest,
        }
        return Dataset(
            name=self._origin.table,
            digest=window.digest[:_DATASET_DIGEST_DIGITS],
            source_type="local",
            source=json.dumps({"uri": self._origin.source}),
            schema=self._origin.schema,
            profile=json.dumps(span),
        )

    def end(self, run: Logged, status: str, ended: int) -> None:
        """Set the status; `ended` is in milliseconds since 1970."""
        if status == "RUNNING":
            self._store.client.update_run(run.id, status=status)
        else:
            self._store.client.set_terminated(run.id, status, ended)
        run.status = status


def _logged(run: Run) -> Logged:
    info, data = run.info, run.data
    parent = data.tags.get("mlflow.parentRunId")
    return Logged(info.run_id, info.run_name, info.artifact_uri, parent, info.status, dict(data.metrics))


def _fitting(values: Mapping[str, str], longest: int) -> dict[str, str]:
    """Values cut to what MLflow takes."""
    return {name: value if len(value) <= longest else f"{value[: longest - 1]}…" for name, value in values.items()}


def now_ms() -> int:
    """The wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000

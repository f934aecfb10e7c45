"""Runs, model versions and aliases in MLflow.

People look here; no decision ever does. What was done is found again by the tag `hpcretrain.id`, so every call can be
made again after a crash. A cycle is a run, and the runs of its candidates and failed jobs are its children.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from hpcretrain.adapters.mlflow_runs import ID_TAG, Logged, Runs, now_ms
from hpcretrain.adapters.mlflow_store import Store, door
from hpcretrain.adapters.origin import Origin
from hpcretrain.canonical import plain
from hpcretrain.errors import HpcretrainError
from hpcretrain.ports import Clock, Ledger, Meeting, Page, Trained
from hpcretrain.records import Candidate, Job, Window
from hpcretrain.report.pictures import draw
from hpcretrain.report.runs import FAILED, TRAINED, run_name

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOADER = "hpcretrain.node.pyfunc"
MEASURED_WHEN_TRAINED = ("train_cpu_s", "cost_mrow_passes")
_LINEAGE_PARAMS = ("request", "decision", "parent", "data_digest", "config_digest", "policy_digest", "members")


class MlflowRegistry:
    """The `Registry` port over a real MLflow store.

    Args:
        folder: Where database and artifacts are.
        model: Name of the registered model and of the experiment.
        models: Folder of model folders, named by digest.
        ledger: Told what was done, so that a restart need not ask MLflow.
        loader: Module by which MLflow loads the model.
        clock: Tells when an alias was moved, virtual time in a backtest; None: the wall clock.
        origin: Code, environment and table of all runs.
    """

    def __init__(
        self,
        folder: Path,
        model: str,
        models: Path,
        ledger: Ledger,
        loader: str = LOADER,
        clock: Clock | None = None,
        origin: Origin | None = None,
    ) -> None:
        self._origin = origin or Origin()
        self._store = Store(folder, model, self._origin.metric)
        self._model = model
        self._models = models
        self._ledger = ledger
        self._loader = loader
        self._clock = clock
        self._runs = Runs(self._store, self._origin)
        self._model_is_there = False

    @property
    def uri(self) -> str:
        """The store's address, for `mlflow ui --backend-store-uri`."""
        return self._store.uri

    @property
    def _client(self) -> MlflowClient:
        return self._store.client

    def register(
        self,
        candidate: Candidate,
        job: Job,
        trained: Trained,
        lineage: Mapping[str, str],
        members: Sequence[Candidate] = (),
    ) -> None:
        """Log a run with the model and its lineage, and make a version of it.

        Args:
            candidate: What was trained.
            job: The training; of an average that of its fresh fit.
            trained: What came out.
            lineage: Tags, without the prefix.
            members: All members of an average, in order; each tells which rows it learned.

        Raises:
            HpcretrainError: MLflow failed.
        """
        if self._ledger.notes("registered", candidate.id):
            return
        with door("register", candidate.id):
            made = {"kind": "candidate", "outcome": TRAINED, "model_digest": trained.model_digest}
            tags = {**lineage, **made, **self._made_of(members)}
            costs = {"train_cpu_s": trained.cpu_s, "cost_mrow_passes": job.cost_mrow_passes}
            run = self._begin(candidate, job, tags, costs, [member.window for member in members])
            run.version = self._version(run, candidate, members)
            self._runs.end(run, "FINISHED", self._ended(job))
        self._ledger.note("registered", candidate.id, run=run.id, version=run.version)

    def fail(self, job: Job, reason: str, lineage: Mapping[str, str]) -> None:
        """Log a run that failed, with the reason.

        Raises:
            HpcretrainError: MLflow failed.
        """
        if self._ledger.notes("registered", job.id):
            return
        with door("register", job.id):
            tags = {**lineage, "kind": "job", "outcome": FAILED, "reason": reason}
            run = self._begin(job, job, tags, {"cost_mrow_passes": job.cost_mrow_passes})
            self._runs.end(run, "FAILED", self._ended(job))
        self._ledger.note("registered", job.id, run=run.id, version=None)

    def measure(self, candidate_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Log metrics and tags on a candidate's run; nothing if it has none (its training failed).

        Raises:
            HpcretrainError: MLflow failed.
        """
        facts = {"metrics": dict(metrics), "tags": dict(tags)}
        if any(note.get("facts") == facts for note in self._ledger.notes("measured", candidate_id)):
            return
        with door("measure", candidate_id):
            run = self._runs.find(candidate_id)
            if run is None:
                return
            self._runs.log(run, metrics=metrics, tags=_named(tags))
        self._ledger.note("measured", candidate_id, facts=facts)

    def show(self, page: Page) -> None:
        """Bring name, status, tags, words and copied metrics of a run up to date, and what its version tells.

        Raises:
            HpcretrainError: MLflow failed.
        """
        with door("show", page.id):
            run = self._runs.find(page.id)
            if run is None or run.page == page:
                return
            judged = self._runs.find(page.judged) if page.judged else None
            metrics = judged.metrics if judged else {}
            self._runs.log(
                run,
                metrics={name: value for name, value in metrics.items() if name not in MEASURED_WHEN_TRAINED},
                tags={**_named(page.tags), "mlflow.note.content": page.words}
                | ({"mlflow.runName": page.name} if run.page is None or run.page.name != page.name else {}),
            )
            if run.status != page.status:
                self._runs.end(run, page.status, now_ms())
            if run.parent is not None:
                self._show_version(run, page)
            run.page = page

    def picture(self, candidate_id: str, meeting: Meeting) -> None:
        """Draw a meeting into the artifacts of the candidate's run and of its cycle; nothing if nothing is defined.

        Raises:
            HpcretrainError: MLflow failed.
        """
        if not meeting.gains:
            return
        with door("picture", candidate_id):
            run = self._runs.find(candidate_id)
            if run is None:
                return
            with tempfile.TemporaryDirectory(prefix="making-", dir=self._store.folder) as scratch:
                path = Path(scratch) / f"{candidate_id}.png"
                draw(meeting, f"{run.name}: on {len(meeting.labels):,} held-out rows", path)
                for place in filter(None, (run.id, run.parent)):
                    self._client.log_artifact(place, str(path), "plots")

    def follow(self, cycle: str, flow_run: str, address: str) -> None:
        """Name on a cycle's run the Prefect flow run that brought it on; nothing if there is no such run.

        Raises:
            HpcretrainError: MLflow failed.
        """
        with door("follow", cycle):
            run = self._runs.find(cycle)
            if run is not None:
                tags = {"prefect.flow_run_id": flow_run, "prefect.flow_run_url": address}
                self._runs.log(run, metrics={}, tags={name: value for name, value in tags.items() if value})

    def alias(self, candidate_id: str, alias: str) -> None:
        """Point `alias` at the candidate's version, read it back, and note the move.

        Raises:
            HpcretrainError: MLflow failed, there is no such version, or the alias points elsewhere afterwards.
        """
        with door(f"alias {alias}", candidate_id):
            wanted = self._version_of(candidate_id)
            if wanted is None:
                raise HpcretrainError(f"MLflow has no version of {self._model} for {candidate_id}; see {self.uri}")
            self._client.set_registered_model_alias(self._model, alias, wanted)
            seen = self._client.get_model_version_by_alias(self._model, alias)
        if str(seen.version) != wanted:
            raise HpcretrainError(
                f"alias {alias} of {self._model} points at version {seen.version} after it was set to {wanted}"
            )
        moved = {"alias": alias, "version": wanted, "run": seen.run_id, "moved_at": plain(self._moment())}
        earlier = self._ledger.notes("alias_moved", candidate_id)
        if not any({key: note[key] for key in moved} == moved for note in earlier):
            self._ledger.note("alias_moved", candidate_id, **moved)

    def _made_of(self, members: Sequence[Candidate]) -> dict[str, str]:
        """Tags of an average: its members, their runs, and all data that they learned, in one order."""
        if not members:
            return {}
        runs = [self._runs.find(member.id) for member in members]
        return {
            "members": ",".join(member.id for member in members),
            "member_runs": ",".join(run.id if run else "none" for run in runs),
            "data_digest": ",".join(member.window.digest for member in members),
        }

    def _begin(
        self,
        record: Candidate | Job,
        job: Job,
        tags: Mapping[str, str],
        costs: Mapping[str, float],
        windows: Sequence[Window] = (),
    ) -> Logged:
        """A run with its parameters, lineage and data (the job's, unless several windows are named)."""
        # Tags that come with the run save a commit.
        named = {**self._origin.tags, **_named(tags)}
        cycle = tags.get("cycle")
        begun = self._begun(job)
        if cycle:
            parent = self._cycle(cycle, begun)
            self._runs.use(parent, job.window)
            named["mlflow.parentRunId"] = parent.id
        if before := tags.get("parent"):
            named |= _named({f"parent_{key}": value for key, value in self._registered(before).items()})
        run = self._runs.find(record.id)
        if run is None:
            run = self._runs.start(record.id, run_name(record), begun, named)
            named = {}
        # Digests are cut short where tags are shown, but not where parameters are.
        told = {name: tags[name] for name in _LINEAGE_PARAMS if name in tags}
        self._runs.log(run, metrics=costs, params={**self._params(job), **told}, tags=named)
        self._runs.use(run, *(windows or [job.window]))
        return run

    def _cycle(self, cycle: str, begun: int) -> Logged:
        run = self._runs.find(cycle)
        if run is None:
            run = self._runs.start(cycle, cycle, begun, {**self._origin.tags, "hpcretrain.kind": "cycle"})
        return run

    def _params(self, job: Job) -> dict[str, str]:
        window = job.window
        return {
            **self._origin.params,
            "recipe": job.recipe,
            "seed": str(job.seed),
            "purpose": job.purpose.value,
            "window": window.name,
            "window_start": plain(window.start),
            "window_end": plain(window.end),
            "rows": str(window.rows),
            "excluded": "; ".join(f"{plain(start)} to {plain(end)}" for start, end in window.excluded) or "none",
            **{f"recipe.{name}": value for name, value in job.params.items()},
        }

    def _version(self, run: Logged, candidate: Candidate, members: Sequence[Candidate]) -> str:
        client = self._client
        if not self._model_is_there and not client.search_registered_models(f"name = '{self._model}'"):
            client.create_registered_model(self._model)
        self._model_is_there = True
        if (there := self._search_version(candidate.id)) is not None:
            return there
        source = self._save(run, candidate.model_digest)
        told = {"digest": candidate.model_digest, "data_digest": candidate.window.digest, **self._made_of(members)}
        tags = {ID_TAG: candidate.id, **_named(told)}
        return str(client.create_model_version(self._model, source, run_id=run.id, tags=tags).version)

    def _save(self, run: Logged, digest: str) -> str:
        """Save the model as an MLflow pyfunc model among the run's artifacts; where it is."""
        import mlflow.pyfunc

        with tempfile.TemporaryDirectory(prefix="making-", dir=self._store.folder) as scratch:
            place = Path(scratch)
            # Requirements are named: working them out would start a process and take seconds.
            mlflow.pyfunc.save_model(
                str(place / "model"),
                loader_module=self._loader,
                data_path=str(self._models / digest),
                pip_requirements=[f"hpcretrain=={version('hpcretrain')}"],
            )
            (place / "environment.txt").write_text(self._origin.environment, encoding="utf-8")
            self._client.log_artifacts(run.id, str(place))
        return f"{run.artifacts}/model"

    def _show_version(self, run: Logged, page: Page) -> None:
        number = run.version or self._version_of(page.id)
        if number is None:
            return
        before = run.page
        if before is None or before.words != page.words:
            self._client.update_model_version(self._model, number, page.words)
        if before is None or before.tags.get("outcome") != page.tags.get("outcome"):
            self._client.set_model_version_tag(self._model, number, "hpcretrain.outcome", page.tags.get("outcome", ""))
        if page.served and (before is None or before.served != page.served):
            spans = [f"{plain(start)} to {plain(end) if end else 'now'}" for start, end in page.served]
            self._client.set_model_version_tag(self._model, number, "hpcretrain.champion", "; ".join(spans))

    def _version_of(self, candidate_id: str) -> str | None:
        """The candidate's version, from this life, the notes, or MLflow."""
        run = self._runs.known(candidate_id)
        if run is not None and run.version is not None:
            return run.version
        return self._registered(candidate_id).get("version") or self._search_version(candidate_id)

    def _registered(self, candidate_id: str) -> dict[str, str]:
        """Run and version of a candidate, by the notes."""
        notes = self._ledger.notes("registered", candidate_id)
        return {key: note[key] for note in notes[-1:] for key in ("run", "version") if note.get(key)}

    def _search_version(self, candidate_id: str) -> str | None:
        found = self._client.search_model_versions(f"name = '{self._model}' and tags.`{ID_TAG}` = '{candidate_id}'")
        return str(found[0].version) if found else None

    def _moment(self) -> datetime:
        return self._clock.now() if self._clock else datetime.now().astimezone()

    def _begun(self, job: Job) -> int:
        notes = self._ledger.notes("job_intended", job.id)
        return _milliseconds(notes[0]["at"]) if notes else now_ms()

    def _ended(self, job: Job) -> int:
        notes = self._ledger.notes("job_finished", job.id)
        return _milliseconds(notes[-1]["at"]) if notes else now_ms()


def _named(tags: Mapping[str, str]) -> dict[str, str]:
    return {f"hpcretrain.{name}": value for name, value in tags.items()}


def _milliseconds(at: str) -> int:
    return int(datetime.fromisoformat(at).timestamp() * 1000)

"""One attempt at a training job, as it runs on a node. It reads and writes files only; see `jobfolder`.

An attempt can be killed at any moment: the next goes on from the newest checkpoint, to the same model. Slurm's warnings
before it kills (TERM, USR1, USR2) are not listened to here: the checkpoints on the disk are what counts.
"""

from __future__ import annotations

import json
import os
import resource
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcretrain.node.jobfolder import JobFolder, Spec
from hpcretrain.node.model import Manifest, conform, seal
from hpcretrain.node.recipe import LIGHTGBM, Recipe, TrainingData, load_recipe

if TYPE_CHECKING:
    import pandas as pd

LABEL = "__label__"
"""Column of a snapshot that holds the labels."""

LOCK_PATIENCE_S = 5.0
_LONGEST_MESSAGE = 2000


class Superseded(Exception):
    """A newer attempt at the same job was begun; this one publishes nothing."""


def run(job_dir: str, attempt: int) -> None:
    """Do the job in the folder `job_dir`, unless a newer attempt than this one was begun or it is done already.

    Args:
        job_dir: The job's folder, with its `spec.json`.
        attempt: Number of this attempt, from 1.
    """
    # What is written here holds the user's data, or tells of it.
    os.umask(0o077)
    folder = JobFolder(Path(job_dir))
    with folder.hold(LOCK_PATIENCE_S) as mine:
        if not mine:
            print(f"attempt {attempt}: another attempt is at work; leaving it to that")
            return
        try:
            _attempt(folder, attempt)
        except Superseded as superseded:
            print(superseded)


def _attempt(folder: JobFolder, attempt: int) -> None:
    _require_newest(folder, attempt)
    if folder.result() is not None:
        return
    spec = folder.spec()
    if spec.recipe == LIGHTGBM:
        from hpcretrain.node.lightgbm import import_light

        import_light()
    frame = _snapshot(folder, spec)
    fit = _Fit(folder, spec, attempt)
    result: dict[str, Any]
    try:
        digest = fit.run(frame)
    except (Superseded, OSError, MemoryError):
        # A full disk or too little memory says nothing about the recipe: the attempt ends in silence.
        raise
    # A recipe is a user's program and may raise anything. Whatever it is, it would raise it again on the same rows and
    # seed, so it is the job's result; an attempt that ended in silence would be tried again.
    except Exception as error:
        traceback.print_exc()
        result = {"error": {"type": type(error).__name__, "message": str(error)[:_LONGEST_MESSAGE]}}
    else:
        result = {"model_digest": digest}
    _require_newest(folder, attempt)
    folder.finish({**result, "cpu_s": fit.cpu_s, "attempt": attempt, "segments": fit.segments})


def _require_newest(folder: JobFolder, attempt: int) -> None:
    if (newest := folder.fence) > attempt:
        raise Superseded(f"attempt {attempt}: attempt {newest} was begun; leaving it to that")


def _snapshot(folder: JobFolder, spec: Spec) -> pd.DataFrame:
    import pandas as pd

    return pd.read_parquet(folder.path / spec.snapshot)


class _Fit:
    """The training of an attempt, with the CPU seconds and segments of this and all earlier ones."""

    def __init__(self, folder: JobFolder, spec: Spec, attempt: int) -> None:
        self._folder = folder
        self._spec = spec
        self._attempt = attempt
        self._saved_at = time.monotonic()
        self.cpu_s = 0.0
        self.segments = 0

    def run(self, frame: pd.DataFrame) -> str:
        """Train to the end and put the model in its place; its digest."""
        spec = self._spec
        recipe = load_recipe(spec.recipe, spec.params, search_path=Path(spec.search_path) if spec.search_path else None)
        features = tuple(name for name in frame.columns if name != LABEL)
        manifest = Manifest(spec.recipe, spec.params, spec.task, features, spec.categorical)
        data = TrainingData(
            features=conform(frame, features, spec.categorical),
            target=frame[LABEL].to_numpy(dtype="float64"),
            categorical=spec.categorical,
            task=spec.task,
        )
        model = self._train(recipe, data, manifest)
        _require_newest(self._folder, self._attempt)
        with self._folder.building(self._folder.model) as part:
            recipe.save(model, part)
            return seal(part, manifest)

    def _train(self, recipe: Recipe, data: TrainingData, manifest: Manifest) -> Any:
        checkpoint = self._folder.checkpoint()
        if checkpoint:
            self.cpu_s, self.segments = checkpoint.cpu_s, checkpoint.segments
        resume = checkpoint.folder if checkpoint else None
        model = None
        for model in self._timed(recipe.train(data, seed=self._spec.seed, threads=self._spec.threads, resume=resume)):
            self._save_if_due(recipe, model, manifest)
        if self.segments == 0:
            raise RuntimeError(f'recipe "{self._spec.recipe}": train yielded no model')
        return recipe.load(resume) if model is None and resume else model

    def _timed(self, segments: Iterator[Any]) -> Iterator[Any]:
        while True:
            begun = _cpu_s()
            try:
                model = next(segments)
            except StopIteration:
                return
            finally:
                self.cpu_s += _cpu_s() - begun
            self.segments += 1
            yield model

    def _save_if_due(self, recipe: Recipe, model: Any, manifest: Manifest) -> None:
        _require_newest(self._folder, self._attempt)
        if time.monotonic() - self._saved_at < self._spec.checkpoint_every_s:
            return
        progress: Mapping[str, Any] = {"segments": self.segments, "cpu_s": self.cpu_s}
        with self._folder.building(self._folder.path / f"checkpoint-{self.segments}") as part:
            recipe.save(model, part)
            (part / "progress.json").write_text(json.dumps(progress), encoding="utf-8")
            seal(part, manifest)
        self._folder.forget_checkpoints_before(self.segments)
        self._saved_at = time.monotonic()


def _cpu_s() -> float:
    """CPU seconds of this process, all its threads, and its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime

"""One life of a training job, as it runs on a node. It reads and writes files only; see `jobfolder` and `life`.

It can be killed at any moment: the next life goes on from the best checkpoint, to the same model. Where it is warned by
a signal it saves the model of the last segment, and ends: at once if the recipe looks, else when the segment ends.
"""

from __future__ import annotations

import os
import resource
import socket
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcretrain.errors import InputError, ModelFileError, SpoolError
from hpcretrain.node.cadence import interval_s
from hpcretrain.node.jobfolder import JobFolder, Spec, Superseded
from hpcretrain.node.life import End, Life, LifeFolder, State
from hpcretrain.node.model import Manifest, conform, digest, seal, verify
from hpcretrain.node.recipe import LIGHTGBM, Recipe, TrainingData, WarmStart, load_recipe, require_warm
from hpcretrain.node.signals import Interruption

if TYPE_CHECKING:
    import pandas as pd

LABEL = "__label__"
"""Column of a snapshot that holds the labels."""

_LONGEST_MESSAGE = 2000
_SLURM = {"slurm_job_id": "SLURM_JOB_ID", "slurm_nodelist": "SLURM_JOB_NODELIST"}


def bring_in(recipe: str) -> None:
    """Import what trainings by a recipe need, but for a user's own module."""
    if recipe == LIGHTGBM:
        from hpcretrain.node.lightgbm import import_light

        import_light()
    import pandas  # noqa: F401


class Interrupted(Exception):
    """A signal came; what was done until then is saved."""


class Outside(Exception):
    """Something failed that says nothing about the recipe, and may go well another time."""


def run(
    job_dir: Path | str,
    attempt: int,
    restart: int = 0,
    interruption: Interruption | None = None,
    begun: Callable[[LifeFolder], None] = lambda _: None,
) -> End:
    """Live one life of the job in the folder `job_dir`, unless the job is done already.

    Args:
        job_dir: The job's folder, with its `spec.json`.
        attempt: Number of the submission, from 1.
        restart: How often Slurm started this submission before.
        interruption: Looked at after each segment and before the first.
        begun: Called once the life is announced.

    Returns:
        How it ended. Unless it is FINISHED or ERRED, there is no result.

    Raises:
        OSError: Not even that could be written down.
    """
    # What is written here holds the user's data, or tells of it.
    os.umask(0o077)
    folder, life = JobFolder(Path(job_dir)), Life(attempt, restart)
    _say(life, f"begins on {socket.gethostname()}")
    if result := folder.result():
        _say(life, "the job is done already")
        return End.ERRED if "error" in result else End.FINISHED
    facts = {name: os.environ.get(variable) for name, variable in _SLURM.items()}
    try:
        mine = folder.begin(life, {"host": socket.gethostname(), "pid": os.getpid(), "at": _now(), **facts})
    except Superseded as superseded:
        _say(life, f"ends: {superseded}")
        return End.SUPERSEDED
    begun(mine)
    return _Work(folder, mine, interruption or Interruption()).to_an_end()


class _Work:
    """The work of one life."""

    def __init__(self, folder: JobFolder, mine: LifeFolder, interruption: Interruption) -> None:
        self._folder = folder
        self._mine = mine
        self._interruption = interruption
        self._segments = 0
        self._segments_cpu_s = 0.0
        self._abandoned = False
        self._saved_at = time.monotonic()
        self._checkpoint_s: float | None = None
        self._segment_s: float | None = None

    def to_an_end(self) -> End:
        """Do what is to be done, and write down how it ended."""
        try:
            return self._end(*self._judged())
        except KeyboardInterrupt:
            self._end(End.INTERRUPTED, "KeyboardInterrupt")
            raise

    def _judged(self) -> tuple[End, str | None]:
        """How the work ended, and why, where it is not with the model."""
        try:
            result = self._result()
            self._publish(result)
        except Superseded as superseded:
            return End.SUPERSEDED, str(superseded)
        except Interrupted as interrupted:
            return End.INTERRUPTED, str(interrupted) or None
        except MemoryError as error:
            traceback.print_exc()
            return End.OUT_OF_MEMORY, _told(error)
        except (Outside, OSError, ImportError) as error:
            traceback.print_exc()
            # Slurm signals all processes of a job: what fails after that may have lost one that it had started.
            return End.INTERRUPTED if self._interruption.signal else End.OUTSIDE, _told(error.__cause__ or error)
        raised = result.get("error")
        return (End.ERRED, f"{raised['type']}: {raised['message']}") if raised else (End.FINISHED, None)

    def _result(self) -> dict[str, Any]:
        try:
            return {"model_digest": self._model()}
        except (Superseded, Interrupted, Outside, MemoryError, OSError, ImportError):
            raise
        # A recipe is a user's program and may raise anything. Whatever it is, it would raise it again on the same rows
        # and seed, so it is the job's result; a life that ended in silence would be tried again.
        except Exception as error:
            traceback.print_exc()
            if self._interruption.signal:
                raise Outside(_told(error)) from error
            return {"error": {"type": type(error).__name__, "message": str(error)[:_LONGEST_MESSAGE]}}

    def _publish(self, result: Mapping[str, Any]) -> None:
        self._folder.require_newest(self._mine.life)
        facts = {"segments": self._segments, "cpu_s": self._segments_cpu_s}
        self._mine.tell("result", {**result, **facts, **self._mine.life._asdict()})

    def _end(self, end: End, reason: str | None) -> End:
        content = {
            "kind": end.value,
            "reason": reason,
            "signal": self._interruption.signal,
            "segments": self._segments,
            "cpu_s": _cpu_s(),
            "checkpoint_s": self._checkpoint_s,
            "segment_s": self._segment_s,
            "requeued": None,
            "at": _now(),
        }
        self._mine.tell("ended", content)
        self._folder.ring(self._mine.life, "ended")
        _say(self._mine.life, f"{end.value} after segment {self._segments}" + (f": {reason}" if reason else ""))
        return end

    def _model(self) -> str:
        """Train to the end and put the model in its place; its digest."""
        self._folder.require_newest(self._mine.life)
        self._heed()
        state = self._folder.inherit(self._mine, _cpu_s())
        if state:
            self._segments = state.segments
            self._segments_cpu_s = state.cpu_s
            _say(self._mine.life, f"goes on after segment {state.segments}")
        if state and state.finished:
            return digest(state.folder)
        spec, frame = self._input()
        recipe = _recipe(spec)
        features = tuple(name for name in frame.columns if name != LABEL)
        manifest = Manifest(spec.recipe, spec.params, spec.task, features, spec.categorical)
        data = TrainingData(
            features=conform(frame, features, spec.categorical),
            target=frame[LABEL].to_numpy(dtype="float64"),
            categorical=spec.categorical,
            task=spec.task,
            interrupted=self._abandon,
            start=self._start(spec, recipe),
        )
        return self._save(recipe, self._trained(recipe, data, spec, manifest, state), manifest, finished=True)

    def _start(self, spec: Spec, recipe: Recipe) -> WarmStart | None:
        if spec.start is None:
            return None
        require_warm(spec.recipe, recipe)
        try:
            verify(self._folder.start, spec.start)
        except ModelFileError as error:
            raise Outside(str(error)) from error
        return WarmStart(self._folder.start, spec.start_passes)

    def _input(self) -> tuple[Spec, pd.DataFrame]:
        try:
            spec = self._folder.spec()
            bring_in(spec.recipe)
            import pandas as pd

            return spec, pd.read_parquet(self._folder.path / spec.snapshot)
        # What is no Parquet is a ValueError to its reader.
        except (SpoolError, ValueError) as error:
            raise Outside(str(error)) from error

    def _trained(self, recipe: Recipe, data: TrainingData, spec: Spec, manifest: Manifest, state: State | None) -> Any:
        resume = state.folder if state else None
        model, saved = None, self._segments
        self._heed()
        _say(self._mine.life, f"trains on {len(data.target)} rows of {data.features.shape[1]} features")
        self._saved_at = time.monotonic()
        for model in self._timed(recipe.train(data, seed=spec.seed, threads=spec.threads, resume=resume)):
            self._folder.require_newest(self._mine.life)
            # Looked at once: a signal that comes after this is not to end the life before it has saved.
            warned, worked_s = self._interruption.signal, time.monotonic() - self._saved_at
            if warned or worked_s >= interval_s(self._checkpoint_s, spec.interrupted_every_s):
                self._save(recipe, model, manifest)
                saved = self._segments
            if warned:
                raise Interrupted
        if self._abandoned:
            if saved < self._segments:
                self._save(recipe, model, manifest)
            raise Interrupted
        if self._segments == 0:
            raise RuntimeError(f'recipe "{spec.recipe}": train yielded no model')
        return recipe.load(resume) if model is None and resume else model

    def _heed(self) -> None:
        if self._interruption.signal:
            raise Interrupted

    def _abandon(self) -> bool:
        # A life that has yielded nothing yet ends its first segment, so that each goes a step further.
        self._abandoned = self._segment_s is not None and self._interruption.signal is not None
        return self._abandoned

    def _timed(self, segments: Iterator[Any]) -> Iterator[Any]:
        while True:
            begun, cpu_s = time.monotonic(), _cpu_s()
            try:
                model = next(segments)
            except StopIteration:
                if self._abandoned:
                    # In no model.
                    cpu_s = _cpu_s()
                return
            finally:
                self._segments_cpu_s += _cpu_s() - cpu_s
            self._segment_s = max(self._segment_s or 0.0, time.monotonic() - begun)
            self._segments += 1
            yield model

    def _save(self, recipe: Recipe, model: Any, manifest: Manifest, *, finished: bool = False) -> str:
        begun = time.monotonic()
        with self._mine.saving(self._segments, self._segments_cpu_s, _cpu_s(), finished=finished) as part:
            recipe.save(model, part)
            sealed = seal(part, manifest)
        self._saved_at = time.monotonic()
        cost_s = self._saved_at - begun
        if not finished:
            self._checkpoint_s = cost_s
            _say(self._mine.life, f"checkpoint after segment {self._segments}, in {cost_s:.3f} s")
        return sealed


def _recipe(spec: Spec) -> Recipe:
    try:
        return load_recipe(spec.recipe, spec.params, search_path=Path(spec.search_path) if spec.search_path else None)
    except InputError as error:
        # The controller loaded it with these parameters before; here the software is another.
        raise Outside(str(error)) from error


def _say(life: Life, words: str) -> None:
    print(f"life {life}: {words}", flush=True)


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _cpu_s() -> float:
    """CPU seconds of this process, all its threads, and its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime

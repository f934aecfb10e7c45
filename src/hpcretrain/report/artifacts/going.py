"""How far trainings are: of each job its share where that is known, else how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpcretrain.history import History
from hpcretrain.records import Job

Notes = Sequence[Mapping[str, Any]]

FINISHED, FAILED, RUNNING, WAITING = "finished", "failed", "running", "waiting"


@dataclass(frozen=True)
class Saved:
    """What a job's folder tells: where its newest life runs, if one does, and the segments of its farthest state."""

    host: str | None
    segments: int


@dataclass(frozen=True)
class Going:
    """How a job stands: in a word and in a sentence, its share from 0 to 1 (None: not known), its number at Slurm."""

    job: Job
    word: str
    stands: str
    share: float | None
    attempts: int
    slurm_job: str | None


def current(history: History) -> list[Job]:
    """The jobs of the training under way, else of the newest cycle that has some, else of the first champion."""
    cycles = [history.training, *reversed(history.cycles)]
    newest = next((cycle.jobs for cycle in cycles if cycle and cycle.jobs), None)
    return newest or [each for each in history.known.values() if isinstance(each, Job)]


def going(history: History, notes: Notes, saved: Mapping[str, Saved]) -> list[Going]:
    """How the current jobs stand.

    A recipe does not say beforehand how many segments it has; jobs of the same recipe and parameters that finished
    before do.

    Args:
        history: All records.
        notes: All notes.
        saved: What the folders of jobs tell, by job; of some or none.
    """
    jobs = current(history)
    mine: dict[str, list[Mapping[str, Any]]] = {job.id: [] for job in jobs}
    segments: dict[tuple[Any, ...], int] = {}
    for note in notes:
        mine.get(note["serves"], []).append(note)
        done = history.known.get(note["serves"])
        if note["event"] == "job_finished" and note.get("segments") and isinstance(done, Job):
            segments[_kind(done)] = int(note["segments"])
    return [_one(job, mine[job.id], saved.get(job.id), segments.get(_kind(job))) for job in jobs]


def under_way(jobs: Sequence[Going]) -> bool:
    """Whether any of the jobs has not ended."""
    return any(each.word in (RUNNING, WAITING) for each in jobs)


def percent(jobs: Sequence[Going]) -> float:
    """The mean share of jobs, 0 to 100, those that have ended in full and those of unknown share as nothing."""
    if not jobs:
        return 0.0
    shares = [1.0 if each.word in (FINISHED, FAILED) else each.share or 0.0 for each in jobs]
    return round(100 * sum(shares) / len(shares), 1)


def _kind(job: Job) -> tuple[Any, ...]:
    # What a tuned search varies changes no passes; a warm start has its own.
    return job.recipe, job.start.passes if job.start else None


def _one(job: Job, notes: Notes, saved: Saved | None, segments: int | None) -> Going:
    last = {note["event"]: note for note in notes}
    number, place = last.get("job_submitted", {}).get("slurm_job"), last.get("job_intended", {}).get("place")
    word, stands = _stands(last, notes[-1]["event"] if notes else "", saved)
    share = min(saved.segments / segments, 1.0) if saved and segments else None
    return Going(
        job=job,
        word=word,
        stands=stands,
        share=1.0 if word == FINISHED else share,
        attempts=sum(note["event"] == "job_intended" for note in notes),
        slurm_job=None if number is None else str(number) if place is None else f"{number}_{place}",
    )


def _stands(last: Mapping[str, Mapping[str, Any]], newest: str, saved: Saved | None) -> tuple[str, str]:
    """A word and a sentence, by the last note of each event and the newest of all."""
    if finished := last.get("job_finished"):
        return (FINISHED, "gave a model") if finished.get("ok", True) else (FAILED, "gave no model")
    if given_up := last.get("job_given_up"):
        return FAILED, f"given up: {given_up['reason']}"
    if newest == "job_ended":
        return WAITING, f"its last attempt ended: {last['job_ended']['fate']}"
    if saved and saved.host is not None:
        return RUNNING, f"on {saved.host}, {saved.segments} segments saved"
    return WAITING, "submitted" if "job_submitted" in last else "to be submitted"

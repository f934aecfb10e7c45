"""Train: have a job done and record the candidate that it made."""

from __future__ import annotations

from hpcretrain.canonical import canonical
from hpcretrain.policy.decide import cost_of
from hpcretrain.ports import Rows, Trained
from hpcretrain.records import Candidate, Job, Purpose
from hpcretrain.report.lineage import lineage
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.plan import window
from hpcretrain.steps.show import show


def order(desk: Desk, rows: Rows, purpose: Purpose, answers: tuple[str, ...]) -> Job:
    """Record a job to be done on these rows."""
    job = specify(desk, rows, purpose, answers)
    desk.book.enter(job)
    return job


def specify(desk: Desk, rows: Rows, purpose: Purpose, answers: tuple[str, ...]) -> Job:
    """The job that trains the configured recipe on these rows."""
    model = desk.terms.config.model
    return Job(
        model=model.name,
        at=desk.now,
        answers=answers,
        purpose=purpose,
        recipe=model.recipe,
        params={key: canonical(value) for key, value in model.params.items()},
        seed=model.seed,
        window=window(desk, rows),
        cost_mrow_passes=cost_of(len(rows), desk.trainer.passes()),
    )


def train(desk: Desk, job: Job, rows: Rows) -> Candidate:
    """Do a job and record its candidate.

    Raises:
        TrainingError: The job ended without a model.
    """
    trained = desk.trainer.train(job, rows)
    candidate = Candidate(
        model=job.model,
        at=desk.now,
        answers=(job.id,),
        purpose=job.purpose,
        model_digest=trained.model_digest,
        window=job.window,
    )
    desk.book.enter(candidate)
    _register(desk, candidate, job, trained)
    return candidate


def _register(desk: Desk, candidate: Candidate, job: Job, trained: Trained) -> None:
    desk.registry.register(candidate, job, trained, lineage(desk.history, job))
    show(desk, candidate)

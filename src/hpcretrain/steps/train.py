"""Train: have jobs done and record the candidates that they made; average one with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpcretrain.canonical import canonical
from hpcretrain.errors import TrainingError
from hpcretrain.history import History
from hpcretrain.policy import search
from hpcretrain.policy.decide import cost_of, passes_of
from hpcretrain.policy.types import Value
from hpcretrain.ports import Trained
from hpcretrain.records import Candidate, Job, PriorityClass, Purpose, Start
from hpcretrain.report.lineage import lineage
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.plan import Draw
from hpcretrain.steps.show import show

Order = tuple[Job, Draw]
"""A job with the rows that it learns from."""


def order(
    desk: Desk,
    draw: Draw,
    purpose: Purpose,
    priority_class: PriorityClass,
    answers: tuple[str, ...],
    params: Mapping[str, str] | None = None,
) -> Order:
    """Record a job to be done on these rows; a warm start from what serves, where the rules say so.

    Args:
        desk: The desk.
        draw: The rows.
        purpose: What for.
        priority_class: Its class.
        answers: What ordered it.
        params: Parameters of the recipe, each as canonical JSON; by default those in use.
    """
    job = specify(
        desk, draw, purpose, priority_class, answers, in_use(desk) if params is None else params, _start(desk)
    )
    desk.book.enter(job)
    return job, draw


def in_use(desk: Desk) -> Mapping[str, str]:
    """The parameters of the recipe, each as canonical JSON: those of the configuration, and what a search found."""
    history, space = desk.history, desk.terms.config.model.search
    told = trained_with(history, history.fits[0]) if history.releases else {}
    return {**configured(desk), **canonicals(search.found(space, told))}


def configured(desk: Desk) -> Mapping[str, str]:
    """The parameters of the recipe that the configuration sets, each as canonical JSON."""
    return canonicals(desk.terms.config.model.params)


def canonicals(params: Mapping[str, Value]) -> dict[str, str]:
    """Parameters of a recipe, each as canonical JSON."""
    return {name: canonical(value) for name, value in params.items()}


def trained_with(history: History, fit: Candidate) -> Mapping[str, str]:
    """The parameters that a fit was trained with, each as canonical JSON."""
    job = history.known[fit.answers[0]]
    assert isinstance(job, Job)
    return job.params


def _start(desk: Desk) -> Start | None:
    rules = desk.terms.policy.training
    if rules.warm_share is None or not desk.history.releases:
        return None
    fit = desk.history.fits[0]
    return Start(fit.id, fit.model_digest, passes_of(desk.trainer.passes(), rules))


def specify(
    desk: Desk,
    draw: Draw,
    purpose: Purpose,
    priority_class: PriorityClass,
    answers: tuple[str, ...],
    params: Mapping[str, str],
    start: Start | None = None,
) -> Job:
    """The job that trains the configured recipe on these rows, from nothing or from a fit."""
    model, passes = desk.terms.config.model, start.passes if start else desk.trainer.passes()
    return Job(
        model=model.name,
        at=desk.now,
        answers=answers,
        purpose=purpose,
        priority_class=priority_class,
        recipe=model.recipe,
        params=params,
        seed=model.seed,
        window=draw.window,
        cost_mrow_passes=cost_of(len(draw.rows), passes),
        start=start,
    )


def train(desk: Desk, orders: Sequence[Order]) -> list[Candidate | TrainingError]:
    """Have jobs done, at once where the trainer can, and record their candidates in the order of the orders.

    Returns:
        For each order its candidate, or the error with which the job ended without a model.
    """
    trained = desk.trainer.train([(job, draw.rows) for job, draw in orders])
    return [
        each if isinstance(each, TrainingError) else _candidate(desk, job, each)
        for (job, _), each in zip(orders, trained, strict=True)
    ]


def _candidate(desk: Desk, job: Job, trained: Trained) -> Candidate:
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


def average(desk: Desk, fit: Candidate, others: Sequence[Candidate]) -> Candidate:
    """Record the average of a fresh fit with others; the fit itself where there are none."""
    if not others:
        return fit
    members = (fit, *others)
    digest = desk.trainer.average([member.model_digest for member in members])
    candidate = Candidate(
        model=fit.model,
        at=desk.now,
        answers=tuple(member.id for member in members),
        purpose=fit.purpose,
        model_digest=digest,
        window=fit.window,
        members=tuple(member.id for member in members),
    )
    desk.book.enter(candidate)
    job = desk.history.known[fit.answers[0]]
    assert isinstance(job, Job)
    _register(desk, candidate, job, Trained(digest, 0.0), members)
    return candidate


def _register(desk: Desk, candidate: Candidate, job: Job, trained: Trained, members: Sequence[Candidate] = ()) -> None:
    desk.registry.register(candidate, job, trained, lineage(desk.history, job), members)
    show(desk, candidate)

"""Release: put a model to serve, first, by promotion, or back again."""

from __future__ import annotations

from collections.abc import Sequence

from hpcretrain.records import Approval, BreakGlass, Candidate, Reading, Release, ReleaseKind, Signal, Verdict, Watch
from hpcretrain.report.holdout import reading_numbers
from hpcretrain.steps.desk import Desk
from hpcretrain.steps.show import show


def first(desk: Desk, twin: Candidate, champion: Candidate, readings: tuple[Reading, ...]) -> Release:
    """Record the first champion; its readings are of the twin, on the end of the reference, unseen by it."""
    release = Release(
        model=champion.model,
        at=desk.now,
        answers=(twin.id, champion.id),
        release_kind=ReleaseKind.FIRST,
        candidate=champion.id,
        twin=twin.id,
        model_digest=champion.model_digest,
        window=champion.window,
        previous=None,
        readings=readings,
    )
    desk.registry.measure(twin.id, reading_numbers(readings), {})
    return _serve(desk, release)


def promote(
    desk: Desk,
    judged: Verdict,
    twin: Candidate,
    refit: tuple[Verdict, Candidate] | None,
    said: Sequence[Approval | BreakGlass] = (),
) -> Release:
    """Record the promotion of a judged candidate, or of the refit that was checked against it.

    Args:
        desk: The desk.
        judged: The verdict of the gate.
        twin: What it judged.
        refit: The full fit with its verdict.
        said: What people said to it, where they were asked.
    """
    served = refit[1] if refit else twin
    answers = (judged.id, *((refit[0].id,) if refit else ()), *(each.id for each in said))
    release = Release(
        model=twin.model,
        at=desk.now,
        answers=answers,
        release_kind=ReleaseKind.PROMOTION,
        candidate=served.id,
        twin=twin.id,
        model_digest=served.model_digest,
        window=served.window,
        previous=desk.history.champion.id,
        readings=judged.readings,
    )
    return _serve(desk, release)


def roll_back(desk: Desk, order: Watch | Signal) -> Release:
    """Record the return of the model before the champion, which a watch that failed, or a person, orders."""
    champion, before = desk.history.champion, desk.history.earlier
    assert before is not None
    release = Release(
        model=champion.model,
        at=desk.now,
        answers=(order.id,),
        release_kind=ReleaseKind.ROLLBACK,
        candidate=before.candidate,
        twin=before.twin,
        model_digest=before.model_digest,
        window=before.window,
        previous=champion.id,
        readings=before.readings,
    )
    return _serve(desk, release)


def _serve(desk: Desk, release: Release) -> Release:
    """Record a release, and do what it says."""
    desk.book.enter(release)
    confirm(desk)
    return release


def confirm(desk: Desk) -> None:
    """Move the alias of the newest release, read it back, confirm and anchor; unless that was done, or comes later."""
    release = desk.history.champion
    if desk.book.held:
        return
    if not desk.ledger.notes("release_confirmed", release.id):
        desk.ledger.note("release_intended", release.id, candidate=release.candidate)
        desk.registry.alias(release.candidate, "champion")
        desk.ledger.note("release_confirmed", release.id, candidate=release.candidate)
        show(desk, release)
    if desk.anchors is not None:
        desk.anchors.keep(release)

"""Which payloads may go: those that are old, and that nothing needs which goes on, serves, or may serve again."""

from __future__ import annotations

from datetime import datetime, timedelta

from hpcretrain.history import History
from hpcretrain.records import Candidate, Job

_EARLIER_RELEASES = 2
"""Releases that are kept beside those that new models are averaged with: what serves, and what it goes back to."""


def models(history: History, averaged_with: int, days: float, now: datetime) -> list[str]:
    """Digests of the models that may go, in order.

    Args:
        history: The state of the model.
        averaged_with: With how many recent releases new models are averaged.
        days: How long models are kept.
        now: The time.
    """
    candidates = [each for each in history.known.values() if isinstance(each, Candidate)]
    kept = _needed(history, candidates, averaged_with)
    kept |= {each.model_digest for each in candidates if each.at > now - timedelta(days=days)}
    return [digest for digest in dict.fromkeys(each.model_digest for each in candidates) if digest not in kept]


def jobs(history: History, days: float, now: datetime) -> list[Job]:
    """Jobs whose folders may go, in order: of cycles that have ended, and of the first champion once it serves."""
    going = {job.id for cycle in history.cycles if cycle.review is None for job in cycle.jobs}
    if not history.releases:
        return []
    return [
        each
        for each in history.known.values()
        if isinstance(each, Job) and each.id not in going and each.at <= now - timedelta(days=days)
    ]


def _needed(history: History, candidates: list[Candidate], averaged_with: int) -> set[str]:
    known = {each.id: each for each in candidates}
    wanted = {each.candidate for each in history.releases[-(averaged_with + _EARLIER_RELEASES) :]}
    wanted |= {each.twin for each in history.releases[-(averaged_with + _EARLIER_RELEASES) :]}
    wanted |= {each for cycle in history.cycles if cycle.review is None for each in cycle.candidates}
    if history.releases:
        # What a roll-back goes back to is that of the release before, which may be older.
        before = history.known.get(history.champion.previous or "")
        wanted |= {getattr(before, "candidate", ""), getattr(before, "twin", "")}
    digests: set[str] = set()
    while wanted:
        candidate = known.get(wanted.pop())
        if candidate is not None:
            digests.add(candidate.model_digest)
            wanted |= set(candidate.members)
    return digests

"""Two cycles of which the second averages its fits with one of the first."""

from __future__ import annotations

from dataclasses import replace

from whole_cycle import DAY, whole_cycle

from hpcretrain.records import Ask, Candidate, Closing, Outcome, Record, Release, Review, Verdict, Watch


def two_cycles() -> list[Record]:
    """A cycle whose release is kept, and another 14 days later whose averages have the fit of the first as a member."""
    first = whole_cycle()
    failed, _, review = first[-3:]
    assert isinstance(failed, Watch)
    assert isinstance(review, Review)
    kept = replace(failed, outcome=Outcome.PASS)
    closed = replace(review, answers=(review.answers[0], kept.id), closing=Closing.KEPT)
    records = [*first[:-3], kept, closed]
    begin = next(place for place, record in enumerate(first) if record.kind == "signal")
    released = next(record for record in reversed(records) if isinstance(record, Release))
    fit = next(record for record in records if isinstance(record, Candidate) and record.model_digest == "fit")
    before = {first[begin - 1].id: released.id, _first(first).id: fit.id}
    return [*records, *_again(first[begin:-3], before)]


def _first(records: list[Record]) -> Candidate:
    return next(record for record in records if isinstance(record, Candidate) and record.model_digest == "first")


def _again(cycle: list[Record], names: dict[str, str]) -> list[Record]:
    """The records of a cycle once more, 14 days later, after another release and with another earlier fit."""
    made = []
    for record in cycle:
        if any(answer not in names for answer in record.answers):
            # A policy that takes effect meanwhile is of no cycle.
            continue
        answers = tuple(names[answer] for answer in record.answers)
        later = replace(record, at=record.at + 14 * DAY, answers=answers)
        if isinstance(later, Candidate):
            members = tuple(names[member] for member in later.members)
            later = replace(later, model_digest=f"{later.model_digest}-again", members=members)
        if isinstance(later, Verdict):
            later = replace(later, candidate=names[later.candidate], twin=later.twin and names[later.twin])
        if isinstance(later, Release):
            later = replace(later, candidate=names[later.candidate], twin=names[later.twin])
            later = replace(later, model_digest=f"{later.model_digest}-again")
        if isinstance(later, Ask):
            later = replace(later, subject=names[later.subject], model_digest=f"{later.model_digest}-again")
        names[record.id] = later.id
        made.append(later)
    return made

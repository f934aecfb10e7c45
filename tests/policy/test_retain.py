"""Which payloads may go by their age, and which are needed whatever it is."""

from __future__ import annotations

from datetime import timedelta

from whole_cycle import position, whole_cycle

from hpcretrain.history import History
from hpcretrain.policy.retain import jobs, models
from hpcretrain.records import Candidate, Release, Review, Verdict

DAY = timedelta(days=1)


def test_what_serves_or_may_serve_again_is_kept_whatever_its_age() -> None:
    records = whole_cycle()
    history, now = History.fold(records), records[-1].at + 1_000 * DAY
    digests = {each.model_digest for each in records if isinstance(each, Candidate)}
    gone = models(history, 0, 30, now)
    # The champion after the roll-back, its twin, what was taken back, its judged twin, and the members of all of them.
    assert digests - set(gone) == {"first", "twin0", "refit", "fit", "twin", "pilot"}
    assert not models(history, 0, 2_000, now), "nothing is old enough"


def test_what_goes_on_is_kept_and_what_came_to_nothing_may_go() -> None:
    records = whole_cycle()
    going = History.fold(records[: position(Verdict) + 1])
    now = records[-1].at + 1_000 * DAY
    assert "pilot" not in models(going, 0, 30, now)
    assert {job.purpose.value for job in jobs(going, 30, now)} == {"judge", "refit"}, "those of the first champion"
    ended = History.fold(records)
    assert len(jobs(ended, 30, now)) == 4
    assert not jobs(ended, 30, records[-1].at)
    assert not jobs(History.fold(records[: position(Release)]), 1, now), "before anything serves all is needed"
    assert position(Review)

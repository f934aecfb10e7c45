"""Whether a job gets another attempt: by what ended the last, within limits, with more of what was lacking."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcretrain.policy.retry import FAILURES, INTERRUPTIONS, Ask, Most, Past, Retry, retry
from hpcretrain.policy.types import JobRules
from hpcretrain.records import Outcome
from hpcretrain.witnesses import Fate

RULES = JobRules(most_failures=3, most_interruptions=5, memory_factor=1.5, time_factor=2.0)
ASK = Ask(1000, 30)


def decide(*fates: Fate, most: Most = Most(), **last: object) -> Retry:  # noqa: B008
    past = [Past(fate, ASK) for fate in fates[:-1]]
    return retry([*past, Past(fates[-1], ASK, **last)], RULES, most)  # type: ignore[arg-type]


@pytest.mark.parametrize("fate", sorted(INTERRUPTIONS | {Fate.FAILED, Fate.LOST}, key=str))
def test_an_interruption_or_a_first_failure_is_followed_by_the_same_again(fate: Fate) -> None:
    assert decide(fate).ask == ASK


def test_memory_is_raised_where_it_ran_out_and_no_further_than_allowed() -> None:
    assert decide(Fate.OUT_OF_MEMORY).ask == Ask(1500, 30)
    assert decide(Fate.OUT_OF_MEMORY, most=Most(memory_mb=1200)).ask == Ask(1200, 30)
    refused = decide(Fate.OUT_OF_MEMORY, most=Most(memory_mb=1000))
    assert refused.ask is None
    assert "limits.most_memory_mb" in refused.finding.reason


def test_where_no_memory_was_asked_for_none_can_be_added() -> None:
    told = retry([Past(Fate.OUT_OF_MEMORY, Ask(None, 30))], RULES, Most())
    assert told.ask is None
    assert "memory_mb" in told.finding.reason


def test_time_is_raised_where_the_limit_came_before_any_progress() -> None:
    assert decide(Fate.TIMED_OUT).ask == Ask(1000, 60)
    assert decide(Fate.TIMED_OUT, most=Most(time_limit_min=30)).ask is None
    assert decide(Fate.TIMED_OUT, progress=True).ask == ASK, "it needs only to go on"


def test_failures_are_bounded_whatever_their_kinds() -> None:
    assert decide(Fate.FAILED, Fate.LOST).ask is not None
    told = decide(Fate.FAILED, Fate.OUT_OF_MEMORY, Fate.LOST)
    assert told.ask is None
    assert (told.finding.outcome, told.finding.observed, told.finding.limit) == (Outcome.FAIL, 3, 3)


def test_interruptions_are_bounded_and_requeues_count() -> None:
    assert decide(*[Fate.PREEMPTED] * 5).ask is not None
    assert decide(*[Fate.PREEMPTED] * 6).ask is None
    assert decide(Fate.PREEMPTED, restarts=5).ask is None


def test_a_submission_that_slurm_never_took_is_no_interruption() -> None:
    assert decide(*[Fate.UNTAKEN] * 500).ask == ASK


def test_what_somebody_canceled_stays_canceled() -> None:
    told = decide(Fate.CANCELLED)
    assert told.ask is None
    assert "same command" in told.finding.reason
    assert retry([Past(Fate.CANCELLED, ASK)], RULES, Most(), by_us=True).ask == ASK


@pytest.mark.parametrize("fate", [Fate.UNKNOWN, Fate.RUNNING, Fate.WAITING, Fate.HELD, Fate.FINISHED])
def test_what_has_not_ended_or_has_its_result_is_never_tried_again(fate: Fate) -> None:
    with pytest.raises(ValueError, match="not tried again"):
        decide(fate)


@given(st.lists(st.sampled_from(sorted(FAILURES | (INTERRUPTIONS - {Fate.UNTAKEN}), key=str)), min_size=9))
def test_no_sequence_goes_on_for_ever(fates: list[Fate]) -> None:
    assert any(decide(*fates[: end + 1]).ask is None for end in range(len(fates)))

"""What became of an attempt: every state of Slurm, every witness, and any sequence of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcretrain.policy.fate import FILES_LAG_S, GONE_AFTER_S, PATIENCE_S, STATES, after, fate, state_of
from hpcretrain.witnesses import ALIVE, ENDED, Accounted, Fate, Marker, Queued, Witnesses

OF_SLURM = sorted(STATES)
# squeue(1), "JOB STATE CODES", of Slurm 25.05, and those of older versions.
STATE_CODES = """
BOOT_FAIL CANCELLED COMPLETED CONFIGURING COMPLETING DEADLINE EXPEDITING FAILED LAUNCH_FAILED NODE_FAIL OUT_OF_MEMORY
PENDING POWER_UP_NODE PREEMPTED RECONFIG_FAIL REQUEUED REQUEUE_FED REQUEUE_HOLD RESIZING RESV_DEL_HOLD REVOKED RUNNING
SIGNALING SPECIAL_EXIT STAGE_OUT STOPPED SUSPENDED TIMEOUT
"""

queued = st.builds(
    Queued,
    state=st.sampled_from([*OF_SLURM, "", "NEW_STATE"]),
    reason=st.sampled_from(["", "None", "Resources", "JobHeldUser", "JobHoldMaxRequeue", "BeginTime"]),
    restarts=st.integers(0, 3),
)
lives = st.lists(
    st.builds(
        Accounted,
        state=st.sampled_from([*OF_SLURM, "CANCELLED by 1000", "CANCELLED+", "", "?"]),
        steps=st.lists(st.sampled_from(OF_SLURM), max_size=2).map(tuple),
        over_memory=st.booleans(),
    ),
    max_size=3,
).map(tuple)
markers = st.builds(
    Marker,
    begun=st.booleans(),
    ended=st.sampled_from([None, "interrupted", "out_of_memory", "outside", "superseded", "finished"]),
    result=st.booleans(),
    log_tells_memory=st.booleans(),
)
witnesses = st.builds(
    Witnesses,
    queued=st.none() | queued,
    queue_answered=st.booleans(),
    lives=lives,
    accounting_answered=st.booleans(),
    has_accounting=st.booleans(),
    taken=st.booleans(),
    marker=markers,
    silent_s=st.floats(0, 1000),
    ended_s=st.floats(0, 100),
)


def test_every_state_of_slurm_has_a_fate_and_nothing_else_has() -> None:
    assert set(STATES) == set(STATE_CODES.split())
    assert state_of("SOMETHING_NEW") is state_of("") is Fate.UNKNOWN


def test_a_state_is_known_with_what_commands_add_to_it() -> None:
    assert state_of("CANCELLED by 1000") is state_of("CANCELLED+") is Fate.CANCELLED


@given(witnesses)
def test_only_a_result_is_success(seen: Witnesses) -> None:
    assert (fate(seen)[0] is Fate.FINISHED) == seen.marker.result


@given(witnesses)
def test_every_fate_comes_with_a_reason(seen: Witnesses) -> None:
    assert len(fate(seen)[1]) > 5


@given(st.lists(witnesses, max_size=8))
@settings(deadline=None)
def test_in_any_sequence_what_ended_stays_ended_until_the_queue_or_a_result_says_otherwise(
    sequence: list[Witnesses],
) -> None:
    kept = Fate.UNKNOWN
    for seen in sequence:
        told = fate(seen)[0]
        become = after(kept, told)
        if kept is Fate.FINISHED:
            assert become is Fate.FINISHED
        if kept in ENDED and become is not kept:
            assert become in ALIVE or become is Fate.FINISHED or kept is Fate.LOST
        if told is Fate.UNKNOWN:
            assert become is kept
        if become is Fate.FINISHED:
            assert kept is Fate.FINISHED or seen.marker.result
        kept = become


@pytest.mark.parametrize(("before", "now"), list(itertools.product(Fate, Fate)))
def test_the_table_of_what_may_follow_what_is_whole(before: Fate, now: Fate) -> None:
    become = after(before, now)
    assert become in (before, now)
    if now in ALIVE and before is not Fate.FINISHED:
        assert become is now, "a job in the queue is alive"


@given(witnesses.filter(lambda seen: seen.queued is None and not seen.queue_answered and not seen.marker.result))
def test_an_outage_tells_nothing(seen: Witnesses) -> None:
    assert fate(seen)[0] is Fate.UNKNOWN


def test_a_preempted_and_a_requeued_job_are_alive() -> None:
    for state in ("PENDING", "REQUEUED", "COMPLETING", "SIGNALING", "SUSPENDED"):
        assert fate(Witnesses(queued=Queued(state, restarts=1), queue_answered=True))[0] in ALIVE


def test_a_job_that_somebody_holds_is_told_from_one_that_waits() -> None:
    assert fate(Witnesses(queued=Queued("PENDING", "JobHeldUser")))[0] is Fate.HELD
    assert fate(Witnesses(queued=Queued("PENDING", "(Resources)")))[0] is Fate.WAITING
    assert fate(Witnesses(queued=Queued("PENDING", "JobHoldMaxRequeue")))[0] is Fate.NODE_FAILED


def test_completed_without_a_result_has_failed() -> None:
    assert fate(Witnesses(queued=Queued("COMPLETED"), queue_answered=True))[0] is Fate.UNKNOWN, "its files may lag"
    told, why = fate(Witnesses(queued=Queued("COMPLETED"), queue_answered=True, ended_s=PATIENCE_S))
    assert told is Fate.FAILED
    assert "no result" in why


@pytest.mark.parametrize(
    ("life", "marker"),
    [
        (Accounted("FAILED", "0:9", steps=("OUT_OF_MEMORY",)), Marker()),
        (Accounted("FAILED", "0:9", over_memory=True), Marker()),
        (Accounted("FAILED", "0:9"), Marker(log_tells_memory=True)),
        (Accounted("OUT_OF_MEMORY"), Marker()),
        (Accounted("FAILED", "1:0"), Marker(ended="out_of_memory")),
    ],
)
def test_out_of_memory_is_seen_in_steps_in_what_was_used_in_the_log_and_by_the_job(
    life: Accounted, marker: Marker
) -> None:
    seen = Witnesses(queue_answered=True, accounting_answered=True, lives=(life,), marker=marker, ended_s=FILES_LAG_S)
    assert fate(seen)[0] is Fate.OUT_OF_MEMORY


def test_killed_without_a_word_of_memory_is_a_failure_of_unnamed_cause() -> None:
    seen = Witnesses(queue_answered=True, accounting_answered=True, lives=(Accounted("FAILED", "0:9"),), ended_s=9)
    assert fate(seen)[0] is Fate.FAILED


def test_one_that_checkpointed_and_left_was_interrupted() -> None:
    left = Marker(begun=True, ended="interrupted", signal="SIGUSR2")
    told, why = fate(Witnesses(queued=Queued("FAILED", "NonZeroExitCode"), queue_answered=True, marker=left))
    assert told is Fate.INTERRUPTED
    assert "SIGUSR2" in why


def test_one_that_somebody_canceled_is_canceled_whatever_it_wrote_last() -> None:
    left = Marker(begun=True, ended="interrupted", signal="SIGTERM")
    assert fate(Witnesses(queued=Queued("CANCELLED"), queue_answered=True, marker=left))[0] is Fate.CANCELLED


def test_what_the_queue_forgot_is_unknown_until_accounting_or_time_tells() -> None:
    gone = Witnesses(queue_answered=True, accounting_answered=True, silent_s=1.0)
    assert fate(gone)[0] is Fate.UNKNOWN
    late = Witnesses(queue_answered=True, accounting_answered=True, silent_s=PATIENCE_S)
    assert fate(late)[0] is Fate.LOST
    mute = Witnesses(queue_answered=True, accounting_answered=False, silent_s=PATIENCE_S)
    assert fate(mute)[0] is Fate.UNKNOWN, "accounting is down: it may yet tell"


def test_what_slurm_never_confirmed_is_not_taken_only_once_the_queue_has_answered_late_enough() -> None:
    assert fate(Witnesses(queue_answered=True, taken=False, silent_s=GONE_AFTER_S - 1))[0] is Fate.UNKNOWN
    assert fate(Witnesses(queue_answered=True, taken=False, silent_s=GONE_AFTER_S))[0] is Fate.UNTAKEN
    assert fate(Witnesses(queue_answered=False, taken=False, silent_s=1e6))[0] is Fate.UNKNOWN


def test_one_that_wrote_its_end_and_that_slurm_forgot_has_ended() -> None:
    left = Marker(begun=True, ended="interrupted", signal="SIGTERM")
    # A slurmctld that crashed can leave a job "running" in accounting for ever.
    seen = Witnesses(queue_answered=True, lives=(Accounted("RUNNING"),), marker=left, silent_s=GONE_AFTER_S)
    assert fate(seen)[0] is Fate.INTERRUPTED
    assert fate(Witnesses(queue_answered=True, marker=left, silent_s=GONE_AFTER_S - 1))[0] is Fate.UNKNOWN


def test_one_that_says_it_finished_is_given_time_for_its_result_to_come_into_sight() -> None:
    said = Marker(begun=True, ended="finished")
    late = Witnesses(queued=Queued("FAILED"), queue_answered=True, marker=said, ended_s=FILES_LAG_S)
    assert fate(late)[0] is Fate.UNKNOWN


@pytest.mark.parametrize("code", ["12:0", "0:12", "140:0", "15:0", "138:0"])
def test_one_that_a_warning_ended_before_it_could_heed_it_was_interrupted(code: str) -> None:
    life = Accounted("FAILED", code)
    queued = Queued("FAILED", "NonZeroExitCode")
    for begun, lives in ((Marker(), (life,)), (Marker(restart=0, begun=True), (life, life))):
        seen = Witnesses(queued, True, lives, accounting_answered=True, marker=begun, ended_s=100)
        assert fate(seen)[0] is Fate.INTERRUPTED
    seen = Witnesses(queued, True, (life,), accounting_answered=True, marker=Marker(begun=True), ended_s=100)
    assert fate(seen)[0] is Fate.FAILED, "it could have heeded it"
    other = Witnesses(queued, True, (Accounted("FAILED", "1:0"),), accounting_answered=True, ended_s=100)
    assert fate(other)[0] is Fate.FAILED
